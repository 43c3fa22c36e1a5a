"""Whether the rows of the next version are prepared by a Job of their own, and whether they have been."""

from __future__ import annotations

from graft_operator.api.adapter_status import SkippedPreparation
from graft_operator.api.dataset import Dataset
from graft_operator.api.lora_adapter import LoraAdapterSpec
from graft_operator.api.pods.preparation import is_device
from graft_operator.plan.actions import DeleteObject
from graft_operator.plan.imports.origin import is_import
from graft_operator.plan.jobs import JobObserved
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.recipe import dataset_inputs
from graft_registry.digests import digest_of


def is_prepared_first(seen: AdapterSnapshot) -> bool:
    """Whether a Job without a GPU prepares the rows. An import reads them this once, and has nothing to prepare."""
    spec = seen.adapter.spec
    if is_import(seen) or spec.preparation.mode == "Never":
        return False
    return spec.preparation.mode == "Always" or (asks_for_device(spec) and skipped_preparation(seen) is None)


def skipped_preparation(seen: AdapterSnapshot) -> SkippedPreparation | None:
    """Return the preparation that was given up, as long as the recipe is the same, or can't be told."""
    known = seen.adapter.status.skipped_preparation
    return known if known is not None and seen.recipe in (None, known.recipe) else None


def asks_for_device(spec: LoraAdapterSpec) -> bool:
    """Whether the training holds something that others wait for while it reads rows."""
    resources = spec.pod.resources
    return any(map(is_device, (*resources.requests, *resources.limits)))


def are_prepared(seen: AdapterSnapshot) -> bool:
    """Whether the training may begin: its rows are prepared, or it has begun already.

    What was prepared may have gone from the registry since. Then the training prepares it: that takes longer, and
    nothing depends on it.
    """
    own = [job for job in seen.jobs if job.recipe == seen.recipe]
    if any(not job.prepares or job.state == "Succeeded" for job in own):
        return True
    return seen.adapter.status.prepared_rows is not None and seen.adapter.status.prepared_rows == rows_digest(seen)


def preparation_under_way(seen: AdapterSnapshot) -> JobObserved | None:
    """Return the Job that prepares the rows of the recipe, until it has; None where that is not asked for."""
    if not is_prepared_first(seen):
        return None
    return next(iter(unfinished(seen)), None)


def unwanted_preparations(seen: AdapterSnapshot) -> tuple[DeleteObject, ...]:
    """Return the deletions of Jobs that prepare what the training is to prepare itself by now."""
    if is_prepared_first(seen):
        return ()
    return tuple(DeleteObject("Job", job.name, job.uid) for job in unfinished(seen))


def unfinished(seen: AdapterSnapshot) -> list[JobObserved]:
    """Return the Jobs that prepare the rows of the recipe and have not."""
    return [job for job in seen.jobs if job.prepares and job.recipe == seen.recipe and job.state != "Succeeded"]


def rows_digest(seen: AdapterSnapshot) -> str:
    """Return a digest of what decides which tokens the rows become, as far as the operator can tell.

    Where only the trainer can tell what the rows are, they are those of this recipe alone.
    """
    base, dataset, training = seen.training_base, seen.adapter.spec.dataset, seen.adapter.spec.training
    return digest_of(
        {
            "base": base.digest if base else None,
            "dataset": dataset_inputs(dataset) if dataset else None,
            "digests": [seen.dataset_digest, seen.evaluation_digest],
            "recipe": None if dataset is not None and are_known(seen, dataset) else seen.recipe,
            "maxDroppedPercent": dataset.max_dropped_percent if dataset else None,
            "objective": training.objective,
            "seed": training.seed,
            "maxSequenceLength": training.max_sequence_length,
            "trainOnInputs": training.train_on_inputs,
            # Another release may render otherwise.
            "image": seen.trainer_image,
        }
    )


def are_known(seen: AdapterSnapshot, dataset: Dataset) -> bool:
    """Whether the operator knows the content of all sets, by ConfigMaps that it reads or digests that it was given."""
    evaluation_is_known = dataset.evaluation is None or seen.evaluation_digest is not None
    mix_is_known = all(one.s3 is not None and one.s3.digest is not None for one in dataset.mix)
    return seen.dataset_digest is not None and evaluation_is_known and mix_is_known


def prepared_rows(seen: AdapterSnapshot) -> str | None:
    """Return what the status keeps of the rows that were prepared last; it outlives the Job that did."""
    done = (job.rows for job in seen.jobs if job.prepares and job.state == "Succeeded" and job.recipe == seen.recipe)
    return next(filter(None, done), None) or seen.adapter.status.prepared_rows
