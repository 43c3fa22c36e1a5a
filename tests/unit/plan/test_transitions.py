"""Events: one per transition, none for repetition."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.builders import NOW, adapter, digest, served_version, version

from graft_operator.api.adapter_status import LoraAdapterStatus, RaisedRank, TrainingProgress, WarmStart
from graft_operator.api.conditions import Fact, merge, no, unknown, yes
from graft_operator.plan.events import adapter_events, condition_events
from graft_operator.plan.training.versions import summary


def conditions(**facts: Fact) -> Any:
    return merge((), facts, generation=1, now=NOW)


CASES: dict[str, tuple[dict[str, Fact], dict[str, Fact], list[tuple[str, str]]]] = {
    "nothing has changed": ({"Resolved": yes("Resolved", "r1")}, {"Resolved": yes("Resolved", "r1")}, []),
    "a first 'not yet' is no news": ({}, {"ServingReady": no("PodsNotReady")}, []),
    "a first 'yes' is": ({}, {"ServingReady": yes("Serving")}, [("Normal", "Serving")]),
    "another reason is": (
        {"ServingReady": no("PodsNotReady")},
        {"ServingReady": no("ScaledToZero")},
        [("Normal", "ScaledToZero")],
    ),
    "progress in the message isn't": (
        {"ServingReady": no("PodsNotReady", "1")},
        {"ServingReady": no("PodsNotReady", "2")},
        [],
    ),
    "a new revision is, though only the message tells": (
        {"Resolved": yes("Resolved", "revision a")},
        {"Resolved": yes("Resolved", "revision b")},
        [("Normal", "Resolved")],
    ),
    "what goes on as usual isn't": ({"Resolved": yes("Resolved")}, {"Resolved": no("Importing", "the Job runs")}, []),
    "a stall warns": (
        {"Stalled": no("Progressing")},
        {"Stalled": yes("SourceNotFound", "no such repo")},
        [("Warning", "SourceNotFound")],
    ),
    "the end of a stall is told by what comes next": (
        {"Stalled": yes("SourceNotFound")},
        {"Stalled": no("Progressing")},
        [],
    ),
    "what one condition tells the others don't repeat": (
        {"Stalled": no("Progressing"), "Resolved": no("Importing")},
        {"Stalled": yes("CrashLoop", "it dies"), "Resolved": no("CrashLoop", "it dies")},
        [("Warning", "CrashLoop")],
    ),
    "pods that a quota refuses warn": (
        {"Resolved": no("Importing")},
        {"Resolved": no("PodsRefused", "exceeded quota")},
        [("Warning", "PodsRefused")],
    ),
    "summaries are silent": (
        {"Ready": no("PodsNotReady"), "AdaptersUpToDate": yes("UpToDate")},
        {"Ready": yes("Serving"), "AdaptersUpToDate": no("AdaptersBehind")},
        [],
    ),
    "a bucket that is unsafe from the first look on warns": (
        {},
        {"RegistrySafe": no("ConditionalWritesIgnored", "use another store")},
        [("Warning", "ConditionalWritesIgnored")],
    ),
    "a bucket that has become unsafe warns": (
        {"RegistrySafe": yes("ConditionalWrites")},
        {"RegistrySafe": no("ConditionalWritesIgnored", "use another store")},
        [("Warning", "ConditionalWritesIgnored")],
    ),
    "a bucket that is still unsafe is told once": (
        {"RegistrySafe": no("ConditionalWritesIgnored", "use another store")},
        {"RegistrySafe": no("ConditionalWritesIgnored", "use another store")},
        [],
    ),
    "a bucket that nobody could probe is no news": ({}, {"RegistrySafe": unknown("NotProbed")}, []),
    "a rejection warns": (
        {"GatewayReady": unknown("Waiting")},
        {"GatewayReady": no("ObjectRefused", "not valid")},
        [("Warning", "ObjectRefused")],
    ),
}


@pytest.mark.parametrize(("old", "new", "events"), CASES.values(), ids=CASES)
def test_events_of_a_base(old: dict[str, Fact], new: dict[str, Fact], events: list[tuple[str, str]]) -> None:
    found = condition_events(conditions(**old), conditions(**new))
    assert [(event.type, event.reason) for event in found] == events


def told(job: str | None = None, *, versions: tuple[Any, ...] = (), **facts: Fact) -> LoraAdapterStatus:
    """What the status of an adapter says, and which Job trains."""
    training = TrainingProgress(job=job, recipe=digest("recipe"), reason="SpecChanged") if job else None
    return LoraAdapterStatus(conditions=conditions(**facts), training=training, versions=versions)


WAITS, STALLS = no("Progressing"), yes("Diverged", "too high")
WORSE = "evaluation loss 3.0 is worse"
CRASHES = no("Crashed", "KeyError")
V1, V2 = summary(version(1)), summary(version(2))

STEPS: dict[str, tuple[LoraAdapterStatus, LoraAdapterStatus, list[tuple[str, str]]]] = {
    "a spec is accepted": (told(), told(Accepted=yes("Accepted")), [("Normal", "Accepted")]),
    "it is told once": (told(Accepted=yes("Accepted")), told(Accepted=yes("Accepted")), []),
    "advice is told when it is new": (
        told(Accepted=yes("AcceptedWithAdvice", "alpha")),
        told(Accepted=yes("AcceptedWithAdvice", "rate")),
        [("Normal", "AcceptedWithAdvice")],
    ),
    "data that is not there yet warns": (
        told(),
        told(Accepted=no("DatasetNotFound", "apply it"), Stalled=WAITS),
        [("Warning", "DatasetNotFound")],
    ),
    "a Job that is made is no training yet": (told(), told(Trained=no("JobCreated")), []),
    "a training begins": (
        told(Trained=no("JobCreated")),
        told("job", Trained=no("Training", "Pending")),
        [("Normal", "Training")],
    ),
    "its progress is no event": (
        told("job", Trained=no("Training", "1")),
        told("job", Trained=no("Training", "2")),
        [],
    ),
    "another training begins": (
        told("job", Trained=no("Training")),
        told("next", Trained=no("Training")),
        [("Normal", "Training")],
    ),
    "rows are prepared": (
        told(Trained=no("JobCreated")),
        told("rows", Trained=no("Preparing", "1 of 2 rows")),
        [("Normal", "Preparing")],
    ),
    "how far they are is no event": (
        told("rows", Trained=no("Preparing", "1 of 2 rows")),
        told("rows", Trained=no("Preparing", "2 of 2 rows")),
        [],
    ),
    "the training after them begins": (
        told("rows", Trained=no("Preparing")),
        told("job", Trained=no("Training")),
        [("Normal", "Training")],
    ),
    "a training is preempted": (
        told("job", Trained=no("Training")),
        told("job", Trained=no("Preempted", "checkpoint 40")),
        [("Normal", "Preempted")],
    ),
    "and simply goes on": (told("job", Trained=no("Preempted")), told("job", Trained=no("Training")), []),
    "no node takes it": (
        told("job", Trained=no("Training")),
        told("job", Trained=no("Unschedulable", "0/3 nodes")),
        [("Warning", "Unschedulable")],
    ),
    "at last one does": (
        told("job", Trained=no("Unschedulable")),
        told("job", Trained=no("Training")),
        [("Normal", "Training")],
    ),
    "a quota refuses its pod from the first look on": (
        told(),
        told("job", Trained=no("PodsRefused", "exceeded quota")),
        [("Warning", "PodsRefused")],
    ),
    "it crashes": (told("job", Trained=no("Training")), told(Trained=CRASHES), [("Warning", "Crashed")]),
    "a training that failed for good is told once": (
        told("job", Trained=no("Training"), UpToDate=no("Training"), Stalled=WAITS),
        told(Trained=no("Diverged", "too high"), UpToDate=no("Diverged", "too high"), Stalled=STALLS),
        [("Warning", "Diverged")],
    ),
    "what follows from a stall's end tells of it": (told(Stalled=STALLS), told(Stalled=WAITS), []),
    "a version is published": (
        told("job", Trained=no("Training"), Published=no("NotTrained"), Evaluated=unknown("NotTrained")),
        told(Trained=yes("Trained"), Published=yes("Published"), Evaluated=yes("Passed"), versions=(V1,)),
        [("Normal", "Published")],
    ),
    "the next one is, too": (told(versions=(V1,)), told(versions=(V2, V1)), [("Normal", "Published")]),
    "a version of the same number in a registry that was lost": (
        told(versions=(V1,)),
        told(versions=(summary(version(1, loss=0.5)),)),
        [("Normal", "Published")],
    ),
    "a cluster that was built anew tells of the newest version only": (
        told(),
        told(versions=(V2, V1)),
        [("Normal", "Published")],
    ),
    "a version fails its gate": (
        told(Stalled=WAITS, versions=(V1,)),
        told(Stalled=yes("WorseThanLive", WORSE), versions=(summary(version(2), "Rejected", WORSE), V1)),
        [("Warning", "WorseThanLive")],
    ),
    "a version is rolled back": (
        told(Stalled=WAITS, versions=(V2, V1)),
        told(Stalled=yes("RolledBack", "v2: errors"), versions=(summary(version(2), "RolledBack", "errors"), V1)),
        [("Warning", "RolledBack")],
    ),
    "the pods refuse a version": (
        told(Stalled=WAITS, versions=(V1,)),
        told(Stalled=yes("VersionRefused", "no"), versions=(summary(version(1), "Refused", "too wide"),)),
        [("Warning", "VersionRefused")],
    ),
    "a version in a state of a newer release": (
        told(versions=(V1,)),
        told(versions=(V1.model_copy(update={"state": "Quarantined"}),)),
        [("Warning", "Quarantined")],
    ),
    "it stops to answer": (
        told(Ready=yes("Serving"), Served=yes("Served")),
        told(Ready=no("RollingOut", "0 of 1"), Served=no("RollingOut")),
        [("Warning", "NotAnswering")],
    ),
    "it answers again": (
        told(Ready=no("RollingOut"), Served=no("RollingOut")),
        told(Ready=yes("Serving"), Served=yes("Served")),
        [],
    ),
    "a pod of several is new: it answers all the same": (
        told(Ready=yes("Serving"), Served=yes("Served")),
        told(Ready=yes("Serving"), Served=no("RollingOut")),
        [],
    ),
    "there is no place for it": (
        told(Served=no("RollingOut")),
        told(Served=no("NoFreeSlot", "raise it")),
        [("Warning", "NoFreeSlot")],
    ),
}


@pytest.mark.parametrize(("old", "new", "events"), STEPS.values(), ids=STEPS)
def test_events_of_an_adapter(old: LoraAdapterStatus, new: LoraAdapterStatus, events: list[tuple[str, str]]) -> None:
    assert [(event.type, event.reason) for event in adapter_events(old, new)] == events


def test_a_training_that_begins_says_why_and_with_what() -> None:
    start = WarmStart(number=3, digest=digest("version 3"))
    training = TrainingProgress(job="job", recipe=digest("recipe"), reason="BaseModelChanged", warm_start=start)
    after = LoraAdapterStatus(conditions=conditions(Trained=no("Training")), training=training)
    [event] = adapter_events(LoraAdapterStatus(), after)
    assert event.message == "Job job is under way: BaseModelChanged, warm start from version 3"


def status(served: int | None, target: int | None, weight: int | None = None) -> LoraAdapterStatus:
    serving: dict[str, Any] = {"target": served_version(target).to_wire()} if target else {}
    if weight is not None:
        serving["rollout"] = {"weight": weight, "startTime": NOW.isoformat()}
    return adapter(status={"served_version": served, "serving": serving}).status


MOVES: dict[str, tuple[LoraAdapterStatus, LoraAdapterStatus, list[str]]] = {
    "a first version answers": (status(None, 1), status(1, 1), ["VersionServed"]),
    "a rollout starts": (status(1, 1), status(1, 2), ["RolloutStarted"]),
    "a rollout ends": (status(1, 2), status(2, 2), ["VersionServed"]),
    "a canary's next step begins": (status(1, 2, 10), status(1, 2, 50), ["CanaryStep"]),
    "a canary's last step ends": (status(1, 2, 50), status(1, 2, 100), ["CanaryStep"]),
    "a canary's step goes on": (status(1, 2, 10), status(1, 2, 10), []),
    "another version's canary begins": (status(1, 2, 50), status(1, 3, 10), ["RolloutStarted"]),
    "nobody answers any more: conditions tell": (status(1, 1), status(None, 1), []),
    "nothing moves": (status(1, 1), status(1, 1), []),
}


@pytest.mark.parametrize(("old", "new", "reasons"), MOVES.values(), ids=MOVES)
def test_moves_of_the_alias(old: LoraAdapterStatus, new: LoraAdapterStatus, reasons: list[str]) -> None:
    assert [event.reason for event in adapter_events(old, new)] == reasons


def test_a_raised_rank_is_told_once() -> None:
    before, after = (
        LoraAdapterStatus(),
        LoraAdapterStatus(raised_rank=RaisedRank(rank=32, spec_digest=digest("spec"), message="32")),
    )
    assert [(event.type, event.reason, event.message) for event in adapter_events(before, after)] == [
        ("Normal", "RankDoubled", "32")
    ]
    assert adapter_events(after, after) == []


def test_a_warm_start_that_was_not_good_enough_is_told_once() -> None:
    start = {"number": 1, "manifestDigest": digest("version 1")}
    rejected = summary(version(2, warmStart=start), "Rejected", "too bad")
    before, after = LoraAdapterStatus(), LoraAdapterStatus(versions=(rejected,))
    [event] = adapter_events(before, after)
    assert (event.reason, event.message) == ("WarmStartRejected", "version 2: too bad; trained from nothing")
    assert adapter_events(after, after) == []


SERVED, GONE, LOADING = yes("Served", "version 1"), no("NotResident"), no("Loading")
COMING_AND_GOING = {
    "one that was loaded for long and gives way": (SERVED, GONE, 600, ["NotResident"]),
    "one that was loaded for a moment": (SERVED, GONE, 599, []),
    "its way back": (GONE, LOADING, 600, []),
    "there again after long": (LOADING, SERVED, 600, ["Served"]),
    "there again soon": (LOADING, SERVED, 599, []),
    "a first version that finds no place": (no("NoVersion"), GONE, 5, ["NotResident"]),
    "what stands in the way is told": (LOADING, no("NoFreeSlot"), 5, ["NoFreeSlot"]),
}


@pytest.mark.parametrize(("old", "new", "seconds", "reasons"), COMING_AND_GOING.values(), ids=COMING_AND_GOING)
def test_adapters_on_demand_that_come_and_go_are_told_of_once_in_a_while(
    old: Fact, new: Fact, seconds: int, reasons: list[str]
) -> None:
    before = conditions(Served=old)
    after = merge(before, {"Served": new}, generation=1, now=NOW + timedelta(seconds=seconds))
    statuses = (LoraAdapterStatus(conditions=given) for given in (before, after))
    assert [event.reason for event in adapter_events(*statuses)] == reasons


def test_a_version_that_is_loaded_again_is_no_new_one() -> None:
    old = status(None, 1).model_copy(update={"conditions": conditions(Served=LOADING)})
    assert adapter_events(old, status(1, 1)) == []
