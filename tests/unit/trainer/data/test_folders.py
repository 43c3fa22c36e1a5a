"""Folders of a claim: nothing below them is passed over without a word but what nobody means."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graft_registry.config import RegistryConfig
from graft_trainer.data.files.sources import DataFetcher, Fetched
from graft_trainer.dataset_config import DataSource
from graft_trainer.outcome import BadDatasetError


def fetched(folder: Path) -> Fetched:
    source = DataSource.model_validate({"file": {"path": str(folder), "uri": "persistentVolumeClaim:rows/v1"}})
    return DataFetcher(RegistryConfig(bucket="graft"), folder.parent / "scratch").fetch(source, field="spec.dataset")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "claim"
    for name in ("a.jsonl", "old/b.jsonl", "_tmp/c.jsonl", ".cache/d.jsonl", "lost+found/e.jsonl"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
    return folder


def test_links_to_files_are_followed_and_what_nobody_means_is_passed_over(folder: Path) -> None:
    (folder / "blob.md").write_text("{}\n")
    (folder / "z.jsonl").symlink_to("blob.md")
    (folder / ".data").symlink_to("old")
    os.mkfifo(folder / "pipe.jsonl")
    assert [file.uri.removeprefix("persistentVolumeClaim:rows/v1/") for file in fetched(folder).files] == [
        "a.jsonl",
        "old/b.jsonl",
        "z.jsonl",
    ]


def test_a_folder_that_is_a_link_may_be_named_itself(folder: Path) -> None:
    (folder.parent / "latest").symlink_to(folder / "old")
    assert len(fetched(folder.parent / "latest").files) == 1


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("old", r"v1/latest is a link to a folder, which is not followed; name the folder itself as path"),
        ("..", r"v1/latest is a link to a folder"),
        ("../gone.jsonl", r"v1/latest is a link that leads nowhere; .* replace the link by what it is for"),
    ],
)
def test_a_link_whose_rows_would_be_missing_is_refused(folder: Path, target: str, message: str) -> None:
    (folder / "latest").symlink_to(target)
    with pytest.raises(BadDatasetError, match=message) as raised:
        fetched(folder)
    assert raised.value.field == "spec.dataset"


def scandir_but(refused: Path) -> Callable[[Any], Any]:
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path) == refused:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    return refuse


def test_a_folder_of_somebody_else_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows would be missing, and nobody would know."""
    monkeypatch.setattr(os, "scandir", scandir_but(folder / "old"))
    with pytest.raises(BadDatasetError, match=r"may not be read by user \d+ .*claim/old.*; make it readable"):
        fetched(folder)


def test_what_only_root_may_read_of_a_volume_is_no_folder_of_rows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "scandir", scandir_but(folder / "lost+found"))
    assert len(fetched(folder).files) == 2
