"""The commands that Jobs and init containers run, from their environment to their termination message."""

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.unit.registry.builders import version_draft, write_model
from tests.wire.registry.container import Container, files_of, put_files
from tests.wire.registry.hub import COMMIT, HubServer, Repository

from graft_registry import base_import
from graft_registry.digests import digest_of
from graft_registry.documents import VersionManifest
from graft_registry.layout import AdapterLayout, BaseLayout
from graft_registry.models.fingerprint import identify
from graft_registry.s3.store import ObjectStore
from graft_registry.versions import AdapterRegistry

HUB = {"huggingFace": {"repo": "org/tiny", "revision": "main"}}


def test_a_base_in_s3_is_imported_and_provided(
    container: Container, bucket: ObjectStore, model: Path, tmp_path: Path
) -> None:
    put_files(bucket, "tiny/v1/", {**files_of(model), "pytorch_model.bin": b"\x80\x04.", "original/a.json": b"{}"})
    uri = f"s3://{bucket.config.bucket}/tiny/v1"
    code, message = container.import_base({"s3": {"uri": uri}})
    assert code == 0, message
    assert message["outcome"] == "Imported"
    assert message["digest"] == identify(model).digest
    assert message["revision"].startswith("sha256:")
    code, fetched = container.fetch_base(message["digest"], tmp_path / "base")
    assert (code, fetched["outcome"]) == (0, "Fetched")
    assert files_of(tmp_path / "base") == files_of(model)
    base = json.loads((tmp_path / "base" / ".graft" / "base.json").read_text())
    assert base["digest"] == message["digest"]
    assert base["source"] == {"s3": {"uri": uri}}


def test_an_import_that_was_done_is_not_done_again(
    container: Container, bucket: ObjectStore, store: ObjectStore, model: Path
) -> None:
    put_files(bucket, "tiny/", files_of(model))
    source = {"s3": {"uri": f"s3://{bucket.config.bucket}/tiny"}}
    first = container.import_base(source)
    before = list(store.list(""))
    bucket.delete_prefix("tiny/")
    assert container.import_base(source) == first
    assert list(store.list("")) == before


def test_a_base_of_the_hub_is_imported_at_its_commit(container: Container, hub: HubServer, model: Path) -> None:
    unwanted = {"pytorch_model.bin": b"\x80\x04.", "onnx/config.json": b"{}", "consolidated.safetensors": b"copy"}
    hub.repositories["org/tiny"] = Repository({**files_of(model), **unwanted})
    code, message = container.import_base(HUB, HF_ENDPOINT=hub.url)
    assert code == 0, message
    assert message["revision"] == COMMIT
    assert message["digest"] == identify(model).digest
    assert sorted(hub.downloaded) == sorted(files_of(model))


def test_a_base_in_a_claim_stays_there_and_is_linked(
    container: Container, store: ObjectStore, model: Path, tmp_path: Path
) -> None:
    source = {"persistentVolumeClaim": {"claimName": "models", "path": "tiny"}}
    code, message = container.import_base(source, path=str(model))
    assert code == 0, message
    assert not list(store.list(BaseLayout("team-a", "tiny").blob("")))
    code, _ = container.fetch_base(message["digest"], tmp_path / "base", path=str(model))
    assert code == 0
    assert files_of(tmp_path / "base") == files_of(model)
    assert (tmp_path / "base" / "model.safetensors").is_symlink()
    assert (tmp_path / "base" / ".graft" / "base.json").is_file()


