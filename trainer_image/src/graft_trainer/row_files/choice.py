"""Which rows of what was read are learned from: how sets are mixed, and what is held out. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from graft_trainer.row_files.examples import Numbers


def mixed(counts: Sequence[int], weights: Sequence[float], *, seed: int) -> Numbers:
    """Return the numbers of the rows that are taken of several sets, which lie one after the other.

    Each set has a part of the mix that is its weight of all weights, and no row is taken twice: the set that has the
    fewest rows for its weight is taken whole, and of the others as many rows as go with it, chosen by the seed. Sets
    are interleaved evenly, and each keeps its order. A set alone is taken whole.
    """
    if len(counts) == 1:
        return np.arange(counts[0], dtype=np.int64)
    ratio = min(count / weight for count, weight in zip(counts, weights, strict=True))
    numbers, places = [], []
    first = 0
    for position, (count, weight) in enumerate(zip(counts, weights, strict=True)):
        rows = min(count, max(1, round(ratio * weight)))
        chosen = np.arange(count, dtype=np.int64)
        if rows < count:
            # Not for secrets: the same seed has to choose the same rows. One more set changes no other's rows.
            draw = random.Random(f"{seed}/{position}")  # noqa: S311
            chosen = np.sort(np.fromiter(draw.sample(range(count), rows), dtype=np.int64, count=rows))
        numbers.append(chosen + first)
        places.append((np.arange(rows) + 0.5) / rows)
        first += count
    order = np.argsort(np.concatenate(places), kind="stable")
    return np.asarray(np.concatenate(numbers)[order], dtype=np.int64)


def split(numbers: Numbers, *, percent: int, seed: int) -> tuple[Numbers, Numbers]:
    """Hold out ``percent`` of the rows, at least one, chosen by the seed; both parts keep the order of the rows."""
    if percent == 0:
        return numbers, numbers[:0]
    count = min(max(1, round(len(numbers) * percent / 100)), len(numbers))
    # Not for secrets: the same seed has to choose the same rows.
    chosen = random.Random(seed).sample(range(len(numbers)), count)  # noqa: S311
    is_held_out = np.zeros(len(numbers), dtype=np.bool_)
    is_held_out[chosen] = True
    return numbers[~is_held_out], numbers[is_held_out]
