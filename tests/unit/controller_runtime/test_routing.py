"""Who is told of what, and how soon he should look: one table for each kind of change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from graft_operator import routing
from graft_operator.cluster import Cache, Change, Resource
from graft_operator.cluster.resources import (
    BASE_MODELS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    INFERENCE_POOLS,
    JOBS,
    LORA_ADAPTERS,
    NOMINATIONS,
    PODS,
    REFUSED_MOUNTS,
    REFUSED_PODS,
    SCALE_UPS,
    SERVICES,
    USER_CONFIG_MAPS,
    WORKLOADS,
)
from graft_operator.controller_runtime.fair_order import Priority
from graft_operator.controller_runtime.keys import AdapterKey, BaseKey, Key

SUPPORT, SALES = AdapterKey("a", "support"), AdapterKey("a", "sales")
TINY, LARGE = BaseKey("a", "tiny"), BaseKey("a", "large")
URGENT, PROGRESS = Priority.URGENT, Priority.PROGRESS

Body = dict[str, Any]
Told = dict[Key, Priority]


def adapter(name: str = "support", base: str | None = "tiny", **fields: Any) -> Body:
    spec = {} if base is None else {"baseModelRef": {"name": base}}
    metadata = {"namespace": "a", "name": name, "uid": f"uid-of-{name}", "generation": 1}
    return {"metadata": metadata | fields.pop("metadata", {}), "spec": spec | fields.pop("spec", {}), **fields}


def base(name: str = "tiny", **fields: Any) -> Body:
    metadata = {"namespace": "a", "name": name, "uid": f"uid-of-{name}", "generation": 1}
    return {"metadata": metadata | fields.pop("metadata", {}), "spec": {}, **fields}


def child(owner: Key = SUPPORT, component: str = "training", **fields: Any) -> Body:
    metadata = {
        "namespace": "a",
        "name": "child",
        "uid": "uid-of-child",
        "labels": {
            "graft.dev/owner-kind": owner.kind,
            "graft.dev/owner-uid": f"uid-of-{owner.name}",
            "graft.dev/component": component,
        },
        "annotations": {"graft.dev/owner-name": owner.name},
    }
    return {"metadata": metadata | fields.pop("metadata", {}), **fields}


def serving_pod(*, ready: bool = False, **fields: Any) -> Body:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return child(TINY, "serving", status={"conditions": conditions}, **fields)


def conditions(**states: str) -> list[Body]:
    return [{"type": kind, "status": state} for kind, state in states.items()]


LEAVING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
DECIDED = {"observedGeneration": 1}


@dataclass(frozen=True, kw_only=True)
class Case:
    resource: Resource = LORA_ADAPTERS
    old: Body | None = None
    new: Body | None = None
    is_own: bool = False
    told: Told


def told_of(case: Case, *known: Body) -> Told:
    """Return who is told where the cache knows the adapters ``support`` and ``sales`` on ``tiny``, and another's."""
    cache = Cache()
    elsewhere = adapter("other", metadata={"namespace": "b", "uid": "uid-of-other"})
    for body in (adapter("support"), adapter("sales"), elsewhere, *known):
        cache.put(LORA_ADAPTERS, body)
    found: Told = {}
    for key, priority in routing.keys_of(Change(case.resource, case.old, case.new, case.is_own), cache):
        assert key not in found, "nobody is told twice of one change"
        found[key] = priority
    return found


def status_of(*, is_own: bool = True, told: Told, before: Body | None = None, **status: Any) -> Case:
    """Return a change of an adapter's status."""
    return Case(old=adapter(status=before or {}), new=adapter(status=(before or {}) | status), is_own=is_own, told=told)