@pytest.mark.parametrize("kind", ["s3", "huggingFace", "persistentVolumeClaim"])
def test_chat_templates_with_names_come_with_a_base_from_every_source(
    container: Container, bucket: ObjectStore, hub: HubServer, model: Path, tmp_path: Path, kind: str
) -> None:
    named = {f"additional_chat_templates/{name}.jinja": name.encode() for name in ("tool_use", "rag")}
    others = {"additional_chat_templates/readme.md": b"no template", "onnx/chat_template.jinja": b"of another format"}
    (model / "additional_chat_templates").mkdir()
    (model / "onnx").mkdir()
    for name, data in (named | others).items():
        (model / name).write_bytes(data)
    put_files(bucket, "tiny/", files_of(model) | named | others)
    hub.repositories["org/tiny"] = Repository(files_of(model) | named | others)
    source = {
        "s3": {"uri": f"s3://{bucket.config.bucket}/tiny/"},
        "huggingFace": {"repo": "org/tiny", "revision": "main"},
        "persistentVolumeClaim": {"claimName": "models"},
    }[kind]
    code, message = container.import_base({kind: source}, path=str(model), HF_ENDPOINT=hub.url)
    assert code == 0, message
    assert message["digest"] == identify(model).digest
    code, failure = container.fetch_base(message["digest"], tmp_path / "base", path=str(model))
    assert code == 0, failure
    found = {path.relative_to(tmp_path / "base").as_posix() for path in (tmp_path / "base").rglob("*.jinja")}
    assert found == {"chat_template.jinja", *named}
    assert (tmp_path / "base" / "additional_chat_templates" / "rag.jinja").read_text() == "rag"
    assert not list((tmp_path / "base").rglob("readme.md"))


@pytest.mark.parametrize("in_claim", [True, False])
def test_a_base_is_provided_without_its_weights_where_nobody_needs_them(
    container: Container, bucket: ObjectStore, model: Path, tmp_path: Path, in_claim: bool
) -> None:
    if in_claim:
        source: dict[str, Any] = {"persistentVolumeClaim": {"claimName": "models"}}
        _, message = container.import_base(source, path=str(model))
        write_model(model, fill=b"\1")  # what is not looked at may be anything
    else:
        put_files(bucket, "tiny/", files_of(model))
        _, message = container.import_base({"s3": {"uri": f"s3://{bucket.config.bucket}/tiny"}})
    code, said = container.fetch_base(message["digest"], tmp_path / "base", "--without-weights", path=str(model))
    assert code == 0, said
    assert sorted(files_of(tmp_path / "base")) == sorted(set(files_of(model)) - {"model.safetensors"})
    assert (tmp_path / "base" / ".graft" / "base.json").is_file()


def test_a_claims_directory_may_itself_be_the_destination(container: Container, model: Path, tmp_path: Path) -> None:
    source = {"persistentVolumeClaim": {"claimName": "models"}}
    _, message = container.import_base(source, path=str(model))
    request = {"namespace": "team-a", "name": "tiny", "digest": message["digest"], "path": str(model)}
    argv = ["fetch-base", "--destination", str(model), "--manifest-directory", str(tmp_path / "meta")]
    code, _ = container.run(*argv, GRAFT_BASE=request)
    assert code == 0
    assert (tmp_path / "meta" / "base.json").is_file()
    assert not (model / "model.safetensors").is_symlink()


def test_a_base_in_a_claim_that_has_changed_is_not_provided(container: Container, model: Path, tmp_path: Path) -> None:
    source = {"persistentVolumeClaim": {"claimName": "models"}}
    _, message = container.import_base(source, path=str(model))
    write_model(model, fill=b"\1")
    code, failure = container.fetch_base(message["digest"], tmp_path / "base", path=str(model))
    assert (code, failure["outcome"], failure["reason"]) == (66, "Failed", "Corrupt")
    assert "model.safetensors" in failure["message"]
    assert not (tmp_path / "base" / ".graft").exists()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        pytest.param({}, "GRAFT_BASE_IMPORT is not set", id="no request"),
        pytest.param({"GRAFT_BASE_IMPORT": "{}"}, "source", id="a request without a source"),
        pytest.param({"GRAFT_BASE_IMPORT": "tiny"}, "GRAFT_BASE_IMPORT is not valid", id="a request that isn't JSON"),
        pytest.param(
            {"GRAFT_BASE_IMPORT": {"namespace": "../x", "name": "a", "source": HUB}}, "namespace", id="an evil name"
        ),
    ],
)
def test_a_bad_request_is_named(container: Container, variables: dict[str, Any], message: str) -> None:
    code, failure = container.run("import-base", **variables)
    assert (code, failure["reason"]) == (64, "InvalidConfig")
    assert message in failure["message"]


