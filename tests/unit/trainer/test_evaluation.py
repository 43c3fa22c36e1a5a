"""How many rows are judged at once."""

from __future__ import annotations

import pytest

from graft_trainer.judging.evaluation import batches

BATCHES = {
    "short rows come by eight": ([10] * 9, [8, 1]),
    "so do those of the default length": ([1024] * 9, [8, 1]),
    "of longer rows there are fewer": ([2048] * 5, [4, 1]),
    "a row that is too long for a batch is one by itself": ([20, 32768, 20], [1, 1, 1]),
    "shorter rows are filled up to the longest": ([20, 20, 4096, 20, 20], [2, 2, 1]),
    "without rows there is nothing": ([], []),
}


@pytest.mark.parametrize(("lengths", "sizes"), BATCHES.values(), ids=BATCHES)
def test_a_batch_has_a_bounded_number_of_rows_and_of_tokens(lengths: list[int], sizes: list[int]) -> None:
    made = list(batches(lengths, lambda length: length))
    assert [len(batch) for batch in made] == sizes
    assert [length for batch in made for length in batch] == lengths
