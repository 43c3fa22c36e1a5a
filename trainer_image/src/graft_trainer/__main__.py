"""Makes one version of an adapter: adopt, or train or import it, evaluate, publish, and say how it ended.

    python -m graft_trainer [prepare]

``prepare`` only renders the rows of a training and stores their tokens in the registry, for the training to begin with.
All cheap checks are made before torch is imported. Exit codes and the termination message are in `outcome.py`; the run
document is in `config.py`.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from functools import cache, partial
from typing import Final

from graft_registry.documents import BaseManifest, StoredVersion
from graft_registry.runs.checkpoints import CheckpointStore
from graft_registry.s3.store import ObjectStore
from graft_registry.versions import AdapterRegistry
from graft_trainer.base import check_base, check_dequantizable, check_mergeable, check_trainable
from graft_trainer.config import AdapterSourceConfig, RunConfig, read_run_config
from graft_trainer.data.dataset import fetch_sets
from graft_trainer.data.files.sources import DataFetcher
from graft_trainer.importing.source import fetch_foreign_adapter
from graft_trainer.methods.long_context import long_context
from graft_trainer.methods.table import METHODS
from graft_trainer.outcome import InvalidConfigError, Outcome, Reason, classify, report
from graft_trainer.preemption import PreemptionNotice
from graft_trainer.progress import ProgressWriter
from graft_trainer.row_files.kept import BetweenRows, RunRows, kept_rows, pinned_rows, read_rows
from graft_trainer.runtime import Settings, configure_logging, prepare_environment

logger = logging.getLogger("graft_trainer")

PREPARE: Final = "prepare"


def main(arguments: Sequence[str] = ()) -> int:
    """Do once what the arguments ask for, and return the exit code."""
    notice = PreemptionNotice()
    notice.listen()
    settings = Settings.from_environment(os.environ)
    configure_logging(settings.log_format, quiet=settings.rank > 0)
    try:
        outcome = run(settings, notice, only_rows=asks_for_rows(arguments))
    except Exception as error:
        outcome = classify(error)
        logger.error("%s: %s", outcome.reason, outcome.message, exc_info=outcome.reason is Reason.CRASHED)
    report(outcome, settings.termination_log)
    return outcome.exit_code


def asks_for_rows(arguments: Sequence[str]) -> bool:
    """Whether only the rows are to be prepared. Raises InvalidConfigError for any other argument."""
    if list(arguments) not in ([], [PREPARE]):
        raise InvalidConfigError(f"unknown arguments {' '.join(arguments)}; there is {PREPARE}, or none")
    return bool(arguments)


def checked_base(config: RunConfig) -> BaseManifest:
    """Return the manifest of the mounted base, once the run is known to be possible on it."""
    base = check_base(config.base)
    if config.adapter_source is None:
        check_trainable(base, METHODS[config.method])
    else:
        check_dequantizable(base, "imported adapters can't be judged on")
    check_mergeable(base, config.serving)
    return base


def rows_of(
    config: RunConfig,
    base: BaseManifest,
    settings: Settings,
    between_rows: BetweenRows,
    *,
    store: ObjectStore | None,
) -> RunRows:
    """Return the run's rows: fetched and read here, unless somebody has done that already.

    Rows whose tokens ``store`` keeps are not read again, and rows of a given digest are then not even fetched. Rows
    that are worth keeping are read by the first worker alone. Without a ``store`` none are kept.
    """
    fetch = cache(partial(fetch_sets, config.rows, DataFetcher(config.registry, settings.work_folder / "data")))
    kept = None
    if store is not None:
        kept = pinned_rows(config, base, store) or kept_rows(config, fetch(), base, store)
    dataset = None
    if kept is None or not (settings.rank or kept.exist()):
        dataset = read_rows(config, fetch(), between_rows)
        logger.info("%s", dataset)
    return RunRows(fetch=fetch, dataset=dataset, kept=kept, between=between_rows)


def run(settings: Settings, notice: PreemptionNotice, *, only_rows: bool = False) -> Outcome:
    """Adopt the recipe's version if it is published already, else make it; with ``only_rows`` only prepare its rows."""
    config = read_run_config(settings.run_config)
    store = ObjectStore(config.registry)
    registry = AdapterRegistry(store, config.namespace, config.adapter)
    checkpoints = CheckpointStore(store, config.namespace, config.adapter, config.recipe)
    if (published := registry.find(config.recipe)) is not None:
        return adopt(published, checkpoints)
    prepare_environment(os.environ, settings.work_folder, processes=config.workers.processes_per_node)
    if config.adapter_source is not None:
        return import_adapter(config, config.adapter_source, settings, notice, registry, checkpoints)
    if config.workers.count > 1 and settings.local_rank is None:
        # Imported late: torch takes seconds to import, and nothing above needs it.
        from graft_trainer.workers.launch import launch

        return launch(config.workers, settings)
    return train(config, settings, notice, registry, checkpoints, store, only_rows=only_rows)


