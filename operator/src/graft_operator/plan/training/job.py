"""The training Job that is due: what it says of itself, and of the one before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graft_operator.api.adapter_status import VersionReason
from graft_operator.api.conditions import no
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.manifests.distributed_job import rendezvous_services
from graft_operator.manifests.exit_codes import OUT_OF_MEMORY
from graft_operator.plan.actions import ApplyObject, CreateJob, EmitEvent
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.decision import TrainingDecision
from graft_operator.plan.training.failures import due_batch, job_of_recipe, lowered_batch, with_batch
from graft_operator.plan.training.rank import effective_rank, with_effective_rank, with_rank
from graft_operator.plan.training.recipe import fulfilling_recipes, spec_digest
from graft_operator.plan.training.versions import entry_of

TrainingJob = Callable[[AdapterSnapshot], dict[str, Any]]
"""Builds the manifest of the training Job; pure, and given by the caller so that plans know nothing of images."""


def training_is_due(seen: AdapterSnapshot, training_job: TrainingJob) -> TrainingDecision:
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
    return TrainingDecision(trained=fact, waiting=fact, actions=(*services, CreateJob(manifest), event))


def beginning(seen: AdapterSnapshot) -> str:
    """Return what the training begins with, in words; empty where it begins with nothing."""
    return f", warm start from version {seen.warm_start.number}" if seen.warm_start else ""


def adapter_as_trained(seen: AdapterSnapshot) -> LoraAdapter:
    """Return the adapter with the rank and the micro-batch that its next Job is made with."""
    adapter = with_effective_rank(seen.adapter)
    training = with_batch(adapter.spec.training, due_batch(seen))
    return adapter.model_copy(update={"spec": adapter.spec.model_copy(update={"training": training})})


def new_version_reason(seen: AdapterSnapshot) -> VersionReason:
    """Return the reason that goes into the version's manifest."""
    if is_doubled(seen):
        return "RankDoubled"
    if is_readaptation(seen):
        return "BaseModelChanged"
    return "DataChanged" if has_same_spec_as_live(seen) else "SpecChanged"


def is_readaptation(seen: AdapterSnapshot) -> bool:
    """Whether the alias points to a version of another base than the one that the next version is trained on."""
    base = seen.training_base
    return seen.live is not None and base is not None and seen.live.manifest.base.digest != base.digest


def is_doubled(seen: AdapterSnapshot) -> bool:
    """Whether the same training with half the rank has been published: self-correction asks for this one."""
    spec, base, rank = seen.adapter.spec, seen.training_base, effective_rank(seen.adapter)
    if base is None or rank == spec.lora.rank:
        return False
    half = fulfilling_recipes(
        spec.model_copy(update={"lora": with_rank(spec.lora, rank // 2)}),
        base_digest=base.digest,
        dataset_digest=seen.dataset_digest,
        evaluation_digest=seen.evaluation_digest,
    )
    return any(version.recipe in half for version in seen.adapter.status.versions)


def has_same_spec_as_live(seen: AdapterSnapshot) -> bool:
    """Whether the live version was trained from this very spec: then what has changed is the content of the data."""
    entry = entry_of(seen.adapter.status.versions, seen.live.manifest.number) if seen.live else None
    return entry is not None and entry.spec_digest == spec_digest(seen.adapter.spec)
