"""What a collator makes batches of: the features of one sequence."""

from __future__ import annotations

from graft_trainer.data.rows import Row

Features = dict[str, list[int]]
"""Lists of one length by name, such as ``input_ids`` and ``labels``."""


def row_features(row: Row) -> Features:
    """Return ``input_ids`` and ``labels`` of one row."""
    return {"input_ids": row.input_ids, "labels": row.labels}
