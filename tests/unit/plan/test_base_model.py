"""The plan of a base: import, serve, move to another base, retire, go."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import (
    NOW,
    PLATFORM,
    adapter_of_base,
    base_id,
    base_model,
    base_seen,
    deployment,
    job,
    on_pod,
    pod,
    served_version,
    source_of,
)
from tests.kstatus import kstatus

from graft_operator.api.base_model import BaseModel, BaseModelStatus
from graft_operator.api.conditions import find
from graft_operator.plan.actions import (
    AddFinalizer,
    ApplyObject,
    CreateJob,
    DeleteObject,
    EmitEvent,
    Plan,
    RemoveFinalizer,
)
from graft_operator.plan.base_model import IN_USE_FINALIZER, plan_base_model
from graft_operator.plan.observed import BaseObserved
from graft_operator.reconcilers.base_model import builders

FINALIZER = {"finalizers": (IN_USE_FINALIZER,)}
DELETED = FINALIZER | {"deletionTimestamp": NOW.isoformat()}
BUILD = builders(PLATFORM)


def plan(given: BaseObserved) -> Plan:
    return plan_base_model(given, NOW, build=BUILD)


def status_of(given: BaseObserved) -> BaseModelStatus:
    status = plan(given).status
    assert isinstance(status, BaseModelStatus)
    return status


def applied(given: BaseObserved) -> list[tuple[str, str]]:
    manifests = [action.manifest for action in plan(given).actions if isinstance(action, ApplyObject)]
    return [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]


def deleted(given: BaseObserved) -> list[tuple[str, str]]:
    return [(action.kind, action.name) for action in plan(given).actions if isinstance(action, DeleteObject)]


def revisions(given: BaseObserved) -> str:
    names = {base_id(letter): letter for letter in "ABC"}
    return "".join(names[revision.digest] for revision in status_of(given).serving)


def name_of(letter: str) -> str:
    return BUILD.deployment_name("tiny", base_id(letter))


def bumped_to(letter: str, resolved: str = "A", **fields: Any) -> BaseModel:
    return base_model(resolved=resolved, source=source_of(letter), meta=FINALIZER, **fields)


def test_the_finalizer_comes_first() -> None:
    assert plan(base_seen(base_model())) == Plan(actions=(AddFinalizer(IN_USE_FINALIZER),), requeue_after=0)


def test_a_new_base_is_imported_and_nothing_is_served() -> None:
    given = base_seen(base_model(resolved=None, serves=(), meta=FINALIZER), bases="")
    actions = plan(given).actions
    assert [type(action) for action in actions] == [CreateJob, EmitEvent]
    assert status_of(given).resolved is None


def test_a_resolved_base_is_served_by_its_own_objects() -> None:
    assert applied(base_seen()) == [
        ("ServiceAccount", "graft-tiny-serving"),
        ("Role", "graft-tiny-serving"),
        ("RoleBinding", "graft-tiny-serving"),
        ("Service", "graft-tiny"),
        ("ConfigMap", name_of("A")),
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
    given = base_seen(conditional_writes=honoured)
    said = next(item for item in status_of(given).conditions if item.type == "RegistrySafe")
    assert (said.status, said.reason) == (status, reason)
    assert applied(given) == applied(base_seen())


def test_the_old_base_is_served_while_the_new_source_is_imported() -> None:
    given = base_seen(bumped_to("B"), bases="A", deployments=(deployment(),))
    assert revisions(given) == "A"
    assert deleted(given) == []
    assert any(isinstance(action, CreateJob) for action in plan(given).actions)


ON_A = adapter_of_base(target=served_version(1))
MOVING = adapter_of_base(target=served_version(2, "B"), previous=served_version(1))
ON_B = adapter_of_base(target=served_version(2, "B"), up_to_date=True)
QUIET_A = pod("pod-a")

REVISIONS: dict[str, tuple[BaseObserved, str, list[str]]] = {
    "nobody uses A, B does not answer yet: both": (
        base_seen(bumped_to("B"), bases="AB", deployments=(deployment("A"), deployment("B", ready=0))),
        "BA",
        [],
    ),
    "nobody uses A, B answers: A goes": (
        base_seen(bumped_to("B"), bases="AB", deployments=(deployment("A"), deployment("B"))),
        "B",
        ["A"],
    ),
    "B answers, an adapter is on A: both": (
        base_seen(bumped_to("B"), bases="AB", adapters=(ON_A,), deployments=(deployment("A"), deployment("B"))),
        "BA",
        [],
    ),
    "the adapter is on its way: both": (
        base_seen(bumped_to("B"), bases="AB", adapters=(MOVING,), deployments=(deployment("A"), deployment("B"))),
        "BA",
        [],
    ),
    "the adapter has moved, a pod of A still answers: both": (
        base_seen(
            bumped_to("B"),
            bases="AB",
            adapters=(ON_B,),
            deployments=(deployment("A"), deployment("B")),
            pods=(pod("pod-a", on_pod(served_version(1)), active=(1,)),),
        ),
        "BA",
        [],
    ),
    "the adapter has moved, a pod of A still drains: both": (
        base_seen(
            bumped_to("B"),
            bases="AB",
            adapters=(ON_B,),
            deployments=(deployment("A"), deployment("B")),
            pods=(pod("pod-a", on_pod(served_version(1), "Draining")),),
        ),
        "BA",
        [],
    ),
    "the adapter has moved and the pods of A only forward: A goes": (
        base_seen(
            bumped_to("B"),
            bases="AB",
            adapters=(ON_B,),
            deployments=(deployment("A"), deployment("B")),
            pods=(QUIET_A,),
        ),
        "B",
        ["A"],
    ),
    "B is just being changed: A waits": (
        base_seen(
            bumped_to("B"),
            bases="AB",
            adapters=(ON_B,),
            deployments=(deployment("A"), deployment("B", settled=False)),
            pods=(QUIET_A,),
        ),
        "BA",
        [],
    ),
    "two bumps, an adapter on A: A and C stay, B goes": (
        base_seen(
            bumped_to("C", resolved="B"),
            bases="ABC",
            adapters=(ON_A,),
            deployments=(deployment("A"), deployment("B"), deployment("C")),
        ),
        "CA",
        ["B"],
    ),
    "an unknown Deployment is left alone": (
        base_seen(deployments=(deployment("A"), deployment("C"))),
        "A",
        [],
    ),
}


@pytest.mark.parametrize(("given", "serving", "retired"), REVISIONS.values(), ids=REVISIONS)
def test_revisions(given: BaseObserved, serving: str, retired: list[str]) -> None:
    assert revisions(given) == serving
    # The Deployment goes last: while it is there, a pass that was cut short is made up for.
    kinds = ("Service", "ConfigMap", "PodDisruptionBudget", "Deployment")
    assert deleted(given) == [(kind, name_of(letter)) for letter in retired for kind in kinds]


def test_the_old_base_forwards_requests_for_the_base_once_the_new_one_answers() -> None:
    for ready, forward_to in ((0, None), (1, BUILD.service_url("team-a", "tiny", base_id("B")))):
        given = base_seen(
            bumped_to("B"), bases="AB", adapters=(ON_A,), deployments=(deployment("A"), deployment("B", ready=ready))
        )
        sets = {
            action.manifest["metadata"]["name"]: action.manifest["data"]["wanted.json"]
            for action in plan(given).actions
            if isinstance(action, ApplyObject) and action.manifest["kind"] == "ConfigMap"
        }
        expected = f'"forwardTo": "{forward_to}", "name": "tiny"' if forward_to else '"forwardTo": null, "name": "tiny"'
        assert expected in sets[name_of("A")]


DELETIONS: dict[str, tuple[BaseObserved, list[Any]]] = {
    "without adapters it goes": (base_seen(base_model(meta=DELETED)), [RemoveFinalizer(IN_USE_FINALIZER)]),
    "without our finalizer it is gone": (
        base_seen(base_model(meta={"deletionTimestamp": NOW.isoformat()}), adapters=(ON_A,)),
        [],
    ),
}


@pytest.mark.parametrize(("given", "actions"), DELETIONS.values(), ids=DELETIONS)
def test_deletion(given: BaseObserved, actions: list[Any]) -> None:
    assert list(plan(given).actions) == actions


def test_a_base_with_adapters_stays_serves_and_says_why() -> None:
    given = base_seen(base_model(meta=DELETED), adapters=(ON_A,), deployments=(deployment(),))
    assert revisions(given) == "A"
    assert not any(isinstance(action, RemoveFinalizer) for action in plan(given).actions)
    reconciling = find(status_of(given).conditions, "Reconciling")
    assert reconciling is not None
    assert (reconciling.reason, "support" in reconciling.message) == ("DeletionBlocked", True)


HEALTH: dict[str, tuple[BaseObserved, str, str]] = {
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
def test_health(given: BaseObserved, health: str, reason: str) -> None:
    status = status_of(given)
    types = [condition.type for condition in status.conditions]
    assert types == ["Stalled", "Reconciling", "Ready", "Resolved", "ServingReady", "AdaptersUpToDate", "RegistrySafe"]
    assert kstatus({"metadata": {"generation": 1}, "status": status.to_wire()}) == health
    ready = find(status.conditions, "Ready")
    assert ready is not None
    assert ready.reason == reason


def test_the_adapters_are_counted() -> None:
    adapters = (ON_B, adapter_of_base("b", readapting=True), adapter_of_base("c", stalled=True))
    counts = status_of(base_seen(adapters=adapters)).adapters
    assert (counts.total, counts.up_to_date, counts.readapting, counts.blocked) == (3, 1, 1, 1)


def test_two_bases_side_by_side_need_no_polling() -> None:
    given = base_seen(bumped_to("B"), bases="AB", adapters=(ON_A,), deployments=(deployment("A"), deployment("B")))
    assert plan(given).requeue_after is None
