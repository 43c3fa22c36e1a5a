"""The plan of a base: import, serve, say how it is, go."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.builders import (
    NOW,
    adapter_of_base,
    base_model,
    base_seen,
    deployment,
    job,
    pod,
    resolved_base,
    served_version,
    serving_revision,
)
from tests.kstatus import kstatus
from tests.unit.plan.base.base_plan import (
    FINALIZER,
    ON_A,
    ON_B,
    applied,
    bumped_to,
    deleted,
    name_of,
    plan,
    revisions,
    status_of,
)

from graft_operator.api.conditions import find, yes
from graft_operator.manifests.workloads.anchor import anchor_manifest, anchor_name
from graft_operator.plan.actions import (
    AddFinalizer,
    ApplyObject,
    CreateJob,
    DeleteObject,
    EmitEvent,
    Plan,
    RemoveFinalizer,
)
from graft_operator.plan.base.conditions import ready_fact
from graft_operator.plan.base.importing import ImportDecision
from graft_operator.plan.base.plan import IN_USE_FINALIZER, SETTLING_SECONDS
from graft_operator.plan.known import Known
from graft_operator.plan.snapshot import BaseSnapshot
from graft_registry.documents import StoreReport

DELETED = FINALIZER | {"deletionTimestamp": NOW.isoformat()}


def test_the_finalizer_comes_first() -> None:
    base = base_model()
    anchor = ApplyObject(anchor_manifest(base.metadata))
    assert plan(base_seen(base)) == Plan(actions=(AddFinalizer(IN_USE_FINALIZER), anchor), requeue_after=0)


def test_a_new_base_is_imported_and_nothing_is_served() -> None:
    given = base_seen(base_model(resolved=None, serves=(), meta=FINALIZER), bases="")
    found = plan(given)
    assert found.actions == ()
    assert [type(action) for action in found.extras] == [CreateJob, EmitEvent]
    assert status_of(given).resolved is None


def test_a_resolved_base_is_served_by_its_own_objects() -> None:
    assert applied(base_seen()) == [
        ("ConfigMap", anchor_name(base_seen().base.metadata)),
        ("ConfigMap", name_of("A")),  # what pods are told waits for nothing else
        ("ServiceAccount", "graft-tiny-serving"),
        ("Role", "graft-tiny-serving"),
        ("RoleBinding", "graft-tiny-serving"),
        ("Service", "graft-tiny"),
        ("Service", name_of("A")),
        ("PodDisruptionBudget", name_of("A")),
        ("Deployment", name_of("A")),
    ]


@pytest.mark.parametrize(
    ("honoured", "status", "reason"),
    [
        (True, "True", "ConditionalWrites"),
        (False, "False", "ConditionalWritesIgnored"),
        (None, "Unknown", "NotProbed"),
    ],
)
def test_what_the_bucket_promises_is_said_and_changes_nothing_else(
    honoured: bool | None, status: str, reason: str
) -> None:
    given = base_seen(store_report=Known(StoreReport(bucket="graft", conditional_writes=honoured)))
    said = next(item for item in status_of(given).conditions if item.type == "RegistrySafe")
    assert (said.status, said.reason) == (status, reason)
    assert applied(given) == applied(base_seen())


def test_the_old_base_is_served_while_the_new_source_is_imported() -> None:
    given = base_seen(bumped_to("B"), bases="A", deployments=(deployment(),))
    assert revisions(given) == "A"
    assert deleted(given) == []
    assert any(isinstance(action, CreateJob) for action in plan(given).extras)


def owners_of(given: BaseSnapshot) -> set[tuple[str, ...]]:
    manifests = [
        action.manifest for action in (*plan(given).actions, *plan(given).extras) if isinstance(action, ApplyObject)
    ]
    owned = [item for item in manifests if item["metadata"]["name"] != anchor_name(given.base.metadata)]
    return {tuple(owner["kind"] for owner in item["metadata"]["ownerReferences"]) for item in owned}


OWNERS: dict[str, tuple[BaseSnapshot, tuple[str, ...]]] = {
    "base and anchor": (base_seen(), ("BaseModel", "ConfigMap")),
    "the base alone while there is no anchor": (base_seen(anchor_uid=""), ("BaseModel",)),
    "the anchor alone once the base is deleted": (
        base_seen(base_model(meta=DELETED), adapters=(ON_A,)),
        ("ConfigMap",),
    ),
}


@pytest.mark.parametrize(("given", "owners"), OWNERS.values(), ids=OWNERS)
def test_to_whom_all_belongs_that_serves_a_base(given: BaseSnapshot, owners: tuple[str, ...]) -> None:
    assert owners_of(given) == {owners}


def test_an_anchor_that_is_not_there_is_looked_for_again() -> None:
    settled = base_seen(deployments=(deployment(),))
    assert plan(settled).requeue_after is None
    assert plan(replace(settled, anchor_uid="")).requeue_after == SETTLING_SECONDS


DELETIONS: dict[str, tuple[BaseSnapshot, list[Any]]] = {
    "without adapters it goes, its anchor first": (
        base_seen(base_model(meta=DELETED)),
        [
            DeleteObject("ConfigMap", anchor_name(base_model().metadata), "uid-of-anchor"),
            RemoveFinalizer(IN_USE_FINALIZER),
        ],
    ),
    "without an anchor, too": (
        base_seen(base_model(meta=DELETED), anchor_uid=""),
        [RemoveFinalizer(IN_USE_FINALIZER)],
    ),
    "without our finalizer it is gone": (
        base_seen(base_model(meta={"deletionTimestamp": NOW.isoformat()}), adapters=(ON_A,)),
        [],
    ),
}


@pytest.mark.parametrize(("given", "actions"), DELETIONS.values(), ids=DELETIONS)
def test_deletion(given: BaseSnapshot, actions: list[Any]) -> None:
    assert list(plan(given).actions) == actions


def test_a_base_with_adapters_stays_serves_and_says_why() -> None:
    given = base_seen(base_model(meta=DELETED), adapters=(ON_A,), deployments=(deployment(),))
    assert revisions(given) == "A"
    assert not any(isinstance(action, RemoveFinalizer) for action in plan(given).actions)
    reconciling = find(status_of(given).conditions, "Reconciling")
    assert reconciling is not None
    assert (reconciling.reason, "support" in reconciling.message) == ("DeletionBlocked", True)


HEALTH: dict[str, tuple[BaseSnapshot, str, str]] = {
    "being imported": (
        base_seen(base_model(resolved=None, serves=(), meta=FINALIZER), bases=""),
        "InProgress",
        "Importing",
    ),
    "resolved, no pod yet": (base_seen(), "InProgress", "PodsNotReady"),
    "serving": (base_seen(deployments=(deployment(),)), "Current", "Serving"),
    "half of the pods": (
        base_seen(base_model(replicas=2, meta=FINALIZER), deployments=(deployment(replicas=2, ready=1),)),
        "InProgress",
        "PodsNotReady",
    ),
    "scaled to nothing": (base_seen(base_model(replicas=0, meta=FINALIZER)), "InProgress", "NoReplicas"),
    "a source that is not there": (
        base_seen(
            bumped_to("B"),
            bases="A",
            deployments=(deployment(),),
            import_job=job(base_seen(bumped_to("B")).source_digest, "Failed", outcome_reason="SourceNotFound"),
        ),
        "Failed",
        "SourceNotFound",
    ),
    "an adapter keeps the old base": (
        base_seen(bumped_to("B"), bases="AB", adapters=(ON_A,), deployments=(deployment("A"), deployment("B"))),
        "Current",
        "Serving",
    ),
}


@pytest.mark.parametrize(("given", "health", "reason"), HEALTH.values(), ids=HEALTH)
def test_health(given: BaseSnapshot, health: str, reason: str) -> None:
    status = status_of(given)
    types = [condition.type for condition in status.conditions]
    assert types == ["Stalled", "Reconciling", "Ready", "Resolved", "ServingReady", "AdaptersUpToDate", "RegistrySafe"]
    assert kstatus({"metadata": {"generation": 1}, "status": status.to_wire()}) == health
    ready = find(status.conditions, "Ready")
    assert ready is not None
    assert ready.reason == reason


def test_a_base_that_no_pod_serves_while_others_are_served_says_so() -> None:
    decision = ImportDecision(resolved=resolved_base("B"))
    ready = ready_fact(decision, [serving_revision("A")], yes("Serving"))
    assert (ready.status, ready.reason) == ("False", "PodsNotReady")
    assert ready.message == "no pod answers with the current base yet"


def test_the_adapters_are_counted() -> None:
    adapters = (ON_B, adapter_of_base("b", readapting=True), adapter_of_base("c", stalled=True))
    counts = status_of(base_seen(adapters=adapters)).adapters
    assert (counts.total, counts.up_to_date, counts.readapting, counts.blocked) == (3, 1, 1, 1)


def test_who_is_behind_and_who_is_pinned_is_told_apart() -> None:
    adapters = (ON_B, adapter_of_base("b"), adapter_of_base("c", pinned=True))
    told = find(status_of(base_seen(adapters=adapters)).conditions, "AdaptersUpToDate")
    assert told is not None
    assert told.message == "1 of 3 adapters are up to date; behind: b; pinned to another version: c"


def sharing_two_places(**seconds_ago: int) -> BaseSnapshot:
    """Return three adapters on demand, the last without a place, and when their only pod was asked for each."""
    adapters = tuple(adapter_of_base(name, target=served_version(1), on_demand=True) for name in "abc")
    asked = {name: NOW - timedelta(seconds=seconds) for name, seconds in seconds_ago.items()}
    subject = base_model(
        meta=FINALIZER,
        serving={"maxLoadedAdapters": 2, "maxActiveAdapters": 1},
        status={"serving": (serving_revision(not_resident=("c",)),)},
    )
    return base_seen(subject, adapters=adapters, deployments=(deployment(),), pods=(pod(asked=asked),))


@pytest.mark.parametrize(
    ("given", "absent", "seconds"),
    [
        pytest.param(sharing_two_places(a=1, b=2), "c", 30.0, id="nobody asks for the one without a place"),
        pytest.param(sharing_two_places(a=1, b=50, c=3), "c", 10.0, id="it waits until another one has been idle"),
        pytest.param(sharing_two_places(a=1, b=70, c=3), "b", 30.0, id="it takes the place of one that is idle"),
    ],
)
def test_places_on_demand_and_when_they_are_looked_at_again(given: BaseSnapshot, absent: str, seconds: float) -> None:
    status = status_of(given)
    assert [revision.not_resident for revision in status.serving] == [(absent,)]
    assert (status.adapters.on_demand, status.adapters.not_resident) == (3, 1)
    assert plan(given).requeue_after == seconds
    (wanted,) = [
        json.loads(action.manifest["data"]["wanted.json"])
        for action in plan(given).actions
        if isinstance(action, ApplyObject) and "data" in action.manifest
    ]
    assert {entry["name"] for entry in wanted["adapters"] if not entry["versions"]} == {absent}
    assert all(entry["onDemand"] for entry in wanted["adapters"])


NOT_READY = {
    "a quota": (
        'FailedCreate: pods "x" is forbidden: failed quota: compute: must specify limits.cpu for: engine',
        "set spec.serving.resources",
    ),
    "OpenShift": (
        'FailedCreate: pods "x" is forbidden: unable to validate against any security context constraint: []',
        "podSecurity.userIds",
    ),
    "an image": ("ErrImagePull: container engine: unauthorized", "imagePullSecrets in spec.serving"),
    "a taint": ("Unschedulable: 0/1 nodes: untolerated taint {gpu: yes}", "spec.serving.tolerations"),
    "a node that comes": ("WaitingForNode: pod triggered scale-up; until then Unschedulable: x", "triggered scale-up"),
    "an engine's own words": ("engine Starting: loading weights", "engine Starting: loading weights"),
}


@pytest.mark.parametrize(("message", "part"), NOT_READY.values(), ids=NOT_READY)
def test_what_keeps_serving_pods_from_answering_is_told_with_what_helps(message: str, part: str) -> None:
    base = base_model(meta=FINALIZER)
    given = base_seen(base, deployments=(deployment(ready=0, message=message),))
    told = find(status_of(given).conditions, "ServingReady")
    assert told is not None
    assert (told.status, told.reason) == ("False", "PodsNotReady")
    assert part in told.message
