"""From a change of the read model to the keys that are to be reconciled, and how urgent each is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from graft_operator.api.conditions import PINNED
from graft_operator.cluster.cache import Cache, Change
from graft_operator.cluster.cached_form import owning_jobs
from graft_operator.cluster.resources import (
    BASE_MODELS,
    DEPLOYMENTS,
    EVENTS_OF_PODS,
    INFERENCE_POOLS,
    JOBS,
    LORA_ADAPTERS,
    PODS,
    REFUSED_PODS,
    WORKLOADS,
    Resource,
)
from graft_operator.controller_runtime.fair_order import Priority
from graft_operator.controller_runtime.keys import AdapterKey, BaseKey, Key
from graft_operator.manifests import labels
from graft_operator.manifests.workloads.merged_model import MERGED
from graft_operator.manifests.workloads.serving import SERVING

Body = Mapping[str, Any]
Routed = tuple[Key, Priority]

_KEY_TYPES: Final[Mapping[str, type[AdapterKey] | type[BaseKey]]] = {
    AdapterKey.kind: AdapterKey,
    BaseKey.kind: BaseKey,
}

COUNTED: Final = frozenset({"UpToDate", "Stalled", "Accepted"})
"""Conditions of adapters that their base sums up, or grants places by; of reasons it knows a pin alone."""
OF_PODS: Final = frozenset({"desired", "loaded", "failed", "message", "endpoint"})
"""Parts of an adapter's `status.serving` that only say how far the pods are; their base hears it from the pods."""
SUMMARIES: Final = frozenset({"observedGeneration", "conditions", "adapters", "replicas", "failedImports"})
"""Parts of a base's status that only sum up."""
NAMED: Final = ("waiting", "notResident", "leftOut")
"""Parts of a base's `status.serving` that concern only the adapters that are named there."""

_EVENTS_OF: Final[Mapping[Resource, Resource]] = {REFUSED_PODS: JOBS, **dict.fromkeys(EVENTS_OF_PODS, PODS)}


def keys_of(change: Change, cache: Cache) -> Iterable[Routed]:
    """Return who has to look at the change. Whoever has written it himself knows it already."""
    if change.resource == LORA_ADAPTERS:
        return _of_adapter(change)
    if change.resource == BASE_MODELS:
        return _of_base(change, cache)
    if change.resource in _EVENTS_OF:
        return _of_event(change, cache)
    if change.resource == WORKLOADS:
        return _of_workload(change, cache)
    if change.resource == PODS and is_serving_pod(change.body):
        return _of_serving_pod(change, cache)
    return _of_child(change)


def adapters_of_pod(cache: Cache, namespace: str, name: str) -> int:
    """Return how many adapters a serving pod may know of: those that name its base, or its own that is merged."""
    body = cache.get(PODS, namespace, name)
    owner = owner_key(body) if body is not None else None
    if isinstance(owner, AdapterKey):
        return 1
    return 0 if owner is None else len(cache.adapters_of(namespace, owner.name))


def adapter_key(body: Body) -> AdapterKey:
    """Return the key of a LoraAdapter object."""
    return AdapterKey(body["metadata"]["namespace"], body["metadata"]["name"])


def base_key(body: Body) -> BaseKey:
    """Return the key of a BaseModel object."""
    return BaseKey(body["metadata"]["namespace"], body["metadata"]["name"])


def base_named_by(adapter: Body) -> BaseKey | None:
    """Return the base that a LoraAdapter names, or None if its spec is not (yet) well-formed."""
    name = ((adapter.get("spec") or {}).get("baseModelRef") or {}).get("name")
    return BaseKey(adapter["metadata"]["namespace"], name) if name else None


def _of_adapter(change: Change) -> Iterator[Routed]:
    old, new = change.old, change.new
    if not change.is_own:
        yield adapter_key(change.body), _priority(change)
    if old is not None and new is not None and shown_to_base(old) == shown_to_base(new):
        return
    # A new target may be a way back from a version that does harm.
    urgent = old is not None and new is not None and _target(old) != _target(new)
    for base in dict.fromkeys(base_named_by(body) for body in (old, new) if body is not None):
        if base is not None:
            yield base, Priority.URGENT if urgent else Priority.PROGRESS


def _of_base(change: Change, cache: Cache) -> Iterator[Routed]:
    old, new, key = change.old, change.new, base_key(change.body)
    if not change.is_own:
        yield key, _priority(change)
    if old is None or new is None or shown_to_adapters(old) != shown_to_adapters(new):
        names = [name for _, name in cache.adapters_of(key.namespace, key.name)]
    else:
        names = sorted({item[-1] for item in _named(old) ^ _named(new)})
    for name in names:
        yield AdapterKey(key.namespace, name), Priority.PROGRESS


def _of_serving_pod(change: Change, cache: Cache) -> Iterator[Routed]:
    """A pod that comes to answer, or ceases to, concerns the base and all of its adapters."""
    owner, old, new = owner_key(change.body), change.old, change.new
    if owner is None:
        return
    if (
        old is not None
        and new is not None
        and is_ready(old) == is_ready(new)
        and is_terminating(old) == is_terminating(new)
    ):
        yield owner, Priority.PROGRESS
        return
    yield owner, Priority.URGENT
    if old is not None or (new is not None and is_ready(new)):
        for _, name in cache.adapters_of(owner.namespace, owner.name):
            yield AdapterKey(owner.namespace, name), Priority.PROGRESS