def test_a_base_that_is_not_in_the_registry_is_not_found(container: Container, tmp_path: Path) -> None:
    code, failure = container.fetch_base(digest_of("nothing"), tmp_path / "base")
    assert (code, failure["reason"]) == (66, "NotFound")


def test_verifying_a_version_finds_damage(container: Container, store: ObjectStore, adapter: Path) -> None:
    published = AdapterRegistry(store, "team-a", "support").publish(version_draft(), adapter)
    argv = ("verify", "--namespace", "team-a", "--adapter", "support", "--number", "1", "--digest", published.digest)
    assert container.run(*argv) == (0, {"outcome": "Verified", "digest": published.digest, "number": 1})
    store.put(AdapterLayout("team-a", "support").blob(published.manifest.files[0].sha256), b"{}")
    code, failure = container.run(*argv)
    assert (code, failure["reason"]) == (66, "Corrupt")


def test_every_object_of_every_version_is_told_of(
    container: Container, store: ObjectStore, adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry, layout = AdapterRegistry(store, "team-a", "support"), AdapterLayout("team-a", "support")
    for recipe in ("one", "two", "three"):
        (adapter / "README.md").write_text(recipe)
        registry.publish(version_draft(recipe), adapter)
    argv = ("verify", "--namespace", "team-a", "--adapter", "support", "--all", "-o", "json")
    assert container.run(*argv)[0] == 0
    whole = json.loads(capsys.readouterr().out)["versions"]
    assert [found["number"] for found in whole] == [1, 2, 3]
    assert {item["verdict"] for found in whole for item in found["objects"]} == {"Same"}

    readme = {file.path: file.sha256 for file in registry.read(1).manifest.files}["README.md"]
    store.delete(layout.blob(readme))
    store.put(layout.blob({file.path: file.sha256 for file in registry.read(2).manifest.files}["README.md"]), b"longer")
    store.put(layout.manifest(3), b"{}")
    code, failure = container.run(*argv)
    assert (code, failure["reason"]) == (66, "Corrupt")
    damaged = {
        (found["number"], item["path"]): item["verdict"]
        for found in json.loads(capsys.readouterr().out)["versions"]
        for item in found["objects"]
        if item["verdict"] != "Same"
    }
    assert damaged == {(1, "README.md"): "Missing", (2, "README.md"): "Differs", (3, "manifest.json"): "Differs"}
    for more in (("--number", "1"), ("--digest", digest_of("any"))):
        assert container.run(*argv, *more)[0] == 64


def test_a_file_that_no_version_may_contain_is_not_read(
    container: Container, store: ObjectStore, adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry, layout = AdapterRegistry(store, "team-a", "support"), AdapterLayout("team-a", "support")
    published = registry.publish(version_draft(), adapter).manifest
    pickle = published.files[0].model_copy(update={"path": "weights.pkl"})
    store.put(layout.manifest(1), published.model_copy(update={"files": (pickle,)}).to_bytes())
    argv = ("verify", "--namespace", "team-a", "--adapter", "support", "--number", "1", "-o", "json")
    assert container.run(*argv)[0] == 66
    (found,) = json.loads(capsys.readouterr().out)["versions"]
    assert [(item["path"], item["verdict"], item["found"]) for item in found["objects"][1:]] == [
        ("weights.pkl", "NotAllowed", None)
    ]


def test_the_manifest_is_brought_alone(container: Container, store: ObjectStore, adapter: Path, tmp_path: Path) -> None:
    published = AdapterRegistry(store, "team-a", "support").publish(version_draft(), adapter)
    argv = ["fetch-version", "--namespace", "team-a", "--adapter", "support", "--number", "1"]
    manifest = tmp_path / "version.json"
    assert container.run(*argv, "--manifest", str(manifest))[0] == 0
    assert VersionManifest.from_bytes(manifest.read_bytes()) == published.manifest
    code, failure = container.run(*argv, "--manifest", str(manifest), "--file", "README.md")
    assert (code, "--destination is missing" in failure["message"]) == (64, True)
    assert container.run(*argv)[0] == 64


def test_a_version_is_brought_whole_or_file_by_file(
    container: Container, store: ObjectStore, adapter: Path, tmp_path: Path
) -> None:
    (adapter / "report.html").write_text("<p>good</p>")
    published = AdapterRegistry(store, "team-a", "support").publish(version_draft(), adapter)
    argv = ["fetch-version", "--namespace", "team-a", "--adapter", "support", "--number", "1", "--destination"]
    told = {"outcome": "Fetched", "digest": published.digest, "number": 1}
    manifest = tmp_path / "version.json"
    assert container.run(*argv, str(tmp_path / "whole"), "--manifest", str(manifest)) == (0, told)
    assert VersionManifest.from_bytes(manifest.read_bytes()) == published.manifest
    assert files_of(tmp_path / "whole") == files_of(adapter)
    assert container.run(*argv, str(tmp_path / "part"), "--file", "report.html") == (0, told)
    assert files_of(tmp_path / "part") == {"report.html": b"<p>good</p>"}
    code, failure = container.run(*argv, str(tmp_path / "none"), "--file", "README.md")
    assert (code, failure["reason"]) == (66, "NotFound")
    assert "version 1 has no README.md" in failure["message"]


def test_a_command_that_is_told_to_end_does_so_at_once(tmp_path: Path) -> None:
    """The store has taken the connection and says nothing: a pod that waits for it holds its node meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as store:
        store.settimeout(60)
        registry = {"endpoint": f"http://127.0.0.1:{store.getsockname()[1]}", "bucket": "graft"}
        variables = {
            "GRAFT_REGISTRY": json.dumps(registry),
            "GRAFT_BASE": json.dumps({"namespace": "team-a", "name": "tiny", "digest": digest_of("base")}),
            "GRAFT_TERMINATION_LOG": str(tmp_path / "termination-log"),
            "PYTHONPATH": ":".join(sys.path),
        }
        command = [sys.executable, "-m", "graft_registry", "fetch-base", "--destination", str(tmp_path / "base")]
        with subprocess.Popen(command, env=os.environ | variables, stderr=subprocess.DEVNULL) as process:
            connection, _ = store.accept()
            with connection:
                process.terminate()
                assert process.wait(timeout=10) == 143


@pytest.mark.parametrize(
    ("trouble", "reason", "field"),
    [
        (errno.ESTALE, "RegistryUnavailable", "spec.source.persistentVolumeClaim.path"),
        (errno.EIO, "RegistryUnavailable", "spec.source.persistentVolumeClaim.path"),
        (errno.EACCES, "Forbidden", "spec.source.persistentVolumeClaim.path"),
        (errno.ENOSPC, "RegistryUnavailable", "spec.importPod.resources"),
    ],
)
def test_what_a_claims_disk_answers_is_told_of_the_claim_and_a_full_one_of_the_pod(
    container: Container, model: Path, monkeypatch: pytest.MonkeyPatch, trouble: int, reason: str, field: str
) -> None:
    def fails(_: Path) -> None:
        raise OSError(trouble, os.strerror(trouble), str(model / "model.safetensors"))

    monkeypatch.setattr(base_import, "identify", fails)
    code, message = container.import_base({"persistentVolumeClaim": {"claimName": "models"}}, path=str(model))
    assert code != 0
    assert (message["reason"], message["field"]) == (reason, field)