def train(
    config: RunConfig,
    settings: Settings,
    notice: PreemptionNotice,
    registry: AdapterRegistry,
    checkpoints: CheckpointStore,
    store: ObjectStore,
    *,
    only_rows: bool,
) -> Outcome:
    """Train the adapter and publish it, as one of the run's workers; with ``only_rows`` only prepare its rows."""
    base = checked_base(config)
    context = long_context(base, config)
    progress = ProgressWriter(registry if settings.rank == 0 else None, config.recipe)
    progress.enter("Loading")
    watch = partial(between_rows, notice, progress)
    rows = rows_of(config, base, settings, watch, store=store.until(lambda: notice.requested))
    notice.stop_if_requested()

    # Imported late, as above.
    from graft_trainer.pipeline import train_and_publish
    from graft_trainer.preparation import prepare_ahead
    from graft_trainer.run import Run
    from graft_trainer.workers.distributed import join

    go_on = prepare_ahead if only_rows else train_and_publish
    return go_on(
        Run(
            config=config,
            base=base,
            context=context,
            rows=rows,
            progress=progress,
            registry=registry,
            checkpoints=checkpoints,
            work_folder=settings.work_folder,
            notice=notice,
            workers=join(config.workers),
        )
    )


def import_adapter(
    config: RunConfig,
    source: AdapterSourceConfig,
    settings: Settings,
    notice: PreemptionNotice,
    registry: AdapterRegistry,
    checkpoints: CheckpointStore,
) -> Outcome:
    """Fetch an adapter that was trained elsewhere, and publish it as it is."""
    base = checked_base(config)
    progress = ProgressWriter(registry, config.recipe)
    progress.enter("Loading")
    adapter = fetch_foreign_adapter(source, config.registry, settings.work_folder / "source", os.environ)
    notice.stop_if_requested()
    watch = partial(between_rows, notice, progress)
    # An import reads its rows once, so there is no point in keeping their tokens in the store.
    rows = None if config.dataset is None else rows_of(config, base, settings, watch, store=None)
    notice.stop_if_requested()

    # Imported late, as for a training.
    from graft_trainer.importing.pipeline import import_and_publish
    from graft_trainer.run import ImportRun

    return import_and_publish(
        ImportRun(
            config=config,
            base=base,
            adapter=adapter,
            rows=rows,
            progress=progress,
            registry=registry,
            checkpoints=checkpoints,
            work_folder=settings.work_folder,
            notice=notice,
        )
    )


def between_rows(notice: PreemptionNotice, progress: ProgressWriter, done: int, total: int | None = None) -> None:
    """Stop if the pod was asked to; else report how many rows have been read, or rendered of a ``total``."""
    notice.stop_if_requested()
    progress.update(rows=done, total_rows=total)


def adopt(published: StoredVersion, checkpoints: CheckpointStore) -> Outcome:
    """Report the version that the recipe has already, and delete checkpoints that a killed run left behind."""
    checkpoints.clear()
    message = f"recipe {published.manifest.recipe} is version {published.manifest.number} already"
    logger.info("%s", message)
    return Outcome(
        reason=Reason.ADOPTED,
        message=message,
        number=published.manifest.number,
        manifest_digest=published.digest,
        step=published.manifest.metrics.steps or 0,
    )


if __name__ == "__main__":
    exit_code = main(sys.argv[1:])
    if "LOCAL_RANK" in os.environ:
        # A process group that has lost a member may never finish taking itself apart.
        logging.shutdown()
        os._exit(exit_code)
    sys.exit(exit_code)