def _of_child(change: Change) -> Iterator[Routed]:
    owner = owner_key(change.body)
    if owner is None and change.resource == INFERENCE_POOLS:
        name = change.body["metadata"]["name"]
        owner = BaseKey(change.body["metadata"]["namespace"], name.removeprefix("graft-"))
    if owner is None or change.is_own:
        return
    is_lost = change.new is None and change.resource not in (JOBS, PODS)
    yield owner, Priority.URGENT if is_lost or change.resource == DEPLOYMENTS else Priority.PROGRESS


def _of_event(change: Change, cache: Cache) -> Iterator[Routed]:
    regarding = change.body.get("regarding") or {}
    child = cache.get(_EVENTS_OF[change.resource], regarding.get("namespace", ""), regarding.get("name", ""))
    if child is not None and change.new is not None and (owner := owner_key(child)) is not None:
        yield owner, Priority.PROGRESS


def _of_workload(change: Change, cache: Cache) -> Iterator[Routed]:
    """What Kueue says of a Job of ours concerns the Job's owner; most Workloads are of Jobs that are not ours."""
    for reference in owning_jobs(change.body):
        job = cache.get(JOBS, change.body["metadata"].get("namespace", ""), str(reference.get("name", "")))
        if job is not None and (owner := owner_key(job)) is not None:
            yield owner, Priority.PROGRESS


def _priority(change: Change) -> Priority:
    """Return URGENT for what a person has done: a new object, a new spec, a deletion."""
    if change.old is None or change.new is None:
        return Priority.PROGRESS if is_observed(change.body) else Priority.URGENT
    old, new = change.old["metadata"], change.new["metadata"]
    changed = old.get("generation") != new.get("generation") or old.get("uid") != new.get("uid")
    return Priority.URGENT if changed or is_terminating(change.old) != is_terminating(change.new) else Priority.PROGRESS


def is_observed(body: Body) -> bool:
    """Whether the object was decided about before: of a whole fleet that is listed, those come first that were not."""
    observed = (body.get("status") or {}).get("observedGeneration")
    return observed == body["metadata"].get("generation") and not is_terminating(body)


def shown_to_base(adapter: Body) -> Any:
    """Return what a base reads of one of its adapters (`base_snapshot.adapter_of_base`)."""
    metadata, spec, status = adapter["metadata"], adapter.get("spec") or {}, adapter.get("status") or {}
    serving = {name: value for name, value in (status.get("serving") or {}).items() if name not in OF_PODS}
    versions, source = status.get("versions") or [{}], status.get("source") or {}
    return (
        (metadata.get("uid"), is_terminating(adapter)),
        (spec.get("baseModelRef"), spec.get("serving"), spec.get("suspend"), spec.get("version")),
        (spec.get("source"), "dataset" in spec, {part: source.get(part) for part in ("digest", "baseDigest")}),
        (serving, versions[0].get("baseDigest")),
        {item["type"]: _counted(item) for item in status.get("conditions") or () if item["type"] in COUNTED},
        (status.get("training") or {}).get("job"),
    )


def _counted(condition: Body) -> tuple[Any, bool]:
    return condition.get("status"), condition.get("reason") == PINNED


def shown_to_adapters(base: Body) -> Any:
    """Return what adapters read of their base: all but what follows from the adapters themselves."""
    metadata, status = base["metadata"], base.get("status") or {}
    own = {name: value for name, value in status.items() if name not in SUMMARIES and name != "readaptation"}
    own["serving"] = [
        {name: value for name, value in revision.items() if name not in (*NAMED, "readyReplicas")}
        for revision in own.get("serving") or ()
    ]
    return (metadata.get("uid"), is_terminating(base)), base.get("spec"), own


def _named(base: Body) -> frozenset[tuple[str, ...]]:
    """Return the adapters that the base's status names, each with the place where it does."""
    status = base.get("status") or {}
    revisions = status.get("serving") or ()
    granted = (status.get("readaptation") or {}).get("granted") or ()
    placed = {(item["digest"], part, name) for item in revisions for part in NAMED for name in item.get(part) or ()}
    return frozenset(placed | {("granted", name) for name in granted})


def owner_key(child: Body) -> Key | None:
    """Return the key of the object that one of our children belongs to, or None if it is not marked as ours.

    The name stands in an annotation because names may have 253 characters and label values only 63.
    """
    metadata = child["metadata"]
    key_type = _KEY_TYPES.get((metadata.get("labels") or {}).get(labels.OWNER_KIND, ""))
    name = (metadata.get("annotations") or {}).get(labels.OWNER_NAME)
    return key_type(metadata["namespace"], name) if key_type is not None and name else None


def is_serving_pod(body: Body) -> bool:
    """Tell whether the pod is one of a base's."""
    return (body["metadata"].get("labels") or {}).get(labels.COMPONENT) == SERVING


def has_agent(body: Body) -> bool:
    """Tell whether the pod runs a serving agent: those of bases and of merged models do."""
    return (body["metadata"].get("labels") or {}).get(labels.COMPONENT) in (SERVING, MERGED)


def is_ready(pod: Body) -> bool:
    """Whether Kubernetes sends requests to the pod."""
    return ready_condition(pod) is not None


def ready_condition(pod: Body) -> Body | None:
    """Return the condition that says that the pod is ready; None where it is not."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return next((item for item in conditions if item.get("type") == "Ready" and item.get("status") == "True"), None)


def is_terminating(body: Body) -> bool:
    """Whether an object was asked to be deleted, and is still there: for its finalizers, or for its grace period."""
    return bool(body["metadata"].get("deletionTimestamp"))


def _target(adapter: Body) -> Any:
    return ((adapter.get("status") or {}).get("serving") or {}).get("target")
