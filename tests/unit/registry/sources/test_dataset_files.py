"""Which files of a repository are a split: found by the hub's naming conventions, and never guessed."""

from __future__ import annotations

import pytest

from graft_registry.sources.dataset_files import files_of_split
from graft_registry.sources.source_files import SourceError, SourceProblem

SHARDS = ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]

FOUND: dict[str, tuple[list[str], str, list[str]]] = {
    "shards, in order": (["README.md", *reversed(SHARDS), "data/test-00000-of-00001.parquet"], "train", SHARDS),
    "one file of that name": (["train.jsonl", "test.jsonl"], "test", ["test.jsonl"]),
    "another word for it": (["train.csv", "dev.csv"], "validation", ["dev.csv"]),
    "a folder of that name": (
        ["train/a.json", "train/b.json", "valid/a.json"],
        "train",
        ["train/a.json", "train/b.json"],
    ),
    "a split of its own name": (["train_sft.parquet", "test_sft.parquet"], "train_sft", ["train_sft.parquet"]),
    "the folder is named": (
        ["main/train.parquet", "socratic/train.parquet"],
        "socratic/train",
        ["socratic/train.parquet"],
    ),
    "nothing names a split, so all is for training": (["a.jsonl", "b.jsonl"], "train", ["a.jsonl", "b.jsonl"]),
    "compressed": (["train.jsonl.gz"], "train", ["train.jsonl.gz"]),
    "words are whole words": (["training.csv", "constraints.csv"], "train", ["training.csv"]),
    "descriptions are no rows": (["dataset_infos.json", "train.json"], "train", ["train.json"]),
    "paths that leave the repository are nobody's": (["../train.json", "train.json"], "train", ["train.json"]),
}


@pytest.mark.parametrize(("names", "split", "files"), FOUND.values(), ids=FOUND)
def test_the_files_of_a_split(names: list[str], split: str, files: list[str]) -> None:
    assert files_of_split(names, split, where="team/rows@main", field="f") == files


REFUSED: dict[str, tuple[list[str], str, SourceProblem, str]] = {
    "no such split": (["train.csv"], "test", SourceProblem.NOT_FOUND, "has no split test; it has train.csv"),
    "no rows at all": (["a.bin"], "train", SourceProblem.NOT_FOUND, "it has no files of rows that Graft can read"),
    "no such folder": (SHARDS, "main/train", SourceProblem.NOT_FOUND, "has no split main/train"),
    "a split in two folders": (
        ["main/train.parquet", "socratic/train.parquet"],
        "train",
        SourceProblem.INVALID,
        "has split train in several folders; ask for main/train or socratic/train",
    ),
    "a split in two types": (
        ["train.csv", "train.parquet"],
        "train",
        SourceProblem.INVALID,
        "has split train as .csv and .parquet, perhaps twice; name one file instead",
    ),
}


@pytest.mark.parametrize(("names", "split", "reason", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_clear_is_refused(names: list[str], split: str, reason: SourceProblem, message: str) -> None:
    with pytest.raises(SourceError, match=message) as raised:
        files_of_split(names, split, where="team/rows@main", field="spec.dataset.huggingFace.split")
    assert (raised.value.reason, raised.value.field) == (reason, "spec.dataset.huggingFace.split")
