"""The training Job that is due: what it says of itself, and of the one before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graft_operator.api.conditions import no
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.manifests.distributed_job import rendezvous_services
from graft_operator.manifests.exit_codes import OUT_OF_MEMORY
from graft_operator.plan.actions import ApplyObject, CreateJob, EmitEvent
from graft_operator.plan.micro_batch import due_batch, job_of_recipe, lowered_batch, with_batch
from graft_operator.plan.observed import AdapterObserved
from graft_operator.plan.rank_doubling import with_effective_rank
from graft_operator.plan.verdicts import Verdict
from graft_operator.plan.version_reason import new_version_reason

TrainingJob = Callable[[AdapterObserved], dict[str, Any]]
"""Builds the manifest of the training Job; pure, and given by the caller so that plans know nothing of images."""


def training_is_due(seen: AdapterObserved, training_job: TrainingJob) -> Verdict:
    """Nothing holds the recipe yet: create the Job, whose name holds it."""
    manifest = training_job(seen)
    created = f"Job {manifest['metadata']['name']} is created"
    event = EmitEvent("Normal", "TrainingJobCreated", f"{created}: {new_version_reason(seen)}{beginning(seen)}")
    fact = no("JobCreated", created)
    if (before := job_of_recipe(seen)) is not None and lowered_batch(seen) is not None:
        training = with_batch(seen.adapter.spec.training, due_batch(seen))
        how = f"batchSize {training.batch_size} × gradientAccumulation {training.gradient_accumulation}"
        fact = no(OUT_OF_MEMORY, f"Job {before.name} ran out of memory: {created} with {how}")
    services = map(ApplyObject, rendezvous_services(seen.adapter))
    return Verdict(trained=fact, waiting=fact, actions=(*services, CreateJob(manifest), event))


def beginning(seen: AdapterObserved) -> str:
    """Return what the training begins with, in words; empty where it begins with nothing."""
    return f", warm start from version {seen.warm_start.number}" if seen.warm_start else ""


def adapter_as_trained(seen: AdapterObserved) -> LoraAdapter:
    """Return the adapter with the rank and the micro-batch that its next Job is made with."""
    adapter = with_effective_rank(seen.adapter)
    training = with_batch(adapter.spec.training, due_batch(seen))
    return adapter.model_copy(update={"spec": adapter.spec.model_copy(update={"training": training})})
