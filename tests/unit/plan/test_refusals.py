"""What the status says of children that the API server refuses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.builders import NOW

from graft_operator.api.conditions import Fact, find, merge, no, unknown, yes
from graft_operator.plan.actions import Action, ApplyObject, CreateJob, DeleteObject, RemoveFinalizer
from graft_operator.plan.events import condition_events
from graft_operator.plan.rejections import Rejection, rejection_facts, waits, with_rejections

WAITING: dict[str, Fact] = {
    "Stalled": no("Progressing"),
    "Reconciling": yes("JobCreated", "Job j is created"),
    "Ready": no("JobCreated", "Job j is created"),
    "Trained": no("JobCreated", "Job j is created"),
    "Served": no("NoVersion"),
    "UpToDate": no("JobCreated", "Job j is created"),
    "ServingReady": no("PodsNotReady"),
    "GatewayReady": unknown("NoGateway"),
    "ConcurrencyTested": unknown("Testing"),
}
ANSWERING: dict[str, Fact] = {
    "Stalled": no("Progressing"),
    "Reconciling": no("Settled"),
    "Ready": yes("Serving", "all of it"),
    "ServingReady": yes("Serving", "all of it"),
    "GatewayReady": yes("Accepted"),
}
STALLED: dict[str, Fact] = {
    "Stalled": yes("BadDataset", "row 3"),
    "Reconciling": no("Stalled"),
    "Ready": no("BadDataset", "row 3"),
    "Served": no("RollingOut"),
}


def rejection(kind: str, component: str, *, is_deletion: bool = False) -> Rejection:
    return Rejection(kind=kind, name="x", component=component, message=f"no {kind}", is_deletion=is_deletion)


JOB, POOL = rejection("Job", "training"), rejection("InferencePool", "serving")
DEPLOYMENT, SERVICE = rejection("Deployment", "serving"), rejection("Service", "serving")


def stalled_by(kind: str, *conditions: str) -> dict[str, str]:
    """Return what the summaries and these conditions say."""
    told = {"Stalled": f"True {kind}", "Reconciling": "False ", "Ready": f"False {kind}"}
    return told | dict.fromkeys(conditions, f"False {kind}")


CASES: dict[str, tuple[dict[str, Fact], list[Rejection], dict[str, str]]] = {
    "a training that is refused": (WAITING, [JOB], stalled_by("Job", "Trained", "UpToDate")),
    "a part of what serves a base": (WAITING, [SERVICE], stalled_by("Service", "ServingReady")),
    "of several the first is told": (WAITING, [DEPLOYMENT, SERVICE], stalled_by("Deployment", "ServingReady")),
    "a merged model": (WAITING, [rejection("Deployment", "merged")], stalled_by("Deployment", "Served")),
    "what answers goes on being Ready without its update": (
        ANSWERING,
        [DEPLOYMENT],
        {"Stalled": "True Deployment", "Reconciling": "False "},
    ),
    "a pool is nobody's but its Gateway's business": (WAITING, [POOL], {"GatewayReady": "False InferencePool"}),
    "a test that can't be made holds nothing up": (
        WAITING,
        [rejection("Job", "concurrency-test")],
        {"ConcurrencyTested": "False Job"},
    ),
    "a trainer that may not be ended is told of where its successor is waited for": (
        WAITING,
        [rejection("Job", "", is_deletion=True)],
        stalled_by("Job", "Trained", "UpToDate"),
    ),
    "another child that is not let go": (
        WAITING,
        [rejection("Service", "", is_deletion=True)],
        stalled_by("Service"),
    ),
    "a stall of another cause stays told": (
        STALLED,
        [rejection("Deployment", "merged")],
        {"Ready": "False Deployment", "Served": "False Deployment"},
    ),
    "a condition that is not set is not made up": ({}, [JOB], {}),
    "nothing is refused": (WAITING, [], {}),
}


def told_of(facts: dict[str, Fact]) -> dict[str, str]:
    """Return status and kind of the refused child, by condition; every one has the same reason."""
    assert all(fact.reason == "ObjectRefused" for fact in facts.values() if fact.message)
    kinds = {kind: fact.message.removeprefix("the API server refuses ") for kind, fact in facts.items()}
    return {
        kind: f"{fact.status} {kinds[kind].removeprefix('the deletion of ').partition(' ')[0]}"
        for kind, fact in facts.items()
    }


@pytest.mark.parametrize(("planned", "rejections", "told"), CASES.values(), ids=CASES)
def test_told(planned: dict[str, Fact], rejections: list[Rejection], told: dict[str, str]) -> None:
    facts = rejection_facts(planned, rejections, {kind for kind, fact in planned.items() if fact.status == "True"})
    assert told_of(facts) == told


def test_the_message_has_the_servers_words_and_how_many_there_are_more() -> None:
    facts = rejection_facts(WAITING, [DEPLOYMENT, SERVICE])
    first = "the API server refuses Deployment x: no Deployment; it is tried again"
    assert (facts["ServingReady"].message, facts["Ready"].message) == (first, f"{first} (and 1 more)")
    gone = rejection_facts(WAITING, [rejection("Job", "", is_deletion=True)])
    assert gone["Trained"].message == "the API server refuses the deletion of Job x: no Job; it is tried again"


COMES_TO_ANSWER: dict[str, tuple[Rejection, dict[str, str]]] = {
    "nothing does without a part of its serving": (DEPLOYMENT, stalled_by("Deployment", "ServingReady")),
    "a version does, while its successor may not be trained": (
        JOB,
        {"Stalled": "True Job", "Reconciling": "False "},
    ),
    "a base does without a pool": (POOL, {}),
}


@pytest.mark.parametrize(("refused", "told"), COMES_TO_ANSWER.values(), ids=COMES_TO_ANSWER)
def test_what_comes_to_answer(refused: Rejection, told: dict[str, str]) -> None:
    facts = rejection_facts(ANSWERING, [refused], was_true=())
    assert told_of(facts) == told


def child(kind: str, name: str = "x", component: str = "serving") -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "labels": {"graft.dev/component": component}}}


GONE = rejection("Job", "", is_deletion=True)
HELD: dict[str, tuple[Action, list[Rejection], bool]] = {
    "a Deployment without its Service": (ApplyObject(child("Deployment")), [SERVICE], True),
    "a Deployment without the Service of another": (ApplyObject(child("Deployment", "y")), [SERVICE], False),
    "a Deployment without its budget": (
        ApplyObject(child("Deployment")),
        [rejection("PodDisruptionBudget", "serving")],
        False,
    ),
    "a Service without its Deployment": (ApplyObject(child("Service")), [DEPLOYMENT], False),
    "a training without its rendezvous": (
        CreateJob(child("Job", "y", "training")),
        [rejection("Service", "training")],
        True,
    ),
    "an import without the Service that serves": (CreateJob(child("Job", "y", "import")), [SERVICE], False),
    "a training beside one that may not be ended": (CreateJob(child("Job", "y", "training")), [GONE], True),
    "an object beside something that may not be deleted": (ApplyObject(child("Service")), [GONE], False),
    "a deletion after one that is refused": (DeleteObject("Deployment", "x"), [GONE], True),
    "the owner's end after a deletion that is refused": (RemoveFinalizer("x"), [GONE], True),
    "a deletion after something that is refused": (DeleteObject("Deployment", "x"), [SERVICE, JOB], False),
}


@pytest.mark.parametrize(("action", "rejections", "held"), HELD.values(), ids=HELD)
def test_what_waits(action: Action, rejections: list[Rejection], held: bool) -> None:
    assert waits(action, rejections) == held
    assert not waits(action, [])


def conditions(facts: dict[str, Fact]) -> Any:
    return merge((), facts, generation=1, now=NOW)


def test_a_refusal_that_lasts_is_the_same_status_with_every_look() -> None:
    """A status that differs is written, and is an event of its own: it would ask for the next look at once."""
    planned, old = conditions(WAITING), conditions(WAITING)
    for minutes in range(1, 4):
        now = NOW + timedelta(minutes=minutes)
        planned = merge(old, WAITING, generation=1, now=now)
        new = with_rejections(old, planned, [SERVICE], generation=1, now=now)
        assert new == old or minutes == 1
        old = new
    stalled = find(old, "Stalled")
    assert stalled is not None
    assert stalled.last_transition_time == NOW + timedelta(minutes=1)


EVENTS: dict[str, tuple[dict[str, Fact], Rejection]] = {
    "what is waited for": (WAITING, JOB),
    "an update of what answers": (ANSWERING, DEPLOYMENT),
    "what stands aside": (WAITING, POOL),
    "beside a stall of another cause": (STALLED, rejection("Service", "merged")),
}


@pytest.mark.parametrize(("planned", "refused"), EVENTS.values(), ids=EVENTS)
def test_people_are_warned_once(planned: dict[str, Fact], refused: Rejection) -> None:
    before = conditions(planned)
    after = with_rejections(before, before, [refused], generation=1, now=NOW)
    assert [(event.type, event.reason) for event in condition_events(before, after)] == [("Warning", "ObjectRefused")]
    assert condition_events(after, with_rejections(after, before, [refused], generation=1, now=NOW)) == []
