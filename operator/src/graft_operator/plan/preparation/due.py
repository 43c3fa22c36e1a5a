"""The Job that prepares rows, once a training is due and nothing has prepared them."""

from __future__ import annotations

from typing import Any

from graft_operator.api.conditions import no
from graft_operator.manifests.jobs.preparation_job import placed_to_prepare, preparation_job_manifest
from graft_operator.manifests.platform import Platform
from graft_operator.plan.actions import CreateJob
from graft_operator.plan.preparation.wanted import are_prepared, is_prepared_first, rows_digest
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.decision import TrainingDecision
from graft_operator.plan.training.job import (
    adapter_as_trained,
    is_readaptation,
    name_is_taken,
    occupied,
    run_of,
)
from graft_operator.plan.training.retry_policy import kept_failures


def preparation_is_due(seen: AdapterSnapshot, platform: Platform) -> TrainingDecision | None:
    """A training is due, and its rows come first; None where nothing has to come before it."""
    if not is_prepared_first(seen) or are_prepared(seen):
        return None
    manifest, failed = preparation_to_create(seen, platform), kept_failures(seen)
    name = manifest["metadata"]["name"]
    if (taken := occupied(seen, name)) is not None:
        return name_is_taken(taken, failed)
    fact = no("JobCreated", f"Job {name} is created: it prepares the rows, without a GPU")
    return TrainingDecision(trained=fact, waiting=fact, failed=failed, actions=(CreateJob(manifest),))


def preparation_to_create(seen: AdapterSnapshot, platform: Platform) -> dict[str, Any]:
    """Return the manifest of the Job. Raises ValueError while the base or the recipe is not known."""
    base = seen.training_base
    if seen.base is None or base is None:
        raise ValueError("rows are prepared for a resolved base")
    adapter = placed_to_prepare(adapter_as_trained(seen))
    return preparation_job_manifest(
        adapter,
        base,
        seen.base.metadata.uid,
        run_of(seen, adapter, platform),
        platform,
        rows=rows_digest(seen),
        readapts=is_readaptation(seen),
    )