V1, V2 = {"number": 1, "digest": "sha256:1"}, {"number": 2, "digest": "sha256:2"}
ADAPTERS = {
    "a new one": Case(new=adapter(), told={SUPPORT: URGENT, TINY: PROGRESS}),
    "one that was decided about before, as most of a first listing": Case(
        new=adapter(status=DECIDED), told={SUPPORT: PROGRESS, TINY: PROGRESS}
    ),
    "one that was decided about, and is to go": Case(
        new=adapter(metadata=LEAVING, status=DECIDED), told={SUPPORT: URGENT, TINY: PROGRESS}
    ),
    "one that is gone": Case(old=adapter(), told={SUPPORT: URGENT, TINY: PROGRESS}),
    "a changed spec, of which the base needs nothing": Case(
        old=adapter(), new=adapter(metadata={"generation": 2}, spec={"lora": {"rank": 8}}), told={SUPPORT: URGENT}
    ),
    "another base": Case(
        old=adapter(),
        new=adapter(base="large", metadata={"generation": 2}),
        told={SUPPORT: URGENT, TINY: PROGRESS, LARGE: PROGRESS},
    ),
    "fewer pods": Case(
        old=adapter(),
        new=adapter(metadata={"generation": 2}, spec={"serving": {"replicas": 1}}),
        told={SUPPORT: URGENT, TINY: PROGRESS},
    ),
    "a suspension, which may free a place": Case(
        old=adapter(),
        new=adapter(metadata={"generation": 2}, spec={"suspend": True}),
        told={SUPPORT: URGENT, TINY: PROGRESS},
    ),
    "a pin, likewise": Case(
        old=adapter(),
        new=adapter(metadata={"generation": 2}, spec={"version": 1}),
        told={SUPPORT: URGENT, TINY: PROGRESS},
    ),
    "a deletion": Case(old=adapter(), new=adapter(metadata=LEAVING), told={SUPPORT: URGENT, TINY: PROGRESS}),
    "a namesake": Case(
        old=adapter(), new=adapter(metadata={"uid": "uid-of-a-namesake"}), told={SUPPORT: URGENT, TINY: PROGRESS}
    ),
    "a label": Case(old=adapter(), new=adapter(metadata={"labels": {"team": "x"}}), told={SUPPORT: PROGRESS}),
    "the same again": Case(old=adapter(), new=adapter(), told={SUPPORT: PROGRESS}),
    "a status that somebody else has written": status_of(is_own=False, told={SUPPORT: PROGRESS}, observedGeneration=2),
    "what no base reads": status_of(told={}, observedGeneration=2),
    "how far a training is": status_of(
        told={}, before={"training": {"job": "x", "step": 1}}, training={"job": "x", "step": 2}
    ),
    "a training that has begun": status_of(told={TINY: PROGRESS}, training={"job": "x", "step": 1}),
    "another target, which may be a way back": status_of(
        told={TINY: URGENT}, before={"serving": {"target": V2}}, serving={"target": V1}
    ),
    "the next step of a canary": status_of(
        told={TINY: PROGRESS},
        before={"serving": {"target": V2, "rollout": {"weight": 10}}},
        serving={"target": V2, "rollout": {"weight": 50}},
    ),
    "how many pods have loaded it": status_of(
        told={},
        before={"serving": {"target": V2, "loaded": 0}},
        serving={"target": V2, "loaded": 1, "desired": 2, "failed": 0, "message": "…", "endpoint": "http://x"},
    ),
    "it is up to date": status_of(told={TINY: PROGRESS}, conditions=conditions(UpToDate="True")),
    "it is held by a pin": status_of(
        told={TINY: PROGRESS},
        before={"conditions": [{"type": "UpToDate", "status": "False", "reason": "RollingOut"}]},
        conditions=[{"type": "UpToDate", "status": "False", "reason": "Pinned"}],
    ),
    "it waits for something else": status_of(
        told={},
        before={"conditions": [{"type": "UpToDate", "status": "False", "reason": "RollingOut"}]},
        conditions=[{"type": "UpToDate", "status": "False", "reason": "Training"}],
    ),
    "it stalls": status_of(told={TINY: PROGRESS}, conditions=conditions(Stalled="True")),
    "it answers": status_of(told={}, conditions=conditions(Ready="True", Served="True", Reconciling="False")),
    "what nobody has thought of here": status_of(told={TINY: PROGRESS}, serving={"novelty": 1}),
}


