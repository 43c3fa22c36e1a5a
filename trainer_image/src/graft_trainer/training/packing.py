"""Packs several short rows into one sequence, so that no time is spent on padding. Pure."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from graft_trainer.data.rows import IGNORED, Row
from graft_trainer.row_files.tokens import StoredRows
from graft_trainer.training.features import Features


class PackedRows(Sequence[list[Row]]):
    """Groups of rows, each of which becomes one sequence. Only their numbers are held."""

    def __init__(self, rows: Sequence[Row], members: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        self._rows = rows
        self._members = members
        self._ends = ends

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> list[Row]: ...

    @overload
    def __getitem__(self, index: slice) -> list[list[Row]]: ...

    def __getitem__(self, index: int | slice) -> list[Row] | list[list[Row]]:
        """Return the rows of one group, or of some of them."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        group = range(len(self))[index]
        start = self._ends[group - 1] if group else 0
        return [self._rows[number] for number in self._members[start : self._ends[group]].tolist()]


def pack(rows: Sequence[Row], *, max_length: int) -> PackedRows:
    """Put rows together so that each group has at most ``max_length`` tokens: best fit, the longest rows first.

    Best-fit decreasing needs at most 11/9 of the fewest groups possible (Johnson 1974). Equal rows give equal groups.
    """
    lengths = rows.lengths() if isinstance(rows, StoredRows) else np.array([len(row) for row in rows], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    group_of = np.empty(len(order), dtype=np.int64)
    by_space: dict[int, list[int]] = {}
    spaces: list[int] = []  # the keys of by_space, ascending
    groups = 0
    for position, number in enumerate(order):
        length = int(lengths[number])
        fitting = bisect_left(spaces, length)
        if fitting == len(spaces):
            index, space = groups, max_length
            groups += 1
        else:
            space = spaces[fitting]
            index = by_space[space].pop()
            if not by_space[space]:
                del by_space[space], spaces[fitting]
        group_of[position] = index
        if space > length:
            if space - length not in by_space:
                insort(spaces, space - length)
            by_space.setdefault(space - length, []).append(index)
    # Within a group the rows keep the order in which they were put there.
    members = order[np.argsort(group_of, kind="stable")]
    return PackedRows(rows, members, np.cumsum(np.bincount(group_of, minlength=groups)))


def packed_features(rows: Sequence[Row]) -> Features:
    """Return one sequence of all rows. The first token of a row is predicted by nothing, so it is never a label."""
    return {
        "input_ids": [token for row in rows for token in row.input_ids],
        "labels": [label for row in rows for label in (IGNORED, *row.labels[1:])],
        "position_ids": [position for row in rows for position in range(len(row))],
    }
