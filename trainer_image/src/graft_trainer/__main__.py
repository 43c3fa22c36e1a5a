"""Makes one version of an adapter: adopt, or train or import it, evaluate, publish, and say how it ended.

    python -m graft_trainer [prepare]

``prepare`` only makes the rows of a training ready and keeps them in the registry, where that begins with them.
What cheap checks can find out is found out before torch is imported. Exit codes and the termination message are in
`outcome.py`; the run document is in `config.py`.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from functools import cache, partial
from typing import Final

from graft_registry.checkpoints import CheckpointStore
from graft_registry.documents import BaseManifest, StoredVersion
from graft_registry.s3.store import ObjectStore
from graft_registry.versions import AdapterRegistry
from graft_trainer.base import check_base, check_full_precision, check_mergeable, check_trainable
from graft_trainer.config import AdapterSourceConfig, RunConfig, read_run_config
from graft_trainer.data.dataset import fetch_sets
from graft_trainer.data.sources import DataFetcher
from graft_trainer.importing.source import bring
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
    """Return the manifest of the mounted base, once it is known to be one that the run can do with."""
    base = check_base(config.base)
    if config.adapter_source is None:
        check_trainable(base, METHODS[config.method])
    else:
        check_full_precision(base, "imported adapters can't be judged on")
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
    """Fetch the rows and read them, as the objective wants them.

    They are not read where they are kept in ``store`` as tokens, or where another worker reads them for all; nor are
    they fetched where a given digest tells which they are.
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
    """Adopt the recipe's version if there is one, else make and publish it; ``only_rows`` makes its rows ready."""
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
        # Torch takes seconds to import, which nothing above needs to wait for.
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
    """Train the adapter and publish it, as one of the run's workers. Or prepare its rows, alone."""
    base = checked_base(config)
    context = long_context(base, config)
    progress = ProgressWriter(registry if settings.rank == 0 else None, config.recipe)
    progress.enter("Loading")
    watch = partial(between_rows, notice, progress)
    rows = rows_of(config, base, settings, watch, store=store.until(lambda: notice.requested))
    notice.stop_if_requested()

    # As above.
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
    """Bring an adapter that was trained elsewhere, and publish it as it is."""
    base = checked_base(config)
    progress = ProgressWriter(registry, config.recipe)
    progress.enter("Loading")
    adapter = bring(source, config.registry, settings.work_folder / "source", os.environ)
    notice.stop_if_requested()
    watch = partial(between_rows, notice, progress)
    # They are read this once, so nobody would be helped by their tokens.
    rows = None if config.dataset is None else rows_of(config, base, settings, watch, store=None)
    notice.stop_if_requested()

    # As for a training.
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
    """Stop where the pod is asked to; else tell how many rows have been read, or rendered of a total."""
    notice.stop_if_requested()
    progress.update(rows=done, total_rows=total)


def adopt(published: StoredVersion, checkpoints: CheckpointStore) -> Outcome:
    """Take the version that the recipe has already, and delete what a run that was killed after publishing it left."""
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
