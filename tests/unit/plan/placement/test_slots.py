"""Which versions a base may hold when there are more than it has places for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest
from tests.builders import NOW, adapter_of_base, base_id, served_version

from graft_operator.api.adapter_status import RolloutProgress
from graft_operator.plan.placement.places import place
from graft_operator.plan.snapshot import AdapterOfBase

V1, V2 = served_version(1), served_version(2)


def since(minutes: int, **fields: object) -> RolloutProgress:
    return RolloutProgress.model_validate({"start_time": NOW + timedelta(minutes=minutes)} | fields)


def settled(name: str) -> AdapterOfBase:
    return adapter_of_base(name, target=V1)


def new(name: str, minutes: int) -> AdapterOfBase:
    return adapter_of_base(name, target=V1, progress=since(minutes))


def rolling(name: str, minutes: int) -> AdapterOfBase:
    return adapter_of_base(name, target=V2, previous=V1, progress=since(minutes, weight=10))


def in_window(name: str, minutes: int) -> AdapterOfBase:
    return adapter_of_base(name, target=V2, previous=V1, progress=since(minutes, step_time=NOW))


@dataclass(frozen=True, kw_only=True)
class Case:
    adapters: tuple[AdapterOfBase, ...]
    places: int
    holds: dict[str, list[int]]
    waiting: tuple[str, ...] = ()


CASES = {
    "enough for all": Case(adapters=(settled("a"), new("b", 1)), places=2, holds={"a": [1], "b": [1]}),
    "the first of the new ones gets the last place": Case(
        adapters=(settled("a"), new("b", 2), new("c", 1)), places=2, holds={"a": [1], "c": [1]}, waiting=("b",)
    ),
    "new ones that came at once go by name": Case(
        adapters=(new("c", 1), new("b", 1)), places=1, holds={"b": [1]}, waiting=("c",)
    ),
    "what is served stays when there are fewer places than that": Case(
        adapters=(settled("a"), settled("b"), new("c", 1)), places=1, holds={"a": [1], "b": [1]}, waiting=("c",)
    ),
    "rollouts have the headroom of two": Case(
        adapters=(rolling("a", 1), rolling("b", 2)), places=2, holds={"a": [1, 2], "b": [1, 2]}
    ),
    "a third rollout on a full base waits, and its old version answers": Case(
        adapters=(rolling("a", 3), rolling("b", 1), rolling("c", 2)),
        places=3,
        holds={"a": [1], "b": [1, 2], "c": [1, 2]},
        waiting=("a",),
    ),
    "a new one does not get the headroom": Case(
        adapters=(settled("a"), new("b", 1)), places=1, holds={"a": [1]}, waiting=("b",)
    ),
    "a rollback is prepared where there is a place": Case(adapters=(in_window("a", 1),), places=1, holds={"a": [1, 2]}),
    "a rollout takes the place of a prepared rollback": Case(
        adapters=(in_window("a", 1), rolling("b", 2), rolling("c", 3)),
        places=3,
        holds={"a": [2], "b": [1, 2], "c": [1, 2]},
    ),
    "an adapter that is being deleted has no place": Case(
        adapters=(adapter_of_base("a", target=V1, deleting=True), new("b", 1)), places=1, holds={"b": [1]}
    ),
    "one that comes from another base is new here": Case(
        adapters=(adapter_of_base("a", target=V1, previous=served_version(1, "B"), progress=since(1)), settled("b")),
        places=1,
        holds={"b": [1]},
        waiting=("a",),
    ),
    "one that leaves for another base keeps its place until it answers there": Case(
        adapters=(adapter_of_base("a", target=served_version(2, "B"), previous=V1, progress=since(1)), new("b", 2)),
        places=1,
        holds={"a": [1]},
        waiting=("b",),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_place(case: Case) -> None:
    for adapters in (case.adapters, case.adapters[::-1]):
        placement = place(adapters, base_id("A"), case.places)
        assert {
            name: sorted(version.number for version in held) for name, held in placement.versions.items()
        } == case.holds
        assert placement.waiting == case.waiting
