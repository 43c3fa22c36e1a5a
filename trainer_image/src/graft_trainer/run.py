"""One run: what it was asked for, and everything that it works with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from graft_registry.checkpoints import CheckpointStore
from graft_registry.documents import BaseManifest
from graft_registry.versions import AdapterRegistry
from graft_trainer.config import RunConfig
from graft_trainer.data.dataset import Dataset
from graft_trainer.importing.source import ForeignAdapter
from graft_trainer.methods.long_context import LongContext
from graft_trainer.preemption import PreemptionNotice
from graft_trainer.workers.distributed import Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyRun:
    """What a training and an import have in common."""

    config: RunConfig
    base: BaseManifest
    registry: AdapterRegistry
    checkpoints: CheckpointStore
    """Where this recipe's are stored."""
    work_folder: Path
    notice: PreemptionNotice

    @property
    def today(self) -> date:
        """What templates that write the date are told: the day on which the base was imported.

        It is the same for every pod of the run, today and after a restart tomorrow, and for every run of the recipe.
        """
        return datetime.fromisoformat(self.base.created_time).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(AnyRun):
    """One training whose inputs passed every cheap check."""

    context: LongContext | None
    dataset: Dataset
    workers: Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRun(AnyRun):
    """One import of an adapter whose files were brought and passed every cheap check; rows are only to judge it by."""

    adapter: ForeignAdapter
    dataset: Dataset | None
