"""What is in the source of an adapter: digest and revision, told without bringing more than it takes."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.unit.registry.builders import write_adapter
from tests.wire.oci.odd_registry import OddRegistry
from tests.wire.registry.container import Container, files_of, put_files
from tests.wire.registry.hub import COMMIT, TOKEN, HubServer, Repository
from tests.wire.registry.server_thread import serving

from graft_registry.config import RegistryConfig
from graft_registry.digests import digest_of, sha256_digest
from graft_registry.documents import AdapterSource
from graft_registry.s3.store import ObjectStore
from graft_registry.sources import adapter_sizes
from graft_registry.sources.adapter_origins import fetch_adapter, resolve_adapter
from graft_registry.sources.source_access import SourceAccess
from graft_registry.sources.source_files import SourceError, SourceProblem

NAMES = ["adapter_config.json", "adapter_model.safetensors"]
PICKLE = {"optimizer.pt": b"\x80\x04.", "checkpoint-1/adapter_model.safetensors": b"another", "tokenizer.json": b"{}"}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    (tmp_path / "adapter").mkdir()
    write_adapter(tmp_path / "adapter")
    return {name: data for name, data in files_of(tmp_path / "adapter").items() if name in NAMES}


def digest_of_files(files: dict[str, bytes]) -> str:
    return digest_of([[name, sha256_digest(files[name]).removeprefix("sha256:")] for name in NAMES])


def resolve(container: Container, source: dict[str, Any], **variables: str) -> tuple[int, dict[str, Any]]:
    return container.run("resolve-adapter", GRAFT_ADAPTER_SOURCE=json.dumps(source), **variables)


def test_an_adapter_in_s3_is_known_by_its_content(
    container: Container, bucket: ObjectStore, files: dict[str, bytes]
) -> None:
    put_files(bucket, "adapters/support/", files | PICKLE)
    for slash in ("", "/"):
        source = {"s3": {"uri": f"s3://{bucket.config.bucket}/adapters/support{slash}"}}
        code, message = resolve(container, source)
        assert code == 0, message
        assert message == {"outcome": "Resolved", "digest": digest_of_files(files)}


def test_an_adapter_of_a_hub_is_known_without_its_weights(
    container: Container, hub: HubServer, files: dict[str, bytes]
) -> None:
    hub.repositories["team/support"] = Repository({f"v2/{name}": data for name, data in (files | PICKLE).items()})
    source = {"huggingFace": {"repo": "team/support", "path": "v2"}}
    code, message = resolve(container, source, SOURCE_HF_ENDPOINT=hub.url)
    assert code == 0, message
    assert message == {"outcome": "Resolved", "digest": digest_of_files(files), "revision": COMMIT}
    assert hub.downloaded == ["v2/adapter_config.json"]


def test_an_adapter_of_a_directory_is_the_same(container: Container, tmp_path: Path, files: dict[str, bytes]) -> None:
    source = {"directory": {"path": str(tmp_path / "adapter"), "uri": "persistentVolumeClaim:a/b"}}
    assert resolve(container, source) == (0, {"outcome": "Resolved", "digest": digest_of_files(files)})


@pytest.mark.parametrize("linked", ["adapter_config.json", "adapter_model.safetensors", "the folder"])
@pytest.mark.parametrize("resolving", [True, False], ids=["looked at", "brought"])
def test_a_link_out_of_a_volume_is_not_followed(
    linked: str, resolving: bool, config: RegistryConfig, tmp_path: Path, files: dict[str, bytes]
) -> None:
    folder = tmp_path / "volume" / "a" / "b"
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    if linked == "the folder":
        shutil.rmtree(folder)
        folder.symlink_to(tmp_path / "adapter")
    else:
        (folder / linked).unlink()
        (folder / linked).symlink_to(tmp_path / "adapter" / linked)
    directory = {"path": str(folder), "uri": "persistentVolumeClaim:claim/a/b"}
    source = AdapterSource.model_validate({"directory": directory})
    read = partial(resolve_adapter, workspace=tmp_path) if resolving else partial(fetch_adapter, folder=tmp_path / "to")
    with pytest.raises(SourceError, match=f"{linked} is a link that leads out of the volume") as raised:
        read(source, SourceAccess(), config)
    assert raised.value.reason is SourceProblem.INVALID
    assert raised.value.field == "spec.source.persistentVolumeClaim.path"
    assert not list((tmp_path / "to").glob("adapter*"))


def test_links_within_a_volume_are_followed(container: Container, tmp_path: Path, files: dict[str, bytes]) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).symlink_to(f"../../adapter/{name}")
    (tmp_path / "a" / "latest").symlink_to("b")
    source = {"directory": {"path": str(tmp_path / "a" / "latest"), "uri": "persistentVolumeClaim:claim/a/latest"}}
    assert resolve(container, source) == (0, {"outcome": "Resolved", "digest": digest_of_files(files)})


def test_a_hub_gives_the_same_files(
    config: RegistryConfig, hub: HubServer, files: dict[str, bytes], tmp_path: Path
) -> None:
    hub.repositories["team/support"] = Repository(files | PICKLE)
    source = AdapterSource.model_validate({"huggingFace": {"repo": "team/support", "endpoint": hub.url}})
    for _ in range(2):
        content = fetch_adapter(source, SourceAccess(), config, tmp_path / "fetched")
        assert (content.digest, content.revision) == (digest_of_files(files), COMMIT)
        assert files_of(tmp_path / "fetched") == files


@pytest.mark.parametrize(
    ("source", "code", "reason", "field", "message"),
    [
        ({"s3": {"uri": "s3://BUCKET/nothing"}}, 65, "SourceNotFound", "s3.uri", "no files below"),
        ({"s3": {"uri": "s3://no-such-bucket-here/a"}}, 65, "SourceNotFound", "s3.uri", "bucket"),
        ({"s3": {"uri": "s3://BUCKET/pickled"}}, 65, "SourceInvalid", "s3.uri", "is a pickle"),
        ({"s3": {"uri": "s3://BUCKET/"}}, 65, "SourceInvalid", "s3.uri", "in folders of it"),
        (
            {"directory": {"path": "/nowhere/at/all", "uri": "persistentVolumeClaim:a/b"}},
            65,
            "SourceNotFound",
            "persistentVolumeClaim.path",
            "persistentVolumeClaim:a/b does not exist",
        ),
        ({"huggingFace": {"repo": "team/nothing"}}, 65, "SourceNotFound", "huggingFace.repo", "team/nothing"),
        (
            {"huggingFace": {"repo": "team/gated"}},
            77,
            "SourceForbidden",
            "huggingFace.repo",
            "team/gated",
        ),
        ({"huggingFace": {"repo": "team/open", "revision": "v9"}}, 65, "SourceNotFound", "huggingFace.revision", "v9"),
        ({"huggingFace": {"repo": "team/open", "path": "no"}}, 65, "SourceNotFound", "huggingFace", "no files below"),
        ({}, 64, "InvalidConfig", None, "exactly one of"),
    ],
)
def test_a_source_without_an_adapter_says_what_to_do(
    container: Container,
    bucket: ObjectStore,
    hub: HubServer,
    source: dict[str, Any],
    code: int,
    reason: str,
    field: str | None,
    message: str,
) -> None:
    put_files(bucket, "pickled/", {"adapter_config.json": b"{}", "adapter_model.bin": b"\x80"})
    hub.repositories |= {"team/gated": Repository({}, gated=True), "team/open": Repository({"a": b"b"})}
    asked = json.loads(json.dumps(source).replace("BUCKET", bucket.config.bucket))
    found, said = resolve(container, asked, SOURCE_HF_ENDPOINT=hub.url)
    assert (found, said["reason"]) == (code, reason), said
    assert said.get("field") == (field and f"spec.source.{field}")
    assert message in said["message"]


@pytest.mark.parametrize("place", ["s3", "hub", "hub that tells no sizes", "directory"])
@pytest.mark.parametrize("name", NAMES)
def test_files_beyond_their_bounds_are_not_brought(
    place: str,
    name: str,
    container: Container,
    bucket: ObjectStore,
    hub: HubServer,
    files: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adapter_sizes, "LARGEST_CONFIG_BYTES", 5000)
    monkeypatch.setattr(adapter_sizes, "LARGEST_WEIGHTS_BYTES", 50_000)
    held = files | {name: b" " * 60_000}
    put_files(bucket, "large/", held)
    hub.repositories["team/large"] = Repository(held)
    hub.tells_sizes = place == "hub"
    for path, data in held.items():
        (tmp_path / "adapter" / path).write_bytes(data)
    source = {
        "s3": {"s3": {"uri": f"s3://{bucket.config.bucket}/large"}},
        "directory": {"directory": {"path": str(tmp_path / "adapter"), "uri": "persistentVolumeClaim:a/b"}},
    }.get(place, {"huggingFace": {"repo": "team/large"}})
    monkeypatch.setattr(ObjectStore, "download_file", lambda *_, **__: pytest.fail("an object was brought"))
    code, said = resolve(container, source, SOURCE_HF_ENDPOINT=hub.url)
    assert (code, said["reason"]) == (65, "SourceInvalid"), said
    assert f"{name} has 60000 bytes" in said["message"]
    assert "at most" in said["message"]
    assert not hub.downloaded


def test_an_object_that_grows_meanwhile_is_worth_a_retry(
    container: Container, bucket: ObjectStore, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_files(bucket, "growing/", files)
    brought = ObjectStore.download_file

    def grown(store: ObjectStore, key: str, *more: Any, **named: Any) -> str:
        put_files(bucket, "growing/", {name: data + b" " for name, data in files.items()})
        return brought(store, key, *more, **named)

    monkeypatch.setattr(ObjectStore, "download_file", grown)
    code, said = resolve(container, {"s3": {"uri": f"s3://{bucket.config.bucket}/growing"}})
    assert (code, said["reason"]) == (68, "SourceUnavailable"), said
    assert "has grown since it was listed" in said["message"]


def test_only_the_environments_own_hub_gets_its_token(
    container: Container, hub: HubServer, files: dict[str, bytes]
) -> None:
    hub.repositories["team/support"] = Repository(files, gated=True)
    variables = {"SOURCE_HF_TOKEN": TOKEN, "SOURCE_HF_ENDPOINT": hub.url}
    assert resolve(container, {"huggingFace": {"repo": "team/support"}}, **variables)[0] == 0
    named = {"huggingFace": {"repo": "team/support", "endpoint": hub.url}}
    assert resolve(container, named, **variables)[1]["reason"] == "SourceForbidden"


def test_a_hub_that_is_away_is_worth_a_retry(container: Container, hub: HubServer) -> None:
    hub.broken = True
    code, message = resolve(container, {"huggingFace": {"repo": "team/support"}}, SOURCE_HF_ENDPOINT=hub.url)
    assert (code, message["reason"]) == (68, "SourceUnavailable")


def test_an_artifact_whose_tag_has_not_moved_is_not_brought_again(
    container: Container, files: dict[str, bytes]
) -> None:
    odd = OddRegistry()
    odd.artifact(files)
    source = {"oci": {"image": f"{odd.host}/team/adapter:v1"}}
    with serving(odd):
        code, first = resolve(container, source)
        assert code == 0, first
        before = json.dumps({"digest": first["digest"], "revision": first["revision"]})
        odd.seen.clear()
        assert resolve(container, source, GRAFT_ADAPTER_FOUND=before) == (0, first)
        assert [(method, path) for method, path, _ in odd.seen] == [("HEAD", "/v2/team/adapter/manifests/v1")]
        odd.artifact(files, annotations={"moved": "yes"})
        code, moved = resolve(container, source, GRAFT_ADAPTER_FOUND=before)
    assert (code, moved["digest"]) == (0, first["digest"])
    assert moved["revision"] != first["revision"]
