"""Rows are packed so that none is lost and little room is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from graft_trainer.data.rows import Row
from graft_trainer.training.packing import pack


def row(length: int) -> Row:
    return Row.labelled(list(range(length)), list(range(length)), truncated=False)


@given(lengths=st.lists(st.integers(1, 16), max_size=60))
def test_every_row_is_in_one_group_and_every_group_fits(lengths: list[int]) -> None:
    rows = [row(length) for length in lengths]
    groups = pack(rows, max_length=16)
    tokens = [sum(len(row.input_ids) for row in group) for group in groups]
    assert sorted(map(id, rows)) == sorted(id(row) for group in groups for row in group)
    assert all(length <= 16 for length in tokens)
    # Two groups that are half empty would have been one.
    assert sum(length <= 8 for length in tokens) <= 1


def test_groups_are_as_full_as_they_can_be() -> None:
    rows = [row(length) for length in (3, 5, 8, 5, 3, 8)]
    assert [[len(row.input_ids) for row in group] for group in pack(rows, max_length=8)] == [[8], [8], [5, 3], [5, 3]]
