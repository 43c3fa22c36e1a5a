"""Events: one per transition, none for repetition."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.builders import NOW, adapter, digest, served_version, version

from graft_operator.api.adapter_status import LoraAdapterStatus, RaisedRank
from graft_operator.api.conditions import Fact, merge, no, unknown, yes
from graft_operator.plan.events import adapter_events, condition_events
from graft_operator.plan.training.versions import summary


def conditions(**facts: Fact) -> Any:
    return merge((), facts, generation=1, now=NOW)


CASES: dict[str, tuple[dict[str, Fact], dict[str, Fact], list[tuple[str, str]]]] = {
    "nothing has changed": ({"Trained": yes("Trained", "v1")}, {"Trained": yes("Trained", "v1")}, []),
    "a first 'not yet' is no news": ({}, {"Trained": no("Training")}, []),
    "a first 'yes' is": ({}, {"Accepted": yes("Accepted")}, [("Normal", "Accepted")]),
    "another reason is": ({"Trained": no("Training")}, {"Trained": no("Suspended")}, [("Normal", "Suspended")]),
    "progress in the message isn't": ({"Trained": no("Training", "1")}, {"Trained": no("Training", "2")}, []),
    "a new version is, though only the message tells": (
        {"Published": yes("Published", "version 1")},
        {"Published": yes("Published", "version 2")},
        [("Normal", "Published")],
    ),
    "a stall warns": (
        {"Stalled": no("Progressing")},
        {"Stalled": yes("BadDataset", "row 3")},
        [("Warning", "BadDataset")],
    ),
    "the end of a stall is told by what comes next": (
        {"Stalled": yes("BadDataset")},
        {"Stalled": no("Progressing")},
        [],
    ),
    "a training that is out of memory warns": (
        {"Trained": no("Training")},
        {"Trained": no("OutOfMemory", "batchSize 2")},
        [("Warning", "OutOfMemory")],
    ),
    "what one condition tells the others don't repeat": (
        {"Stalled": no("Progressing"), "Trained": no("Training", "step 1"), "UpToDate": no("Training", "step 1")},
        {
            "Stalled": yes("Diverged", "too high"),
            "Trained": no("Diverged", "too high"),
            "UpToDate": no("Diverged", "too high"),
        },
        [("Warning", "Diverged")],
    ),
    "a preemption is no trouble": (
        {"Trained": no("Training")},
        {"Trained": no("Preempted")},
        [("Normal", "Preempted")],
    ),
    "summaries are silent": (
        {"Ready": no("RollingOut"), "Reconciling": yes("RollingOut")},
        {"Ready": yes("Serving"), "Reconciling": no("Settled")},
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
    "a first condition that tells of trouble is news": (
        {},
        {"Trained": no("Unschedulable", "0/3 nodes")},
        [("Warning", "Unschedulable")],
    ),
    "a rejection warns": (
        {"UpToDate": unknown("RollingOut")},
        {"UpToDate": no("VersionRefused", "too wide")},
        [("Warning", "VersionRefused")],
    ),
}


@pytest.mark.parametrize(("old", "new", "events"), CASES.values(), ids=CASES)
def test_events(old: dict[str, Fact], new: dict[str, Fact], events: list[tuple[str, str]]) -> None:
    found = condition_events(conditions(**old), conditions(**new))
    assert [(event.type, event.reason) for event in found] == events


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
    "others may come and go as fast as they like": (no("RollingOut"), SERVED, 5, ["Served"]),
}


@pytest.mark.parametrize(("old", "new", "seconds", "reasons"), COMING_AND_GOING.values(), ids=COMING_AND_GOING)
def test_adapters_on_demand_that_come_and_go_are_told_of_once_in_a_while(
    old: Fact, new: Fact, seconds: int, reasons: list[str]
) -> None:
    before = conditions(Served=old)
    after = merge(before, {"Served": new}, generation=1, now=NOW + timedelta(seconds=seconds))
    assert [event.reason for event in condition_events(before, after)] == reasons


def test_a_version_that_is_loaded_again_is_no_new_one() -> None:
    old = status(None, 1).model_copy(update={"conditions": conditions(Served=LOADING)})
    assert adapter_events(old, status(1, 1)) == []
