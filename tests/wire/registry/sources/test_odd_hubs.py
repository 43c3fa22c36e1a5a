"""Hubs, mirrors and what stands in their place: every answer is told as one of the source, with its field."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.wire.registry.server_thread import serving
from tests.wire.registry.sources.odd_server import Answer, OddServer

from graft_registry.config import RegistryConfig
from graft_registry.documents import AdapterSource
from graft_registry.sources.adapter_origins import fetch_adapter, resolve_adapter
from graft_registry.sources.hub import _bound
from graft_registry.sources.hub_errors import MoreThanToldError
from graft_registry.sources.source_access import SourceAccess
from graft_registry.sources.source_files import SourceError, SourceProblem

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
LFS = {"sha256": "a" * 64, "size": 9, "pointerSize": 130}
FIELD = "spec.source.huggingFace"
SIGNED = "?X-Amz-Signature=c0ffee&X-Amz-Credential=AKIA"
HEADERS = {"X-Repo-Commit": COMMIT, "ETag": '"x"'}
REGISTRY = RegistryConfig(bucket="none")


def document(**weights: Any) -> dict[str, Any]:
    files = [{"rfilename": CONFIG, "size": 2}, {"rfilename": WEIGHTS, **weights}]
    return {"id": "team/support", "sha": COMMIT, "siblings": files}


def told(content: object) -> Answer:
    return Answer(json.dumps(content).encode(), headers={"Content-Type": "application/json"})


def problem(answers: Callable[[str], Answer], workspace: Path, *, fetching: bool = False) -> SourceError:
    source = AdapterSource.model_validate({"huggingFace": {"repo": "team/support"}})
    server = OddServer(answers)
    access = SourceAccess(hub_endpoint=server.url, hub_token="hf_SECRET")
    resolve, fetch = partial(resolve_adapter, workspace=workspace), partial(fetch_adapter, folder=workspace / "to")
    with serving(server), pytest.raises(SourceError) as raised:
        (fetch if fetching else resolve)(source, access, REGISTRY)
    assert "hf_SECRET" not in str(raised.value)
    assert "c0ffee" not in str(raised.value)
    return raised.value


LISTS: dict[str, Answer] = {
    "a page": Answer(b"<html>Sign in to continue</html>", headers={"Content-Type": "text/html"}),
    "nothing": Answer(),
    "an empty object": told({}),
    "a list": told([]),
    "a text": told("ok"),
    "deep": Answer(b"[" * 200_000),
    "no commit": told({"id": "team/support", "siblings": None}),
    "a commit that is none": told({**document(size=9), "sha": "main"}),
    "files that are texts": told({**document(), "siblings": [CONFIG, WEIGHTS]}),
    "files without names": told({**document(), "siblings": [{"size": 1}]}),
    "a name that is a number": told({**document(), "siblings": [{"rfilename": 5}]}),
    "lfs without pointerSize": told(document(lfs={"sha256": "a" * 64, "size": 9})),
    "lfs is a list": told(document(lfs=[1])),
    "a size as text": told(document(size="9")),
    "a size below nothing": told(document(size=-9)),
    "a size of lfs as text": told(document(lfs={**LFS, "size": "9"})),
    "a hash that is none": told(document(lfs={**LFS, "sha256": "zz"})),
    "a hash that is a number": told(document(lfs={**LFS, "sha256": 5})),
}


@pytest.mark.parametrize("answer", LISTS.values(), ids=LISTS)
def test_a_list_that_is_no_hubs_says_where_to_look(answer: Answer, tmp_path: Path) -> None:
    error = problem(lambda path: answer if "/api/" in path else Answer(b"{}", headers=HEADERS), tmp_path)
    assert (error.reason, error.field) == (SourceProblem.INVALID, FIELD)
    assert "the answer is not that of a hub" in str(error)
    assert "HF_ENDPOINT" in str(error)


REFUSALS: list[tuple[int, SourceProblem]] = [
    *((status, SourceProblem.INVALID) for status in (400, 402, 406, 416, 418, 451)),
    (403, SourceProblem.ADAPTER_FORBIDDEN),
    *((status, SourceProblem.NOT_FOUND) for status in (404, 410)),
    *((status, SourceProblem.ADAPTER_UNAVAILABLE) for status in (408, 425, 429, 500, 503)),
]


@pytest.mark.parametrize(("status", "reason"), REFUSALS)
@pytest.mark.parametrize("of", ["the list", "a file"])
def test_a_refusal_is_retried_only_where_that_may_help(
    status: int, reason: SourceProblem, of: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # The client waits between its own attempts.

    def answers(path: str) -> Answer:
        if of == "the list" or "/api/" not in path:
            return Answer(b"{}", status)
        return told(document(size=9, lfs=LFS))

    error = problem(answers, tmp_path)
    assert error.reason is reason
    assert error.field.startswith(FIELD)


def test_a_listed_file_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    gone = Answer(b"", 404, {"X-Error-Code": "EntryNotFound"})
    error = problem(lambda path: told(document(size=9)) if "/api/" in path else gone, tmp_path)
    assert (error.reason, error.field) == (SourceProblem.NOT_FOUND, f"{FIELD}.repo")


@pytest.mark.parametrize("missing", ["ETag", "X-Repo-Commit"])
@pytest.mark.parametrize("size", [9, None], ids=["told", "asked for"])
def test_a_mirror_that_passes_on_no_headers_is_told_which(missing: str, size: int | None, tmp_path: Path) -> None:
    headers = {name: value for name, value in HEADERS.items() if name != missing}
    listed = told(
        {**document(size=size), "siblings": [{"rfilename": name, "size": size} for name in (CONFIG, WEIGHTS)]}
    )
    error = problem(lambda path: listed if "/api/" in path else Answer(b"{}", headers=headers), tmp_path)
    assert (error.reason, error.field) == (SourceProblem.INVALID, FIELD)
    assert missing in str(error)
    assert "mirror" in str(error)


@pytest.mark.parametrize("status", [401, 403])
def test_a_store_that_a_hub_sends_to_is_told_apart(status: int, tmp_path: Path) -> None:
    def answers(path: str) -> Answer:
        if "/api/" in path:
            return told(document(size=9))
        if "/cdn/" in path:
            return Answer(b"<Error/>", status)
        return Answer(b"", 302, {**HEADERS, "Location": f"/cdn/f{SIGNED}"})

    error = problem(answers, tmp_path)
    assert error.reason is SourceProblem.ADAPTER_UNAVAILABLE
    assert "127.0.0.1, to which the hub sends for a file, refuses" in str(error)


@pytest.mark.parametrize("large", [CONFIG, WEIGHTS])
@pytest.mark.parametrize("honest_length", [True, False], ids=["told by its headers", "without a length"])
@pytest.mark.parametrize("told_size", [2, None], ids=["a listed size", "no size"])
def test_a_size_is_never_taken_for_a_promise(
    large: str, honest_length: bool, told_size: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graft_registry.sources import adapter_sizes

    monkeypatch.setattr(adapter_sizes, "LARGEST_CONFIG_BYTES", 1000)
    monkeypatch.setattr(adapter_sizes, "LARGEST_WEIGHTS_BYTES", 1000)
    listed = {**document(), "siblings": [{"rfilename": name, "size": told_size} for name in (CONFIG, WEIGHTS)]}
    chunk = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
    endless = Answer(chunk * 3 + b"0\r\n\r\n", headers={**HEADERS, "Transfer-Encoding": "chunked"})

    def answers(path: str) -> Answer:
        if "/api/" in path:
            return told(listed)
        if large not in path:
            return Answer(b"{}", headers=HEADERS)
        return Answer(b" " * (3 << 20), headers=HEADERS) if honest_length else endless

    error = problem(answers, tmp_path, fetching=True)
    assert error.reason is SourceProblem.INVALID
    assert large in str(error)
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 1000]
    assert not left


def test_a_hash_is_never_taken_for_a_promise(tmp_path: Path) -> None:
    listed = told(document(size=9, lfs=LFS))

    def answers(path: str) -> Answer:
        if "/api/" in path:
            return listed
        return Answer(b"{}" if CONFIG in path else b"otherwise", headers=HEADERS)

    error = problem(answers, tmp_path, fetching=True)
    assert (error.reason, error.field) == (SourceProblem.INVALID, FIELD)
    assert f"tells sha256 {'a' * 64}" in str(error)


def test_bytes_of_xet_on_the_network_are_no_bytes_of_the_file() -> None:
    bar = _bound("adapter_model.safetensors", 100)(disable=True)
    bar.update(100)
    bar.update_transfer(1000)
    with pytest.raises(MoreThanToldError, match="100 bytes"):
        bar.update(1)