@pytest.mark.parametrize("case", ADAPTERS.values(), ids=ADAPTERS)
def test_a_change_of_an_adapter(case: Case) -> None:
    assert told_of(case) == case.told


@pytest.mark.parametrize("spec", [None, {}, {"baseModelRef": None}, {"baseModelRef": {"name": ""}}])
def test_an_adapter_without_a_usable_reference_concerns_only_itself(spec: Any) -> None:
    case = Case(new={**adapter(base=None), "spec": spec}, told={SUPPORT: URGENT})
    assert told_of(case) == case.told


def test_the_statuses_of_a_swap_concern_the_base_when_the_target_moves_and_when_it_is_served() -> None:
    moved = {"serving": {"target": V2, "loaded": 0}}
    loading = {"serving": {"target": V2, "loaded": 1}}
    served = {**loading, "conditions": conditions(UpToDate="True")}
    statuses: list[Body] = [{}, moved, loading, served]
    told = [
        told_of(Case(old=adapter(status=before), new=adapter(status=after), is_own=True, told={}))
        for before, after in pairwise(statuses)
    ]
    assert told == [{TINY: URGENT}, {}, {TINY: PROGRESS}]


def revision(digest: str = "sha256:a", **fields: Any) -> Body:
    return {"serving": [{"digest": digest, "replicas": 1} | fields]}


def of_base(*, is_own: bool = True, told: Told, before: Body | None = None, **status: Any) -> Case:
    """Return a change of a base's status."""
    old, new = base(status=before or {}), base(status=(before or {}) | status)
    return Case(resource=BASE_MODELS, old=old, new=new, is_own=is_own, told=told)


BOTH: Told = {SUPPORT: PROGRESS, SALES: PROGRESS}
BASES = {
    "a new one": Case(resource=BASE_MODELS, new=base(), told={TINY: URGENT, **BOTH}),
    "one that was decided about before": Case(
        resource=BASE_MODELS, new=base(status=DECIDED), told={TINY: PROGRESS, **BOTH}
    ),
    "one that is gone": Case(resource=BASE_MODELS, old=base(), told={TINY: URGENT, **BOTH}),
    "a changed spec": Case(
        resource=BASE_MODELS,
        old=base(),
        new=base(metadata={"generation": 2}) | {"spec": {"serving": {"replicas": 3}}},
        told={TINY: URGENT, **BOTH},
    ),
    "a deletion": Case(resource=BASE_MODELS, old=base(), new=base(metadata=LEAVING), told={TINY: URGENT, **BOTH}),
    "one that was deleted and applied again": Case(
        resource=BASE_MODELS, old=base(), new=base(metadata={"uid": "another"}), told={TINY: URGENT, **BOTH}
    ),
    "a status that somebody else has written": of_base(is_own=False, told={TINY: PROGRESS}, observedGeneration=2),
    "it sums its adapters up": of_base(
        told={}, adapters={"upToDate": 1}, conditions=conditions(Ready="True"), replicas=2, observedGeneration=2
    ),
    "a pod of it answers": of_base(told={}, before=revision(readyReplicas=0), **revision(readyReplicas=1)),
    "its source is resolved": of_base(told=BOTH, resolved={"digest": "sha256:a"}),
    "a revision is served": of_base(told=BOTH, **revision()),
    "it has more replicas": of_base(told=BOTH, before=revision(), **revision(replicas=2)),
    "what nobody has thought of here": of_base(told=BOTH, novelty=1),
    "a place changes hands": of_base(
        told=BOTH,
        before=revision(notResident=["legal", "sales"]),
        **revision(notResident=["legal", "support"]),
    ),
    "one waits for a place": of_base(told={SALES: PROGRESS}, before=revision(), **revision(waiting=["sales"])),
    "one does not fit": of_base(told={SALES: PROGRESS}, before=revision(), **revision(leftOut=["sales"])),
    "the same wait on": of_base(told={}, before=revision(waiting=["sales"]), **revision(waiting=["sales"])),
    "a turn to be trained anew": of_base(
        told={SALES: PROGRESS, SUPPORT: PROGRESS},
        before={"readaptation": {"granted": ["sales"], "queued": 9}},
        readaptation={"granted": ["support"], "queued": 8},
    ),
    "how many wait for their turn": of_base(
        told={},
        before={"readaptation": {"granted": ["sales"], "queued": 9}},
        readaptation={"granted": ["sales"], "queued": 8},
    ),
}


