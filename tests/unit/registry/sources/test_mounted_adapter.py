"""What lies in a claim beside, or in place of, an adapter's files, and what a disk says that fails."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from graft_registry.config import RegistryConfig
from graft_registry.documents import AdapterDirectory, AdapterSource
from graft_registry.outcome import failure
from graft_registry.sources import adapter_sizes
from graft_registry.sources.adapter_origins import fetch_adapter, resolve_adapter
from graft_registry.sources.mounted_adapter import MountedAdapter
from graft_registry.sources.source_access import SourceAccess
from graft_registry.sources.source_files import SourceError, SourceProblem

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
FIELD = "spec.source.persistentVolumeClaim.path"
REGISTRY = RegistryConfig(bucket="graft")


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    folder = tmp_path / "claim"
    folder.mkdir()
    (folder / CONFIG).write_bytes(b"{}")
    (folder / WEIGHTS).write_bytes(b"weights")
    return folder


def source(claim: Path) -> AdapterSource:
    return AdapterSource(directory=AdapterDirectory(path=str(claim), uri="persistentVolumeClaim:adapters"))


def problem(claim: Path, *, fetching: bool = False) -> SourceError:
    resolve, fetch = (
        partial(resolve_adapter, workspace=claim.parent),
        partial(fetch_adapter, folder=claim.parent / "to"),
    )
    with pytest.raises(SourceError) as raised:
        (fetch if fetching else resolve)(source(claim), SourceAccess(), REGISTRY)
    failure(raised.value)
    return raised.value


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


def a_link_to_a_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def links_in_a_circle(path: Path) -> None:
    path.symlink_to("other")
    path.with_name("other").symlink_to(path.name)


NO_FILES: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a socket": a_socket,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a pipe": a_link_to_a_pipe,
    "links in a circle": links_in_a_circle,
}


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
@pytest.mark.parametrize("fetching", [False, True], ids=["looked at", "brought"])
@pytest.mark.timeout(20)
def test_what_is_no_file_is_refused_without_waiting_for_it(
    name: str, make: Callable[[Path], object], fetching: bool, claim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(claim)  # A socket's path may have 107 characters.
    (claim / name).unlink()
    make(Path(name))
    error = problem(claim, fetching=fetching)
    assert (error.reason, error.field) == (SourceProblem.INVALID, FIELD)
    assert "only files are read" in str(error)


@pytest.mark.parametrize(
    "make", [Path.mkdir, lambda path: path.symlink_to("folder")], ids=["a folder", "a link to one"]
)
def test_a_folder_in_place_of_a_file_is_none(make: Callable[[Path], None], claim: Path) -> None:
    (claim / "folder").mkdir()
    (claim / CONFIG).unlink()
    make(claim / CONFIG)
    assert (problem(claim).reason, problem(claim).field) == (SourceProblem.INVALID, FIELD)


AWAY = [errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.ETIMEDOUT, errno.EREMOTEIO, errno.EHOSTDOWN]


@pytest.mark.parametrize("number", AWAY, ids=[errno.errorcode[number] for number in AWAY])
@pytest.mark.parametrize("fetching", [False, True], ids=["looked at", "brought"])
def test_a_volume_that_fails_is_tried_again(
    number: int, fetching: bool, claim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fails)
    error = problem(claim, fetching=fetching)
    assert (error.reason, error.field) == (SourceProblem.ADAPTER_UNAVAILABLE, FIELD)
    assert os.strerror(number) in str(error)


def test_a_volume_that_fails_while_it_is_listed_is_tried_again(claim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Any) -> Any:
        raise OSError(errno.ESTALE, "Stale file handle", os.fspath(path))

    monkeypatch.setattr(os, "scandir", fails)
    assert problem(claim).reason is SourceProblem.ADAPTER_UNAVAILABLE


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_of_the_pod_is_named_by_what_asks_for_room(
    number: int, claim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def write(self, _: bytes) -> int:
            raise OSError(number, os.strerror(number))

    @contextmanager
    def opened(path: Path, mode: str = "r", *_: object, **__: object) -> Iterator[Full]:
        assert mode == "wb", path
        yield Full()

    monkeypatch.setattr(Path, "open", opened)
    error = problem(claim, fetching=True)
    assert (error.reason, error.field) == (SourceProblem.ADAPTER_UNAVAILABLE, "spec.pod.resources")
    assert "ephemeral-storage" in str(error)


@pytest.mark.parametrize("beside", ["lost+found", "checkpoint-1", ".snapshot", ".Trash-0", "runs/private"])
def test_folders_beside_an_adapter_need_not_be_readable(
    beside: str, claim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (claim / beside).mkdir(parents=True)
    known, listed = resolve_adapter(source(claim), SourceAccess(), REGISTRY, workspace=claim.parent), os.scandir

    def may_not(path: Any) -> Any:
        if os.fspath(path) == str(claim / beside):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", may_not)
    assert resolve_adapter(source(claim), SourceAccess(), REGISTRY, workspace=claim.parent) == known


def test_the_folder_itself_has_to_be_readable(claim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def may_not(path: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))

    monkeypatch.setattr(os, "scandir", may_not)
    error = problem(claim)
    assert (error.reason, error.field) == (SourceProblem.ADAPTER_FORBIDDEN, FIELD)


def test_a_file_that_grows_is_brought_no_further_than_its_bound(
    claim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_sizes, "LARGEST_CONFIG_BYTES", 10)
    (claim / CONFIG).write_bytes(b" " * 100)
    mounted = MountedAdapter(claim, "the claim", FIELD, claim)
    with pytest.raises(SourceError, match="at most 10 are read"):
        mounted.bring(CONFIG, tmp_path)
    assert (tmp_path / CONFIG).stat().st_size <= 10
