"""Makes one version of an adapter: adopt, or train or import it, evaluate, publish, and say how it ended.

    python -m graft_trainer

What cheap checks can find out is found out before torch is imported. Exit codes and the termination message are in
`outcome.py`; the run document is in `config.py`.
"""

from __future__ import annotations

import logging
import os
import sys

from graft_registry.checkpoints import CheckpointStore
from graft_registry.documents import StoredVersion
from graft_registry.s3.store import ObjectStore
from graft_registry.versions import AdapterRegistry
from graft_trainer.base import check_base, check_full_precision, check_mergeable, check_trainable
from graft_trainer.config import AdapterSourceConfig, DatasetConfig, RunConfig, read_run_config
from graft_trainer.data.dataset import Dataset, load_dataset
from graft_trainer.data.sources import DataFetcher
from graft_trainer.importing.source import bring
from graft_trainer.methods.long_context import long_context
from graft_trainer.methods.table import METHODS
from graft_trainer.outcome import Outcome, Reason, classify, report
from graft_trainer.preemption import PreemptionNotice
from graft_trainer.runtime import Settings, configure_logging, prepare_environment

logger = logging.getLogger("graft_trainer")


def main() -> int:
    """Run once and return the exit code."""
    notice = PreemptionNotice()
    notice.listen()
    settings = Settings.from_environment(os.environ)
    configure_logging(settings.log_format, quiet=settings.rank > 0)
    try:
        outcome = run(settings, notice)
    except Exception as error:
        outcome = classify(error)
        logger.error("%s: %s", outcome.reason, outcome.message, exc_info=outcome.reason is Reason.CRASHED)
    report(outcome, settings.termination_log)
    return outcome.exit_code


def rows_of(rows: DatasetConfig, config: RunConfig, settings: Settings, notice: PreemptionNotice) -> Dataset:
    """Fetch and read the rows, as the objective wants them."""
    dataset = load_dataset(
        rows,
        DataFetcher(config.registry, settings.work_folder / "data"),
        seed=config.training.seed,
        objective=config.training.objective,
        between_rows=notice.stop_if_requested,
    )
    logger.info("%s", dataset)
    notice.stop_if_requested()
    return dataset


def run(settings: Settings, notice: PreemptionNotice) -> Outcome:
    """Adopt the recipe's version if there is one, else make and publish it."""
    config = read_run_config(settings.run_config)
    store = ObjectStore(config.registry)
    registry = AdapterRegistry(store, config.namespace, config.adapter)
    checkpoints = CheckpointStore(store, config.namespace, config.adapter, config.recipe)
    if (published := registry.find(config.recipe)) is not None:
        return adopt(published, checkpoints)
    prepare_environment(os.environ, settings.work_folder, processes=config.workers.processes_per_node)
    if config.adapter_source is not None:
        return import_adapter(config, config.adapter_source, settings, notice, registry, checkpoints)
    return train(config, settings, notice, registry, checkpoints)


def train(
    config: RunConfig,
    settings: Settings,
    notice: PreemptionNotice,
    registry: AdapterRegistry,
    checkpoints: CheckpointStore,
) -> Outcome:
    """Train the adapter and publish it; several workers are started first."""
    if config.workers.count > 1 and settings.local_rank is None:
        from graft_trainer.workers.launch import launch

        return launch(config.workers, settings)
    base = check_base(config.base)
    check_trainable(base, METHODS[config.method])
    check_mergeable(base, config.serving)
    context = long_context(base, config)
    dataset = rows_of(config.rows, config, settings, notice)

    # Torch takes seconds to import, which nothing above needs to wait for.
    from graft_trainer.pipeline import train_and_publish
    from graft_trainer.run import Run
    from graft_trainer.workers.distributed import join

    return train_and_publish(
        Run(
            config=config,
            base=base,
            context=context,
            dataset=dataset,
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
    base = check_base(config.base)
    check_full_precision(base, "imported adapters can't be judged on")
    check_mergeable(base, config.serving)
    adapter = bring(source, config.registry, settings.work_folder / "source", os.environ)
    notice.stop_if_requested()
    dataset = None if config.dataset is None else rows_of(config.dataset, config, settings, notice)

    # As for a training.
    from graft_trainer.importing.pipeline import import_and_publish
    from graft_trainer.run import ImportRun

    return import_and_publish(
        ImportRun(
            config=config,
            base=base,
            adapter=adapter,
            dataset=dataset,
            registry=registry,
            checkpoints=checkpoints,
            work_folder=settings.work_folder,
            notice=notice,
        )
    )


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
    exit_code = main()
    if "LOCAL_RANK" in os.environ:
        # A process group that has lost a member may never finish taking itself apart.
        logging.shutdown()
        os._exit(exit_code)
    sys.exit(exit_code)