@pytest.mark.parametrize("case", BASES.values(), ids=BASES)
def test_a_change_of_a_base(case: Case) -> None:
    assert told_of(case) == case.told


PODS_OF_A_BASE = {
    "it is made": Case(resource=PODS, new=serving_pod(), told={TINY: URGENT}),
    "it answers from its first moment": Case(resource=PODS, new=serving_pod(ready=True), told={TINY: URGENT, **BOTH}),
    "it has an address": Case(
        resource=PODS,
        old=serving_pod(),
        new=serving_pod(metadata={"labels": serving_pod()["metadata"]["labels"]}),
        told={TINY: PROGRESS},
    ),
    "it comes to answer": Case(
        resource=PODS, old=serving_pod(), new=serving_pod(ready=True), told={TINY: URGENT, **BOTH}
    ),
    "it ceases to": Case(resource=PODS, old=serving_pod(ready=True), new=serving_pod(), told={TINY: URGENT, **BOTH}),
    "it is told to end": Case(
        resource=PODS,
        old=serving_pod(ready=True),
        new=serving_pod(ready=True, metadata=serving_pod()["metadata"] | LEAVING),
        told={TINY: URGENT, **BOTH},
    ),
    "it is gone": Case(resource=PODS, old=serving_pod(ready=True), told={TINY: URGENT, **BOTH}),
}


@pytest.mark.parametrize("case", PODS_OF_A_BASE.values(), ids=PODS_OF_A_BASE)
def test_a_change_of_a_serving_pod(case: Case) -> None:
    assert told_of(case) == case.told


CHILDREN = {
    "a Job that somebody else has made for it": Case(resource=JOBS, new=child(), told={SUPPORT: PROGRESS}),
    "a Job that we have made": Case(resource=JOBS, new=child(), is_own=True, told={}),
    "a Job that has ended": Case(
        resource=JOBS, old=child(), new=child(status={"conditions": []}), told={SUPPORT: PROGRESS}
    ),
    "a Job that is gone": Case(resource=JOBS, old=child(), told={SUPPORT: PROGRESS}),
    "a trainer's pod": Case(
        resource=PODS, old=child(), new=child(status={"phase": "Failed"}), told={SUPPORT: PROGRESS}
    ),
    "a Deployment that is edited": Case(
        resource=DEPLOYMENTS, old=child(TINY, "serving"), new=child(TINY, "serving"), told={TINY: URGENT}
    ),
    "a Deployment that is deleted": Case(resource=DEPLOYMENTS, old=child(TINY, "serving"), told={TINY: URGENT}),
    "a Deployment that we have applied": Case(
        resource=DEPLOYMENTS, old=child(TINY), new=child(TINY), is_own=True, told={}
    ),
    "the Service that clients use is edited": Case(
        resource=SERVICES, old=child(TINY), new=child(TINY), told={TINY: PROGRESS}
    ),
    "the Service that clients use is deleted": Case(resource=SERVICES, old=child(TINY), told={TINY: URGENT}),
    "what pods are told is edited": Case(resource=CONFIG_MAPS, old=child(TINY), new=child(TINY), told={TINY: PROGRESS}),
    "a user's ConfigMap, of which rows.readers tells": Case(
        resource=USER_CONFIG_MAPS, new={"metadata": {"namespace": "a", "name": "rows"}}, told={}
    ),
    "somebody else's InferencePool of the name of a base's": Case(
        resource=INFERENCE_POOLS, new={"metadata": {"namespace": "a", "name": "graft-tiny"}}, told={TINY: PROGRESS}
    ),
    "a Job that nobody has marked": Case(resource=JOBS, new={"metadata": {"namespace": "a", "name": "x"}}, told={}),
}


