"""Holding rows out and mixing sets: seeded, disjoint, never empty, never known already."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft_trainer.data.conversation import Example, Text
from graft_trainer.data.dataset import without_training_rows
from graft_trainer.outcome import BadDatasetError
from graft_trainer.row_files.choice import mixed, split
from graft_trainer.row_files.examples import StoredExamples, store_examples

ROWS: list[Example] = [Text(str(number)) for number in range(100)]


@given(percent=st.integers(1, 50), seed=st.integers(0, 1000), count=st.integers(2, 100))
def test_every_row_is_on_one_side_in_its_order(percent: int, seed: int, count: int) -> None:
    training, held_out = split(np.arange(count), percent=percent, seed=seed)
    assert sorted([*training, *held_out]) == [*range(count)]
    assert [*training] == sorted(training)
    assert [*held_out] == sorted(held_out)
    assert len(held_out) == max(1, round(count * percent / 100))


def test_the_seed_decides() -> None:
    parts = [split(np.arange(100), percent=10, seed=seed)[1].tolist() for seed in (1, 1, 2)]
    assert parts[0] == parts[1] != parts[2]


def test_a_recipe_holds_out_the_rows_that_it_always_did() -> None:
    assert split(np.arange(20), percent=25, seed=42)[1].tolist() == [0, 3, 7, 8, 16]


@pytest.mark.parametrize("count", [100, 1])
def test_nothing_is_held_out_of_nothing(count: int) -> None:
    training, held_out = split(np.arange(count), percent=0, seed=1)
    assert (training.tolist(), held_out.tolist()) == ([*range(count)], [])


def of(stored: StoredExamples, numbers: range) -> StoredExamples:
    return stored[numbers.start : numbers.stop]


def test_what_was_trained_on_is_not_evaluated_on(tmp_path: Path) -> None:
    stored, again = store_examples(ROWS, tmp_path / "rows"), store_examples(ROWS, tmp_path / "again")
    assert [*without_training_rows(of(again, range(4)), of(stored, range(2, 100)))] == ROWS[:2]
    assert [*without_training_rows(of(again, range(0)), stored)] == []


def test_an_evaluation_of_nothing_but_training_rows_is_refused(tmp_path: Path) -> None:
    stored = store_examples(ROWS, tmp_path)
    with pytest.raises(BadDatasetError, match="each of the 3 evaluation rows is a training row, too") as raised:
        without_training_rows(of(stored, range(3)), stored)
    assert raised.value.field == "spec.dataset.evaluation"


def taken(counts: list[int], weights: list[float], seed: int = 1) -> list[int]:
    """How many rows of each set are in the mix."""
    ends = np.cumsum(counts)
    by_set = Counter(int(np.searchsorted(ends, number, side="right")) for number in mixed(counts, weights, seed=seed))
    return [by_set[position] for position in range(len(counts))]


@pytest.mark.parametrize(
    ("counts", "weights", "expected"),
    [
        ([10], [0.3], [10]),
        ([10, 10], [1, 1], [10, 10]),
        ([100, 10], [1, 1], [10, 10]),
        ([100, 100], [0.7, 0.3], [100, 43]),
        ([1000, 50, 50], [0.9, 0.05, 0.05], [900, 50, 50]),
        ([1000, 3], [1, 0.0001], [1000, 1]),
    ],
)
def test_a_mix_has_of_each_set_what_its_weight_says(
    counts: list[int], weights: list[float], expected: list[int]
) -> None:
    assert taken(counts, weights) == expected


@given(
    sets=st.lists(st.tuples(st.integers(1, 50), st.floats(0.01, 10)), min_size=1, max_size=5),
    seed=st.integers(0, 1000),
)
def test_a_mix_takes_no_row_twice_and_one_set_whole(sets: list[tuple[int, float]], seed: int) -> None:
    counts, weights = [count for count, _ in sets], [weight for _, weight in sets]
    numbers = mixed(counts, weights, seed=seed).tolist()
    assert len(set(numbers)) == len(numbers)
    assert set(numbers) <= {*range(sum(counts))}
    assert any(rows == count for rows, count in zip(taken(counts, weights, seed), counts, strict=True))
    assert numbers == mixed(counts, weights, seed=seed).tolist()


def test_sets_are_interleaved_evenly_and_keep_their_order() -> None:
    numbers = mixed([30, 10], [3, 1], seed=7).tolist()
    assert sorted(numbers) == [*range(40)]
    for start in range(0, 40, 4):
        assert sum(number >= 30 for number in numbers[start : start + 4]) == 1
    assert [number for number in numbers if number < 30] == [*range(30)]


def test_the_seed_chooses_the_rows_of_a_mix() -> None:
    first, same, other = (mixed([100, 10], [1, 1], seed=seed).tolist() for seed in (1, 1, 2))
    assert first == same != other
