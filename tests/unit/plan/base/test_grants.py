"""Which adapters may be trained anew after their base has changed: how many, in which order, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from tests.builders import NOW, adapter, adapter_of_base, base_model, base_seen, served_version, version
from tests.unit.plan.base.base_plan import FINALIZER, status_of

from graft_operator.api.adapter_status import AdapterServingStatus, Version
from graft_operator.api.base_model import BaseModel, ReadaptationStatus
from graft_operator.api.conditions import Condition
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.plan.base.readaptation import (
    RULES,
    RuleContext,
    Ruling,
    behind_since,
    decide_grants,
    may_readapt,
    wants_readaptation,
)
from graft_operator.plan.snapshot import AdapterOfBase
from graft_operator.plan.training.versions import summary


def base(limit: int = 2, *, granted: tuple[str, ...] = (), meta: Any = FINALIZER, resolved: str = "B") -> BaseModel:
    status = {"readaptation": ReadaptationStatus(granted=granted)}
    return base_model(resolved=resolved, status=status, meta=meta, readaptation={"maxParallel": limit})


def waits(name: str, minutes: float | None = 1) -> AdapterOfBase:
    since = None if minutes is None else NOW - timedelta(minutes=minutes)
    return adapter_of_base(name, wants_readaptation=True, behind_since=since)


def trains(name: str) -> AdapterOfBase:
    return adapter_of_base(name, wants_readaptation=True, readapting=True, behind_since=NOW)


def done(name: str) -> AdapterOfBase:
    return adapter_of_base(name, up_to_date=True)


@dataclass(frozen=True, kw_only=True)
class Case:
    base: BaseModel
    adapters: tuple[AdapterOfBase, ...]
    granted: set[str]
    queued: int = 0


CASES = {
    "nobody wants any": Case(base=base(), adapters=(done("a"),), granted=set()),
    "as many as the limit says, whoever has waited for longest": Case(
        base=base(2), adapters=(waits("a", 1), waits("b", 3), waits("c", 2)), granted={"b", "c"}, queued=1
    ),
    "one that was never told to be behind comes last": Case(
        base=base(1), adapters=(waits("a", None), waits("b", 1)), granted={"b"}, queued=1
    ),
    "who has a grant keeps it, though another one has waited for longer": Case(
        base=base(1, granted=("a",)), adapters=(waits("a", 1), waits("b", 9)), granted={"a"}, queued=1
    ),
    "who is being trained holds a grant, told or not": Case(
        base=base(1), adapters=(trains("a"), waits("b", 9)), granted={"a"}, queued=1
    ),
    "a lowered limit takes no grant away, and gives none": Case(
        base=base(1, granted=("a", "b")), adapters=(trains("a"), waits("b"), waits("c")), granted={"a", "b"}, queued=1
    ),
    "one that is done, or stalls, gives its grant to the next": Case(
        base=base(1, granted=("a",)), adapters=(done("a"), waits("b")), granted={"b"}
    ),
    "one that is gone does, too": Case(base=base(1, granted=("gone",)), adapters=(waits("b"),), granted={"b"}),
    "one that is being deleted asks for none": Case(
        base=base(1),
        adapters=(adapter_of_base("a", wants_readaptation=True, deleting=True), waits("b")),
        granted={"b"},
    ),
    "a base that is being deleted begins nothing, and ends nothing": Case(
        base=base(2, meta=FINALIZER | {"deletionTimestamp": NOW.isoformat()}),
        adapters=(trains("a"), waits("b")),
        granted={"a"},
        queued=1,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_grants(case: Case) -> None:
    for adapters in (case.adapters, case.adapters[::-1]):
        found = decide_grants(base_seen(case.base, bases="B", adapters=adapters), NOW).status
        assert (set(found.granted), found.queued) == (case.granted, case.queued)
        assert len(found.granted) == len(case.granted)


def test_the_grants_stand_in_the_status_of_the_base() -> None:
    status = status_of(base_seen(base(1), bases="B", adapters=(waits("a"), waits("b", 2))))
    why = "1 adapters of this base are re-adapted at the same time (readaptation.maxParallel)"
    assert status.readaptation == ReadaptationStatus(granted=("b",), queued=1, waiting_for=why)
    assert may_readapt(status, "b")
    assert not may_readapt(status, "a")


def test_of_those_that_came_at_once_none_is_always_the_last() -> None:
    adapters = tuple(waits(name) for name in "abcdefgh")
    firsts = {
        decide_grants(base_seen(base(1, resolved=letter), adapters=adapters), NOW).status.granted[0]
        for letter in "ABCDEFGHIJ"
    }
    assert len(firsts) > 2


def test_the_limit_is_never_exceeded_and_everybody_has_a_turn() -> None:
    waiting, trained, most = {f"a{number}" for number in range(12)}, set[str](), 0
    granted: tuple[str, ...] = ()
    while waiting:
        adapters = tuple(waits(name) for name in sorted(waiting))
        granted = decide_grants(base_seen(base(3, granted=granted), bases="B", adapters=adapters), NOW).status.granted
        most = max(most, len(granted))
        ended = granted[-1]
        waiting.discard(ended)
        trained.add(ended)
    assert (most, len(trained)) == (3, 12)


def test_another_rule_holds_back_who_waits_and_nobody_else() -> None:
    opening = NOW.replace(hour=0) + timedelta(days=1)

    def only_at_night(context: RuleContext, waiting: Sequence[AdapterOfBase]) -> Ruling:
        is_open = context.now.hour < 6
        return Ruling(allowed=waiting if is_open else (), why="the window opens at 00:00", ask_again=opening)

    seen = base_seen(base(3, granted=("a",)), bases="B", adapters=(waits("a"), waits("b")))
    by_day = decide_grants(seen, NOW, (only_at_night, *RULES))
    assert by_day.status == ReadaptationStatus(granted=("a",), queued=1, waiting_for="the window opens at 00:00")
    assert by_day.ask_again == opening
    at_night = decide_grants(seen, NOW.replace(hour=3), (only_at_night, *RULES))
    assert (set(at_night.status.granted), at_night.status.waiting_for, at_night.ask_again) == ({"a", "b"}, None, None)


def entry(number: int, letter: str, state: Any = "Published") -> Version:
    return summary(version(number, base=letter), state)


def behind(
    *versions: Version,
    target: str | None = None,
    conditions: dict[str, str] | None = None,
    meta: Any = None,
    **spec: Any,
) -> LoraAdapter:
    told = {"UpToDate": "False"} | (conditions or {})
    status = {
        "versions": versions,
        "serving": AdapterServingStatus(target=served_version(1, target) if target else None),
        "conditions": tuple(
            Condition(type=kind, status=value, reason="R", last_transition_time=NOW) for kind, value in told.items()
        ),
    }
    return adapter(status=status, meta=meta, **spec)


V1A = entry(1, "A")
WANTS: dict[str, tuple[LoraAdapter, bool]] = {
    "it is served on another base": (behind(V1A, target="A"), True),
    "it is published only, on another base": (behind(V1A, serving={"mode": "None"}), True),
    "the version on the new base has failed its gate": (behind(entry(2, "B", "Rejected"), V1A), True),
    "it is served on the present base": (behind(entry(1, "B"), target="B"), False),
    "it is published on the present base": (behind(entry(2, "B"), V1A), False),
    "it was never trained": (behind(), False),
    "it is suspended": (behind(V1A, target="A", suspend=True), False),
    "it is pinned": (behind(V1A, target="A", version=1), False),
    "it stalls": (behind(V1A, target="A", conditions={"Stalled": "True"}), False),
    "its dataset is not there": (behind(V1A, target="A", conditions={"Accepted": "False"}), False),
    "it has not looked at the new base yet": (behind(V1A, target="A", conditions={"UpToDate": "True"}), False),
    "it is being deleted": (behind(V1A, target="A", meta={"deletionTimestamp": NOW.isoformat()}), False),
}


@pytest.mark.parametrize(("given", "wants"), WANTS.values(), ids=WANTS)
def test_who_wants_to_be_trained_anew(given: LoraAdapter, wants: bool) -> None:
    assert wants_readaptation(given, base_model(resolved="B")) is wants


def test_under_policy_never_nobody_does() -> None:
    given = behind(V1A, target="A")
    assert not wants_readaptation(given, base_model(resolved="B", readaptation={"policy": "Never"}))
    assert not wants_readaptation(given, base_model(resolved=None, serves=()))


def test_since_when_it_is_behind_is_told_by_its_condition() -> None:
    assert behind_since(behind(V1A)) == NOW
    assert behind_since(behind(V1A, conditions={"UpToDate": "True"})) is None
    assert behind_since(adapter()) is None
