"""One run: what it was asked for, and everything that it works with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from graft_registry.documents import BaseManifest
from graft_registry.runs.checkpoints import CheckpointStore
from graft_registry.versions import AdapterRegistry
from graft_trainer.base import day_of
from graft_trainer.config import RunConfig
from graft_trainer.importing.source import ForeignAdapter
from graft_trainer.methods.long_context import LongContext
from graft_trainer.preemption import PreemptionNotice
from graft_trainer.progress import ProgressWriter
from graft_trainer.row_files.kept import RunRows
from graft_trainer.workers.distributed import Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyRun:
    """What a training and an import have in common."""

    config: RunConfig
    base: BaseManifest
    progress: ProgressWriter
    registry: AdapterRegistry
    checkpoints: CheckpointStore
    """Where this recipe's are stored."""
    work_folder: Path
    notice: PreemptionNotice

    @property
    def today(self) -> date:
        """What templates that write the date are told."""
        return day_of(self.base)

    @property
    def rows_folder(self) -> Path:
        """Where rows are prepared."""
        return self.work_folder / "rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(AnyRun):
    """One training whose inputs passed every cheap check."""

    context: LongContext | None
    rows: RunRows
    workers: Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRun(AnyRun):
    """One import of an adapter whose files were brought and passed every cheap check; rows are only to judge it by."""

    adapter: ForeignAdapter
    rows: RunRows | None
