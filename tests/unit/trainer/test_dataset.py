"""Holding rows out: seeded, disjoint, never empty, never known already."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft_trainer.data.conversation import Example, Text
from graft_trainer.data.dataset import split, without_training_rows
from graft_trainer.outcome import BadDatasetError

ROWS: list[Example] = [Text(str(number)) for number in range(100)]


@given(percent=st.integers(1, 50), seed=st.integers(0, 1000), count=st.integers(2, 100))
def test_every_row_is_on_one_side_in_its_order(percent: int, seed: int, count: int) -> None:
    rows = ROWS[:count]
    training, held_out = split(rows, percent=percent, seed=seed)
    assert sorted(training + held_out, key=rows.index) == rows
    assert training == sorted(training, key=rows.index)
    assert len(held_out) == max(1, round(count * percent / 100))


def test_the_seed_decides() -> None:
    assert split(ROWS, percent=10, seed=1) == split(ROWS, percent=10, seed=1)
    assert split(ROWS, percent=10, seed=1) != split(ROWS, percent=10, seed=2)


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1]])
def test_nothing_is_held_out_of_nothing(rows: list[Example]) -> None:
    assert split(rows, percent=0, seed=1) == (rows, [])


def test_what_was_trained_on_is_not_evaluated_on() -> None:
    assert without_training_rows(ROWS[:4], ROWS[2:]) == ROWS[:2]
    assert without_training_rows([], ROWS) == []


def test_an_evaluation_of_nothing_but_training_rows_is_refused() -> None:
    with pytest.raises(BadDatasetError, match="each of the 3 evaluation rows is a training row, too") as raised:
        without_training_rows(ROWS[:3], ROWS)
    assert raised.value.field == "spec.dataset.evaluation"
