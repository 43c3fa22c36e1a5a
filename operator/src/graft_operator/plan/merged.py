"""How a merged version is served: by a Deployment of its own, whose rolling update is the rollout.

Only versions that hold a merged model can be: the others were trained for another ``serving.mode``, and are not looked
at. The base's engine does not know of the adapter meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graft_operator.api.adapter_status import ServedVersion
from graft_operator.api.base_model import BaseModel
from graft_operator.manifests import naming
from graft_operator.plan.actions import Action, ApplyObject, DeleteObject
from graft_operator.plan.coverage import coverage_of
from graft_operator.plan.observed import AdapterObserved
from graft_operator.plan.rollout import Rollout
from graft_registry.documents import StoredVersion

MergedModel = Callable[[AdapterObserved, BaseModel, ServedVersion], list[dict[str, Any]]]
"""Builds what serves a merged version; pure, and given by the caller so that plans know nothing of images."""


def fits_mode(seen: AdapterObserved, version: StoredVersion | None) -> bool:
    """Whether the version can be served as the spec asks for."""
    return version is not None and (seen.adapter.spec.serving.mode != "Merged" or version.manifest.merge is not None)


def plan_merged_rollout(seen: AdapterObserved, wanted: ServedVersion | None) -> Rollout:
    """Move the Deployment to ``wanted``; the version before answers on its pods until they are replaced."""
    serving = seen.adapter.status.serving
    target, previous = (serving.target if fits_mode(seen, seen.live) else None), serving.previous
    if wanted is not None and wanted != target:
        answers_everywhere = coverage_of(target, seen.base, seen.pods).complete
        target, previous = wanted, (target if answers_everywhere or previous is None else previous)
    if target is None:
        return Rollout()
    coverage = coverage_of(target, seen.base, seen.pods)
    previous = None if coverage.complete else previous
    before = coverage_of(previous, seen.base, seen.pods)
    return Rollout(target=target, previous=previous, coverage=coverage, previous_coverage=before)


def merged_actions(seen: AdapterObserved, rollout: Rollout, merged_model: MergedModel) -> tuple[Action, ...]:
    """Return the Deployment as it should be, or its end where the spec has moved on to another mode."""
    adapter, base = seen.adapter, seen.base
    if adapter.spec.serving.mode == "Merged":
        if rollout.target is None or base is None:
            return ()
        return tuple(ApplyObject(manifest) for manifest in merged_model(seen, base, rollout.target))
    if adapter.status.serving.endpoint is None:
        return ()
    name = naming.merged_name(adapter.metadata.name)
    return tuple(DeleteObject(kind, name) for kind in ("Service", "Deployment", "PodDisruptionBudget"))


def merged_endpoint(seen: AdapterObserved, rollout: Rollout) -> str | None:
    """Return the URL of the merged model's API; None where there is none."""
    metadata = seen.adapter.metadata
    if seen.adapter.spec.serving.mode != "Merged" or rollout.target is None:
        return None
    return naming.merged_url(metadata.namespace, metadata.name)
