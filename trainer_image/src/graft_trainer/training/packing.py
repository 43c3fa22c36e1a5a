"""Packs several short rows into one sequence, so that no time is spent on padding. Pure."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from graft_trainer.data.rows import IGNORED, Row

Features = dict[str, list[int]]


def pack(rows: Sequence[Row], *, max_length: int) -> list[list[Row]]:
    """Put rows together so that each group has at most ``max_length`` tokens: best fit, the longest rows first.

    Best-fit decreasing needs at most 11/9 of the fewest groups possible (Johnson 1974). Equal rows give equal groups.
    """
    groups: list[list[Row]] = []
    by_space: dict[int, list[int]] = {}
    spaces: list[int] = []  # the keys of by_space, ascending
    for row in sorted(rows, key=len, reverse=True):
        length = len(row)
        fitting = bisect_left(spaces, length)
        if fitting == len(spaces):
            groups.append([])
            index, space = len(groups) - 1, max_length
        else:
            space = spaces[fitting]
            index = by_space[space].pop()
            if not by_space[space]:
                del by_space[space], spaces[fitting]
        groups[index].append(row)
        if space > length:
            if space - length not in by_space:
                insort(spaces, space - length)
            by_space.setdefault(space - length, []).append(index)
    return groups


def packed_features(rows: Sequence[Row]) -> Features:
    """Return one sequence of all rows. The first token of a row is predicted by nothing, so it is never a label."""
    return {
        "input_ids": [token for row in rows for token in row.input_ids],
        "labels": [label for row in rows for label in (IGNORED, *row.labels[1:])],
        "position_ids": [position for row in rows for position in range(len(row))],
    }
