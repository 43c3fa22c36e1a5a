"""The Job that is due, a training or an import: what it says of itself, and of the one before it."""

from __future__ import annotations

from typing import Any, Final

from graft_operator.api.adapter_status import FailedTrainings, VersionReason
from graft_operator.api.conditions import no
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.api.training import Workers
from graft_operator.manifests.jobs.adapter_source import adapter_source_document
from graft_operator.manifests.jobs.distributed_job import rendezvous_services
from graft_operator.manifests.jobs.exit_codes import OUT_OF_MEMORY
from graft_operator.manifests.jobs.training_job import pod_settings_digest, run_document, training_job_manifest
from graft_operator.manifests.platform import Platform
from graft_operator.plan.actions import ApplyObject, CreateJob
from graft_operator.plan.imports.origin import content_to_import, is_import
from graft_operator.plan.jobs import OccupiedName
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.current_job import current_job
from graft_operator.plan.training.decision import TrainingDecision
from graft_operator.plan.training.micro_batch import lowered_batch, next_micro_batch, with_batch
from graft_operator.plan.training.rank import effective_rank, with_effective_rank, with_rank
from graft_operator.plan.training.recipe import fulfilling_recipes, spec_digest
from graft_operator.plan.training.retry_policy import kept_failures
from graft_operator.plan.training.versions import entry_of, home_digest, newest_published

ENDING_SECONDS: Final = 5.0
"""How often a Job that is on its way out is looked at, besides whenever there is news of it."""

TAKEN_SECONDS: Final = 60.0


def training_is_due(seen: AdapterSnapshot, platform: Platform) -> TrainingDecision:
    """Nothing holds the recipe yet: create the Job, whose name holds it."""
    manifest, failed = job_to_create(seen, platform), kept_failures(seen)
    name = manifest["metadata"]["name"]
    if (taken := occupied(seen, name)) is not None:
        return name_is_taken(taken, failed)
    created = f"Job {name} is created"
    fact = no("JobCreated", f"{created}: {new_version_reason(seen)}{beginning(seen)}")
    if (before := current_job(seen)) is not None and lowered_batch(seen) is not None:
        training = with_batch(seen.adapter.spec.training, next_micro_batch(seen))
        how = f"batchSize {training.batch_size} × gradientAccumulation {training.gradient_accumulation}"
        fact = no(OUT_OF_MEMORY, f"Job {before.name} ran out of memory: {created} with {how}")
    services = map(ApplyObject, rendezvous_services(adapter_as_trained(seen)))
    return TrainingDecision(trained=fact, waiting=fact, failed=failed, actions=(*services, CreateJob(manifest)))


def occupied(seen: AdapterSnapshot, name: str) -> OccupiedName | None:
    """Return the Job of this name that is not ours to use, if there is one."""
    return next((item for item in seen.occupied_names if item.name == name), None)


def name_is_taken(taken: OccupiedName, failed: FailedTrainings | None) -> TrainingDecision:
    """Wait for a Job that goes by itself; one that stays is told, with what to do about it."""
    if taken.ending:
        fact = no("JobEnding", f"Job {taken.name} has to go before it is made anew: {taken.message}")
        return TrainingDecision(trained=fact, waiting=fact, failed=failed, requeue_after=ENDING_SECONDS)
    fact = no("JobNameTaken", f"Job {taken.name} is there already, and {taken.message}; delete or rename it")
    return TrainingDecision(trained=fact, stalled=fact, failed=failed, requeue_after=TAKEN_SECONDS)


def job_to_create(seen: AdapterSnapshot, platform: Platform) -> dict[str, Any]:
    """Return the manifest of the Job that is due. Raises ValueError while the base or the recipe is not known."""
    base = seen.training_base
    if seen.base is None or base is None:
        raise ValueError("a training Job needs a resolved base")
    adapter = adapter_as_trained(seen)
    return training_job_manifest(
        adapter,
        base,
        seen.base.metadata.uid,
        run_of(seen, adapter, platform),
        platform,
        lowered_batch=lowered_batch(seen),
        readapts=is_readaptation(seen),
        pod_settings=pod_settings_digest(seen.adapter.spec, seen.platform_asks),
    )


def run_of(seen: AdapterSnapshot, adapter: LoraAdapter, platform: Platform) -> dict[str, Any]:
    """Return the trainer's configuration for the adapter as a Job of it takes it.

    Raises ValueError while the base or the recipe is not known.
    """
    if seen.training_base is None or seen.recipe is None:
        raise ValueError("a run needs a resolved base")
    return run_document(
        adapter,
        seen.training_base,
        recipe=seen.recipe,
        reason=new_version_reason(seen),
        dataset_digest=seen.dataset_digest,
        evaluation_digest=seen.evaluation_digest,
        platform=platform,
        warm_start=seen.warm_start,
        adapter_source=adapter_source(seen),
    )


def adapter_source(seen: AdapterSnapshot) -> dict[str, Any] | None:
    """Return what the next version is imported from; None where it is trained."""
    source = seen.adapter.spec.source
    if source is None or not is_import(seen):
        return None
    return adapter_source_document(source, content_to_import(seen.adapter, seen.history))


def beginning(seen: AdapterSnapshot) -> str:
    """Return what the training begins with, in words; empty where it begins with nothing."""
    return f", warm start from version {seen.warm_start.number}" if seen.warm_start else ""


def adapter_as_trained(seen: AdapterSnapshot) -> LoraAdapter:
    """Return the adapter with the rank and the micro-batch that its next Job is made with; one worker imports."""
    if is_import(seen):
        return with_one_worker(seen.adapter)
    adapter = with_effective_rank(seen.adapter)
    training = with_batch(adapter.spec.training, next_micro_batch(seen))
    return adapter.model_copy(update={"spec": adapter.spec.model_copy(update={"training": training})})


def with_one_worker(adapter: LoraAdapter) -> LoraAdapter:
    """Return the adapter as it is imported: nothing is shared out, whatever a training would take."""
    spec = adapter.spec
    pod = spec.pod.model_copy(update={"workers": Workers(processes_per_node=1)})
    method = "LoRA" if spec.method == "Auto" else spec.method
    return adapter.model_copy(update={"spec": spec.model_copy(update={"pod": pod, "method": method})})


def new_version_reason(seen: AdapterSnapshot) -> VersionReason:
    """Return the reason that goes into the version's manifest."""
    if is_import(seen):
        return "Imported"
    if is_doubled(seen):
        return "RankDoubled"
    if is_readaptation(seen):
        return "BaseModelChanged"
    return "DataChanged" if has_same_spec_as_before(seen) else "SpecChanged"


def is_readaptation(seen: AdapterSnapshot) -> bool:
    """Whether the version before is of another base than the one that the next version is trained on.

    It is the one that the alias points to or, where nothing is served, the newest that was published.
    """
    base, before = seen.training_base, home_digest(seen.adapter.status, seen.history)
    if seen.live is not None:
        before = seen.live.manifest.base.digest
    return base is not None and before not in (None, base.digest)


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


def has_same_spec_as_before(seen: AdapterSnapshot) -> bool:
    """Whether the version before was trained from this very spec: then the content of the data has changed."""
    versions = seen.adapter.status.versions
    entry = entry_of(versions, seen.live.manifest.number) if seen.live else newest_published(versions)
    return entry is not None and entry.spec_digest == spec_digest(seen.adapter.spec)
