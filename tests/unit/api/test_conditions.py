"""Merging facts into conditions."""

from __future__ import annotations

from datetime import timedelta

from tests.builders import NOW

from graft_operator.api.conditions import MESSAGE_LIMIT, find, is_true, merge, no, yes

LATER = NOW + timedelta(hours=1)


def test_the_time_moves_only_when_the_status_flips() -> None:
    before = merge((), {"Ready": no("Loading"), "Trained": yes("Trained")}, generation=1, now=NOW)
    after = merge(
        before, {"Ready": yes("Serving"), "Trained": yes("Adopted", "another reason")}, generation=2, now=LATER
    )
    times = {condition.type: condition.last_transition_time for condition in after}
    assert times == {"Ready": LATER, "Trained": NOW}
    assert {condition.observed_generation for condition in after} == {2}
    assert [condition.reason for condition in after] == ["Serving", "Adopted"]


def test_what_kstatus_reads_comes_first() -> None:
    facts = {"Trained": yes("a"), "Ready": yes("b"), "Reconciling": no("c"), "Stalled": no("d")}
    merged = merge((), facts, generation=1, now=NOW)
    assert [condition.type for condition in merged] == ["Stalled", "Reconciling", "Ready", "Trained"]


def test_a_condition_that_nobody_speaks_of_any_more_is_dropped() -> None:
    before = merge((), {"Old": yes("x")}, generation=1, now=NOW)
    assert merge(before, {"New": yes("y")}, generation=1, now=NOW)[0].type == "New"


def test_a_message_is_cut_to_what_people_read() -> None:
    condition = merge((), {"Ready": no("Long", "x" * 5000)}, generation=1, now=NOW)[0]
    assert len(condition.message) == MESSAGE_LIMIT


def test_conditions_are_found_by_type() -> None:
    merged = merge((), {"Ready": yes("a"), "Stalled": no("b")}, generation=1, now=NOW)
    assert find(merged, "Ready") is not None
    assert find(merged, "Other") is None
    assert (is_true(merged, "Ready"), is_true(merged, "Stalled"), is_true(merged, "Other")) == (True, False, False)