@pytest.mark.parametrize("case", CHILDREN.values(), ids=CHILDREN)
def test_a_change_of_a_child(case: Case) -> None:
    assert told_of(case) == case.told


def complaint(kind: str, name: str = "child") -> Body:
    return {
        "metadata": {"namespace": "a", "name": "x.1"},
        "regarding": {"kind": kind, "namespace": "a", "name": name, "uid": "uid-of-child"},
    }


def workload(name: str = "child", **owner: str) -> Body:
    reference = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": "uid-of-child", **owner}
    return {"metadata": {"namespace": "a", "name": f"job-{name}", "ownerReferences": [reference]}}


EVENTS: dict[str, tuple[Resource, Mapping[str, Any] | None, Told]] = {
    "a Job whose pods are refused": (REFUSED_PODS, complaint("Job"), {SUPPORT: PROGRESS}),
    "a pod whose volume can't be mounted": (REFUSED_MOUNTS, complaint("Pod"), {SUPPORT: PROGRESS}),
    "a pod for which a node is brought": (SCALE_UPS, complaint("Pod"), {SUPPORT: PROGRESS}),
    "a pod for which Karpenter brings one": (NOMINATIONS, complaint("Pod"), {SUPPORT: PROGRESS}),
    "a Job that Kueue holds": (WORKLOADS, workload(), {SUPPORT: PROGRESS}),
    "a Job of somebody else's that it holds": (WORKLOADS, workload("other"), {}),
    "a JobSet that it holds": (WORKLOADS, workload(kind="JobSet", apiVersion="jobset.x-k8s.io/v1alpha2"), {}),
    "a Job that is not there any more": (REFUSED_PODS, complaint("Job", "gone"), {}),
    "an event that expires": (REFUSED_PODS, None, {}),
    "an event about nothing": (REFUSED_PODS, {"metadata": {"namespace": "a", "name": "x.1"}}, {}),
}


@pytest.mark.parametrize(("resource", "new", "told"), EVENTS.values(), ids=EVENTS)
def test_what_the_platform_says_of_a_child(resource: Resource, new: Body | None, told: Told) -> None:
    cache = Cache()
    cache.put(JOBS, child())
    cache.put(PODS, child())
    change = Change(resource, None if new else complaint("Job"), new)
    assert dict(routing.keys_of(change, cache)) == told


@pytest.mark.parametrize(
    ("labels", "annotations", "expected"),
    [
        ({"graft.dev/owner-kind": "LoraAdapter"}, {"graft.dev/owner-name": "support"}, SUPPORT),
        ({"graft.dev/owner-kind": "BaseModel"}, {"graft.dev/owner-name": "n" * 253}, BaseKey("a", "n" * 253)),
        ({"graft.dev/owner-kind": "Deployment"}, {"graft.dev/owner-name": "support"}, None),
        ({"graft.dev/owner-kind": "LoraAdapter"}, None, None),
        (None, {"graft.dev/owner-name": "support"}, None),
    ],
)
def test_a_child_belongs_to_whom_its_marks_name(
    labels: dict[str, str] | None, annotations: dict[str, str] | None, expected: Key | None
) -> None:
    metadata = {"namespace": "a", "name": "x", "labels": labels, "annotations": annotations}
    assert routing.owner_key({"metadata": metadata}) == expected


@pytest.mark.parametrize(
    ("labels", "serves"),
    [({"graft.dev/component": "serving"}, True), ({"graft.dev/component": "training"}, False), (None, False)],
)
def test_serving_pods_are_known_by_their_component(labels: dict[str, str] | None, serves: bool) -> None:
    assert routing.is_serving_pod({"metadata": {"labels": labels}}) == serves


def test_pods_of_merged_models_have_agents_but_are_none_of_a_base() -> None:
    merged = {"metadata": {"labels": {"graft.dev/component": "merged"}}}
    assert (routing.is_serving_pod(merged), routing.has_agent(merged)) == (False, True)
