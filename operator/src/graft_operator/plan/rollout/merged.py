"""How a merged version is served: by a Deployment of its own, whose rolling update is the rollout.

Only versions that hold a merged model can be: the others were trained for another ``serving.mode``, and are not looked
at.
"""

from __future__ import annotations

from collections.abc import Iterable

from graft_operator.api.adapter_status import AdapterServingStatus, LoraAdapterStatus, ServedVersion
from graft_operator.manifests import naming
from graft_operator.manifests.platform import Platform
from graft_operator.manifests.workloads.merged_model import merged_model_manifests
from graft_operator.plan.actions import Action, ApplyObject, DeleteObject, Kind
from graft_operator.plan.rejections import Rejection
from graft_operator.plan.rollout.coverage import coverage_in_mode
from graft_operator.plan.rollout.plan import Rollback, Rollout
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_registry.documents import StoredVersion


def fits_mode(seen: AdapterSnapshot, version: StoredVersion | None) -> bool:
    """Whether the version can be served as the spec asks for."""
    if version is None:
        return False
    if seen.adapter.spec.serving.mode == "Merged":
        return version.manifest.merge is not None
    return version.manifest.servable == "MultiAdapter"


def plan_merged_rollout(seen: AdapterSnapshot, serving: AdapterServingStatus, wanted: ServedVersion | None) -> Rollout:
    """Move the Deployment to ``wanted``; the version before answers on its pods until they are replaced.

    One that a pod refuses, because its model does not answer as its manifest says, is given up for the one before.
    """
    target, previous = serving.target, serving.previous
    if wanted is not None and wanted != target:
        answers_everywhere = coverage_in_mode(seen, target, "Merged").complete
        target, previous = wanted, (target if answers_everywhere or previous is None else previous)
    if target is None:
        return Rollout()
    coverage = coverage_in_mode(seen, target, "Merged")
    if previous is not None and coverage.refused and not coverage.complete:
        rollback = Rollback(version=target, state="Refused", message=coverage.message)
        return Rollout(target=previous, coverage=coverage_in_mode(seen, previous, "Merged"), rollback=rollback)
    previous = None if coverage.complete else previous
    before = coverage_in_mode(seen, previous, "Merged")
    return Rollout(target=target, previous=previous, coverage=coverage, previous_coverage=before)


def merged_actions(seen: AdapterSnapshot, rollout: Rollout, platform: Platform) -> tuple[Action, ...]:
    """Return the Deployment as it should be, or its end where nothing is served by it any more.

    It is made only once the status says so, for whoever comes after a crash to know of something to delete.
    """
    told, version = seen.adapter.status.serving.version_served_as("Merged"), rollout.version_served_as("Merged")
    if told is None:
        return ()
    if version is not None:
        if seen.base is None:
            return ()
        return tuple(map(ApplyObject, merged_model_manifests(seen.adapter, seen.base, version, platform)))
    name = naming.merged_name(seen.adapter.metadata.name)
    kinds: tuple[Kind, ...] = ("Service", "Deployment", "PodDisruptionBudget")
    # Without policies the operator has no right to delete any: one of former days goes with the adapter.
    kinds = (*kinds, "NetworkPolicy") if platform.network_access else kinds
    return tuple(DeleteObject(kind, name) for kind in kinds)


def keep_serving_if_deletion_refused(
    old: LoraAdapterStatus, new: LoraAdapterStatus, rejections: Iterable[Rejection]
) -> LoraAdapterStatus:
    """Return the status, which goes on telling of a merged model whose end was refused: else nobody would end it.

    Its Service may be gone already, and so clients are not sent there any more.
    """
    ends = old.serving.version_served_as("Merged") is not None and new.serving.version_served_as("Merged") is None
    if not ends or not any(rejection.is_deletion for rejection in rejections):
        return new
    kept = {"endpoint": new.serving.endpoint, "mode": old.serving.mode_in_force}
    return new.model_copy(update={"serving": old.serving.model_copy(update=kept)})


def merged_endpoint(seen: AdapterSnapshot, rollout: Rollout) -> str | None:
    """Return the URL of the merged model's API: from when it first answers until the base's engine does instead."""
    metadata, former = seen.adapter.metadata, rollout.former
    url = naming.merged_url(metadata.namespace, metadata.name)
    known = seen.adapter.status.serving.endpoint
    if rollout.mode == "Merged":
        return url if rollout.answering_in_mode is not None else known
    return known if former is not None and former.mode == "Merged" and former.succeeded_time is None else None
