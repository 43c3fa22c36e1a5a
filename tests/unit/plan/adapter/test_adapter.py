"""The whole plan of an adapter: status, conditions and actions, over many states."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.builders import (
    NOW,
    PLATFORM,
    adapter,
    answering_pod,
    base_model,
    digest,
    imported_adapter,
    imported_version,
    job,
    on_pod,
    pod,
    recipe_of,
    seen,
    served_version,
    serving_revision,
    version,
)
from tests.kstatus import kstatus

from graft_operator.api.adapter_status import VERSIONS_KEPT, LoraAdapterStatus
from graft_operator.api.conditions import Condition, find
from graft_operator.manifests.naming import training_job_name
from graft_operator.plan.actions import AddFinalizer, CreateJob, DeleteObject, Plan
from graft_operator.plan.adapter.plan import plan_adapter
from graft_operator.plan.imports.checks import is_unservable
from graft_operator.plan.rollout.requeue import MOVING_SECONDS, WATCHING_SECONDS
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.versions import entry_of, summary

RECIPE = recipe_of(adapter())
CURRENT = version(1, recipe=RECIPE)
V1 = served_version(1, recipe=RECIPE)
FINE_IF_TRUE = {"Accepted", "Trained", "Evaluated", "Published", "Served", "UpToDate"}
TYPES = ["Stalled", "Reconciling", "Ready", "Accepted", "Trained", "Evaluated", "Published", "Served", "UpToDate"]


def plan(given: AdapterSnapshot, now: Any = NOW) -> Plan:
    return plan_adapter(given, now, PLATFORM)


def status_of(given: AdapterSnapshot) -> LoraAdapterStatus:
    status = plan(given).status
    assert isinstance(status, LoraAdapterStatus)
    return status


def served_on(
    *pods: Any, subject: Any = None, target: Any = V1, previous: Any = None, **fields: Any
) -> AdapterSnapshot:
    serving = {"target": target.to_wire(), "previous": previous.to_wire() if previous else None}
    subject = subject or adapter(status={"serving": serving})
    return seen(subject, **{"published": CURRENT, "live": CURRENT, "pods": pods} | fields)


def on_demand(one: Any, *, absent: bool = False) -> AdapterSnapshot:
    """Return an adapter on demand, which has been given a place or not, and what the only pod says."""
    subject = adapter(serving={"residency": "OnDemand"}, status={"serving": {"target": V1.to_wire()}})
    revision = serving_revision(not_resident=("support",) if absent else ())
    return served_on(one, subject=subject, base=base_model(status={"serving": (revision,)}))


STATES: dict[str, tuple[AdapterSnapshot, str, str]] = {
    "just created": (seen(), "InProgress", "JobCreated"),
    "in training": (seen(jobs=(job(RECIPE),)), "InProgress", "Training"),
    "served": (served_on(answering_pod(V1)), "Current", "Serving"),
    "being loaded": (served_on(pod("pod-1", on_pod(V1, "Loading"))), "InProgress", "RollingOut"),
    "failing for now": (served_on(pod("pod-1", on_pod(V1, "Failing"))), "InProgress", "RollingOut"),
    "refused by the pods": (
        served_on(pod("pod-1", on_pod(V1, "Refused", reason="WrongBase"))),
        "Failed",
        "VersionRefused",
    ),
    "failed by the gate": (seen(published=version(1, recipe=RECIPE, loss=3.0)), "Failed", "WorseThanBase"),
    "failed by the gate, and not to be served": (
        seen(adapter(serving={"mode": "None"}), published=version(1, recipe=RECIPE, loss=3.0)),
        "Failed",
        "WorseThanBase",
    ),
    "failed by the gate, while an old version answers": (
        served_on(answering_pod(V1), published=version(2, recipe=RECIPE, loss=3.0)),
        "Failed",
        "Serving",
    ),
    "failed by the gate, while the pods of an old version start": (
        served_on(pod("pod-1"), published=version(2, recipe=RECIPE, loss=3.0)),
        "Failed",
        "RollingOut",
    ),
    "given up by the pods before this object was made": (
        seen(
            adapter(
                status={
                    "observedGeneration": 1,
                    "versions": [summary(CURRENT, "RolledBack", "it failed").to_wire()],
                }
            ),
            published=CURRENT,
        ),
        "Failed",
        "RolledBack",
    ),
    "refused by the pods, while the training of the next spec has failed": (
        served_on(
            pod("pod-1", on_pod(V1, "Refused", reason="WrongBase")),
            published=None,
            jobs=(job(RECIPE, "Failed", outcome_reason="BadDataset"),),
        ),
        "Failed",
        "VersionRefused",
    ),
    "failed by its data": (seen(jobs=(job(RECIPE, "Failed", outcome_reason="BadDataset"),)), "Failed", "BadDataset"),
    "resting after a failure": (
        seen(jobs=(job(RECIPE, "Failed", outcome_reason="Crashed", ended_time=NOW),)),
        "InProgress",
        "Crashed",
    ),
    "without a base": (seen(base=None, base_problem="none"), "InProgress", "BaseModelNotFound"),
    "pinned to nowhere": (seen(adapter(version=9)), "Failed", "VersionNotFound"),
    "suspended before its first version": (seen(adapter(suspend=True)), "InProgress", "Suspended"),
    "suspended and served": (
        served_on(
            answering_pod(V1),
            published=None,
            subject=adapter(suspend=True, lora={"rank": 8}, status={"serving": {"target": V1.to_wire()}}),
        ),
        "Current",
        "Serving",
    ),
    "published and not to be served": (
        seen(adapter(serving={"mode": "None"}), published=CURRENT),
        "Current",
        "Published",
    ),
    "served by an old version while a new one trains": (
        served_on(answering_pod(V1), published=None, jobs=(job(RECIPE),)),
        "InProgress",
        "Serving",
    ),
    "on demand and without a place": (on_demand(pod("pod-1"), absent=True), "InProgress", "NotResident"),
    "on demand, without a place, and still there": (
        on_demand(answering_pod(V1), absent=True),
        "InProgress",
        "NotResident",
    ),
    "on demand and on its way": (on_demand(pod("pod-1", on_pod(V1, "Loading"))), "InProgress", "Loading"),
    "on demand and there": (on_demand(answering_pod(V1)), "Current", "Serving"),
    "on demand and refused": (on_demand(pod("pod-1", on_pod(V1, "Refused"))), "Failed", "VersionRefused"),
    "on a base without replicas": (served_on(base=base_model(replicas=0)), "InProgress", "RollingOut"),
}


@pytest.mark.parametrize(("given", "health", "ready_reason"), STATES.values(), ids=STATES)
def test_the_status_is_readable_and_true(given: AdapterSnapshot, health: str, ready_reason: str) -> None:
    status = status_of(given)
    assert [condition.type for condition in status.conditions] == TYPES
    body = {"metadata": {"generation": given.adapter.metadata.generation}, "status": status.to_wire()}
    assert kstatus(body) == health
    states = {condition.type: condition.status for condition in status.conditions}
    assert (states["Stalled"], states["Reconciling"]) != ("True", "True")
    ready = find(status.conditions, "Ready")
    assert ready is not None
    assert ready.reason == ready_reason
    assert all(condition.reason for condition in status.conditions)
    fine = {item.reason for item in status.conditions if item.status == "True" and item.type in FINE_IF_TRUE}
    assert ready.status == "True" or ready.reason not in fine, "kubectl get shows what is fine as the cause"


@pytest.mark.parametrize(
    ("deployment", "one", "told"),
    [
        pytest.param("own", pod("pod-1", ready=False), True, id="its pods start"),
        pytest.param("other", pod("pod-1", ready=False), False, id="those of another revision do"),
        pytest.param("own", pod("pod-1", on_pod(V1, "Failing", message="no")), False, id="a pod says more itself"),
    ],
)
def test_a_first_version_tells_what_the_pods_of_its_base_wait_for(deployment: str, one: Any, told: bool) -> None:
    revision = serving_revision(ready=0)
    name = revision.deployment if deployment == "own" else "graft-tiny-ffffffff"
    why = f"Deployment {name}: 0 of 1 pods are ready: engine Starting: it loads the model, which takes minutes"
    starting = Condition(
        type="ServingReady", status="False", reason="PodsNotReady", message=why, last_transition_time=NOW
    )
    base = base_model(status={"serving": (revision,), "conditions": (starting,)})
    ready = find(status_of(served_on(one, base=base)).conditions, "Ready")
    assert ready is not None
    assert ready.message.startswith("version 1 answers on 0 of 1 replicas")
    assert ready.message.endswith(f"; {why}") == told


@pytest.mark.parametrize(("promote", "told"), [(1, True), (2, False), (None, False)])
def test_a_promotion_of_what_the_gate_has_rejected_is_answered(promote: int | None, told: bool) -> None:
    subject = adapter(serving={"rollout": {"promote": promote}} if promote else {})
    status = status_of(seen(subject, published=version(1, recipe=RECIPE, loss=3.0)))
    stalled = find(status.conditions, "Stalled")
    assert stalled is not None
    assert stalled.reason == "WorseThanBase"
    assert "lower evaluation.minImprovementOverBase" in stalled.message
    assert ("spec.serving.rollout.promote names version 1" in stalled.message) == told


@pytest.mark.parametrize(
    ("changes", "base", "reason"),
    [
        ({"servable": "Merged", "method": "DoRA"}, base_model(), "VersionNotServable"),
        ({}, base_model(serving={"maxRank": 8}), "RankTooHigh"),
    ],
)
def test_no_pin_is_advised_for_what_no_engine_can_load(changes: dict[str, Any], base: Any, reason: str) -> None:
    subject = imported_adapter(serving={"rollout": {"promote": 1}})
    stored = imported_version(subject, **changes)
    status = status_of(seen(subject, base=base, recipe=stored.manifest.recipe, published=stored))
    stalled, entry = find(status.conditions, "Stalled"), entry_of(status.versions, 1)
    assert stalled is not None
    assert stalled.reason == reason
    assert "serving.mode Merged" in stalled.message
    assert "spec.serving.rollout.promote names version 1" in stalled.message
    assert "spec.version serves it" not in stalled.message
    assert entry is not None
    assert is_unservable(entry)


@pytest.mark.parametrize(("given", "health", "ready_reason"), STATES.values(), ids=STATES)
def test_a_second_look_at_the_same_world_changes_nothing(
    given: AdapterSnapshot, health: str, ready_reason: str
) -> None:
    first = status_of(given)
    again = seen_again(given, first)
    second = plan(again, NOW + timedelta(seconds=1)).status
    assert second == status_of(again)
    assert isinstance(second, LoraAdapterStatus)
    if first.serving == given.adapter.status.serving:
        assert second == first


def seen_again(given: AdapterSnapshot, status: LoraAdapterStatus) -> AdapterSnapshot:
    """The same world, after the status was written and read back."""
    fields = {name: getattr(given, name) for name in given.__slots__} | {
        "adapter": type(given.adapter).model_validate(given.adapter.to_wire() | {"status": status.to_wire()})
    }
    return AdapterSnapshot(**fields)


def test_transition_times_move_only_when_a_status_flips() -> None:
    before = status_of(seen(jobs=(job(RECIPE),)))
    later = seen_again(served_on(answering_pod(V1)), before)
    fields = {name: getattr(later, name) for name in later.__slots__}
    subject = later.adapter.model_copy(
        update={
            "status": before.model_copy(update={"serving": adapter(status={"serving": {"target": V1}}).status.serving})
        }
    )
    after = plan(AdapterSnapshot(**fields | {"adapter": subject}), NOW + timedelta(hours=1)).status
    assert isinstance(after, LoraAdapterStatus)
    moved = {new.type for old, new in zip(before.conditions, after.conditions, strict=True) if old.status != new.status}
    assert moved == {"Reconciling", "Ready", "Trained", "Evaluated", "Published", "Served", "UpToDate"}
    for new in after.conditions:
        assert new.last_transition_time == (NOW + timedelta(hours=1) if new.type in moved else NOW), new.type


def test_training_is_asked_for_by_one_job() -> None:
    found = plan(seen())
    [creation] = found.extras
    assert isinstance(creation, CreateJob)
    assert creation.manifest["metadata"]["name"] == training_job_name("support", RECIPE)
    assert found.actions == ()


def test_a_job_of_an_old_recipe_gives_way_to_the_new_one() -> None:
    old = job(digest("old recipe"))
    assert plan(seen(jobs=(old,))).actions[0] == DeleteObject("Job", old.name, old.uid)


def test_the_finalizer_comes_before_everything_else() -> None:
    given = seen(adapter(deletionPolicy="Delete"))
    assert plan(given) == Plan(actions=(AddFinalizer("graft.dev/registry-cleanup"),), requeue_after=0)


def test_an_adapter_that_keeps_its_versions_needs_no_finalizer() -> None:
    assert not any(isinstance(action, AddFinalizer) for action in plan(seen()).actions)


REFUSED = pod(
    "pod-1", on_pod(V1), on_pod(served_version(2), "Refused", reason="BadShape", message="too wide"), active=(1,)
)


def test_a_refusal_is_remembered_until_the_spec_changes() -> None:
    second = version(2)
    given = served_on(REFUSED, target=served_version(2), previous=V1, published=second, live=second)
    refused = status_of(given)
    assert refused.serving.target == V1
    entry = entry_of(refused.versions, 2)
    assert entry is not None
    assert entry.state == "Refused"

    remembered = status_of(seen_again(given, refused))
    assert remembered.serving.target == V1
    stalled = find(remembered.conditions, "Stalled")
    assert stalled is not None
    assert (stalled.status, stalled.reason) == ("True", "VersionRefused")
    assert "too wide" in stalled.message

    again = seen_again(given, remembered)
    touched = again.adapter.model_copy(update={"metadata": again.adapter.metadata.model_copy(update={"generation": 2})})
    fields = {name: getattr(again, name) for name in again.__slots__} | {
        "adapter": touched,
        "pods": (answering_pod(V1),),
    }
    assert status_of(AdapterSnapshot(**fields)).serving.target == served_version(2)


def test_the_registry_is_believed_when_the_status_was_lost() -> None:
    history = tuple(version(number) for number in (3, 2, 1))
    status = status_of(seen(history=history, jobs=(job(RECIPE),)))
    assert [entry.number for entry in status.versions] == [3, 2, 1]


def test_the_list_of_versions_is_bounded_and_holds_the_current_one() -> None:
    history = tuple(version(number) for number in range(30, 30 - VERSIONS_KEPT, -1))
    status = status_of(seen(history=history, published=version(5, recipe=RECIPE)))
    assert len(status.versions) == VERSIONS_KEPT
    assert status.versions[0].number == 30
    assert status.versions[-1].number == 5


REQUEUES = {
    "nothing moves": (served_on(answering_pod(V1)), None),
    "a pod loads": (served_on(pod("pod-1", on_pod(V1, "Loading"))), MOVING_SECONDS),
    "no pod is up yet": (served_on(), WATCHING_SECONDS),
    "a pod fails": (served_on(pod("pod-1", on_pod(V1, "Failing"))), WATCHING_SECONDS),
    "no pod is wanted": (served_on(base=base_model(replicas=0)), WATCHING_SECONDS),
}


@pytest.mark.parametrize(("given", "seconds"), REQUEUES.values(), ids=REQUEUES)
def test_pods_are_asked_as_often_as_it_makes_sense(given: AdapterSnapshot, seconds: float | None) -> None:
    assert plan(given).requeue_after == seconds


def test_the_last_version_that_answered_everywhere_is_told_while_any_replica_has_it() -> None:
    subject = adapter(
        status={"served_version": 1, "serving": {"target": served_version(2).to_wire(), "previous": V1.to_wire()}}
    )
    two = base_model(replicas=2)
    second = version(2)
    half = (answering_pod(V1), answering_pod(second, "pod-2"))
    given = seen(subject, base=two, published=second, live=second, pods=half)
    assert status_of(given).served_version == 1
    assert status_of(given).candidate_version == 2
    nobody = seen(subject, base=two, published=second, live=second)
    assert status_of(nobody).served_version is None


def test_an_adapter_on_demand_without_a_place_is_as_good_as_it_gets() -> None:
    found = plan(on_demand(pod("pod-1"), absent=True))
    status = found.status
    assert isinstance(status, LoraAdapterStatus)
    states = {condition.type: condition.status for condition in status.conditions}
    assert (states["Stalled"], states["Reconciling"], states["UpToDate"]) == ("False", "False", "True")
    served = find(status.conditions, "Served")
    assert served is not None
    assert "is loaded when it is asked" in served.message
    assert "nobody has asked for 60 seconds" in served.message
    assert (status.candidate_version, status.served_version, found.requeue_after) == (None, None, None)


def test_an_adapter_that_loses_its_place_is_looked_at_until_the_pods_have_let_it_go() -> None:
    assert plan(on_demand(answering_pod(V1), absent=True)).requeue_after == MOVING_SECONDS
