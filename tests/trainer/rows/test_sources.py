"""Rows come from a hub, from below a prefix and in other types of files, over real HTTP."""

from __future__ import annotations

import gzip
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pyarrow
import pyarrow.parquet
import pytest
from tests.trainer.conftest import Pod
from tests.trainer.toy_task import EVALUATION, TRAINING
from tests.wire.registry.hub import COMMIT, TOKEN, HubServer, Repository

from graft_registry.config import RegistryConfig
from graft_registry.digests import digest_of, sha256_digest
from graft_registry.errors import Unavailable
from graft_registry.s3.store import ObjectStore
from graft_trainer.data.files.sources import DataFetcher, Fetched
from graft_trainer.dataset_config import DataSource
from graft_trainer.outcome import BadDatasetError

TRAIN, TEST = "data/train-00000-of-00001.parquet", "test.jsonl"


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue()


def as_json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with the toy task, in a process that is offline as a pod of the trainer is."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    server = HubServer()
    server.repositories["datasets/team/rows"] = Repository(
        {"README.md": b"rows", TRAIN: as_parquet(TRAINING), TEST: as_json_lines(EVALUATION)}
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(folder: Path, source: dict[str, Any], registry: RegistryConfig | None = None) -> Fetched:
    fetcher = DataFetcher(registry or RegistryConfig(bucket="graft"), folder)
    return fetcher.fetch(DataSource.model_validate_json(json.dumps(source)), field="spec.dataset")


def on(hub: HubServer, **fields: str) -> dict[str, Any]:
    return {"huggingFace": {"repo": "team/rows", "endpoint": hub.url} | fields}


def test_a_run_learns_rows_of_a_hub_in_parquet(pod: Pod, hub: HubServer) -> None:
    pod.config["dataset"] |= {"source": on(hub), "evaluation": {"source": on(hub, file=TEST)}}
    pod.config["training"]["maxSteps"] = 1
    assert pod.run() == 0
    dataset = pod.version().manifest.dataset
    assert dataset is not None
    assert (dataset.rows, dataset.eval_rows, dataset.dropped) == (len(TRAINING), len(EVALUATION), 0)
    assert dataset.uri == f"hf://datasets/team/rows@{COMMIT}/"
    assert hub.downloaded == [TRAIN, TEST]


def test_a_file_of_a_hub_is_known_by_its_bytes(tmp_path: Path, hub: HubServer) -> None:
    fetched = fetch(tmp_path, on(hub, file=TEST, revision=COMMIT))
    assert fetched.uri == f"hf://datasets/team/rows@{COMMIT}/{TEST}"
    assert fetched.digest == sha256_digest(as_json_lines(EVALUATION))
    assert [file.path.read_bytes() for file in fetched.files] == [as_json_lines(EVALUATION)]
    assert huggingface_hub.constants.HF_HUB_OFFLINE


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"repo": "team/nothing"}, "repo", "team/nothing@main: .*Repository Not Found"),
        ({"revision": "v9"}, "revision", "Revision Not Found"),
        ({"file": "nothing.csv"}, "file", "team/rows@main has no file nothing.csv"),
        ({"split": "validation"}, "split", "team/rows@main has no split validation; it has data/train-"),
    ],
)
def test_what_a_hub_does_not_have_is_named(
    tmp_path: Path, hub: HubServer, fields: dict[str, str], field: str, message: str
) -> None:
    with pytest.raises(BadDatasetError, match=f"(?s){message}") as raised:
        fetch(tmp_path, on(hub, **fields))
    assert raised.value.field == f"spec.dataset.huggingFace.{field}"


def test_a_hub_that_is_away_is_worth_a_retry(tmp_path: Path, hub: HubServer) -> None:
    hub.broken = True
    with pytest.raises(Unavailable):
        fetch(tmp_path, on(hub))


def test_only_the_environments_own_hub_gets_its_token(
    tmp_path: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["datasets/team/rows"].gated = True
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(BadDatasetError, match="gated") as raised:
        fetch(tmp_path, on(hub))
    assert raised.value.field == "spec.dataset.huggingFace.repo"
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    assert len(fetch(tmp_path, {"huggingFace": {"repo": "team/rows"}}).files) == 1


def test_all_files_below_a_prefix_are_read_in_the_order_of_their_keys(tmp_path: Path, s3_endpoint: str) -> None:
    registry = RegistryConfig(endpoint=s3_endpoint, bucket="graft", prefix="elsewhere")
    store = ObjectStore(RegistryConfig(endpoint=s3_endpoint, bucket="graft"))
    contents = {"a": b"{}", "a/1.jsonl.gz": gzip.compress(b"{}"), "b.csv": b"text\nx"}
    others = {"_SUCCESS": b"", "a/": b"", ".crc": b"x", "a/../../odd.jsonl": b"{}"}
    for name, content in (contents | others).items():
        store.put(f"rows/{name}", content)
    store.put("rows-of-others/c.jsonl", b"{}")
    fetched = fetch(tmp_path / "work", {"s3": {"uri": "s3://graft/rows/"}}, registry)
    assert {file.uri: file.path.read_bytes() for file in fetched.files} == {
        f"s3://graft/rows/{name}": content for name, content in contents.items()
    }
    hashes = [[name, sha256_digest(content).removeprefix("sha256:")] for name, content in contents.items()]
    assert fetched.digest == digest_of(hashes)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://graft/empty/", "there are no files below s3://graft/empty/; check bucket and prefix"),
        ("s3://graft/nothing.jsonl", "s3://graft/nothing.jsonl does not exist; check bucket and key"),
        ("s3://no-such-bucket/rows.jsonl", "does not exist; check bucket and key"),
        ("s3://no-such-bucket/rows/", "does not exist; check bucket and key"),
    ],
)
def test_what_a_store_does_not_have_is_named(tmp_path: Path, s3_endpoint: str, uri: str, message: str) -> None:
    registry = RegistryConfig(endpoint=s3_endpoint, bucket="graft")
    with pytest.raises(BadDatasetError, match=message) as raised:
        fetch(tmp_path, {"s3": {"uri": uri}}, registry)
    assert raised.value.field == "spec.dataset.s3.uri"
