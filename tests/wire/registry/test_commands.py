"""The commands that Jobs and init containers run, from their environment to their termination message."""

import json
import re
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.registry.builders import version_draft, write_adapter, write_model
from tests.wire.registry.hub import COMMIT, TOKEN, HubServer, Repository

from graft_registry.__main__ import main
from graft_registry.config import RegistryConfig
from graft_registry.digests import digest_of
from graft_registry.fingerprint import identify
from graft_registry.layout import AdapterLayout, BaseLayout
from graft_registry.store import ObjectStore
from graft_registry.versions import AdapterRegistry

HUB = {"huggingFace": {"repo": "org/tiny", "revision": "main"}}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


class Container:
    """Runs a command as a container would: with arguments, variables and a termination log."""

    def __init__(self, config: RegistryConfig, directory: Path) -> None:
        self._environ = {
            "GRAFT_REGISTRY": config.model_dump_json(),
            "GRAFT_TERMINATION_LOG": str(directory / "termination-log"),
        }
        self._workspace = directory

    def run(self, *argv: str, **variables: Any) -> tuple[int, dict[str, Any]]:
        environ = {name: value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()}
        code = main(argv, {**self._environ, **environ})
        return code, json.loads(Path(self._environ["GRAFT_TERMINATION_LOG"]).read_text())

    def import_base(self, source: dict[str, Any], path: str = "/claim", **variables: str) -> tuple[int, dict[str, Any]]:
        request = {"namespace": "team-a", "name": "tiny", "source": source, "path": path}
        return self.run("import-base", "--workspace", str(self._workspace), GRAFT_BASE_IMPORT=request, **variables)

    def fetch_base(self, digest: str, destination: Path, **more: Any) -> tuple[int, dict[str, Any]]:
        request = {"namespace": "team-a", "name": "tiny", "digest": digest, **more}
        return self.run("fetch-base", "--destination", str(destination), GRAFT_BASE=request)


@pytest.fixture
def container(config: RegistryConfig, tmp_path: Path) -> Container:
    (tmp_path / "container").mkdir()
    return Container(config, tmp_path / "container")


@pytest.fixture
def bucket(config: RegistryConfig) -> ObjectStore:
    """Another bucket, with models in it."""
    store = ObjectStore(config.model_copy(update={"bucket": f"models-{uuid.uuid4().hex[:12]}", "prefix": ""}))
    store._client.create_bucket(Bucket=store.config.bucket)
    return store


def put_files(store: ObjectStore, prefix: str, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        store.put(f"{prefix}{name}", data)


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


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
    ("repository", "source", "code", "reason", "field", "message"),
    [
        pytest.param(None, HUB, 65, "SourceNotFound", "repo", "org/tiny", id="no such repository"),
        pytest.param(
            Repository({}),
            {"huggingFace": {"repo": "org/tiny", "revision": "v9"}},
            65,
            "SourceNotFound",
            "revision",
            "v9",
            id="no such revision",
        ),
        pytest.param(
            None, {"huggingFace": {"repo": "a/b/c"}}, 65, "SourceNotFound", "repo", "a/b/c", id="no repository's name"
        ),
        pytest.param(Repository({}, gated=True), HUB, 77, "Forbidden", "repo", "org/tiny", id="a gated repository"),
        pytest.param(Repository({}), HUB, 65, "SourceNotFound", "repo", "no files", id="an empty repository"),
        pytest.param(
            Repository({"config.json": b"{}", "pytorch_model.bin": b"\x80"}),
            HUB,
            65,
            "SourceInvalid",
            "repo",
            "only pickled weights .pytorch_model.bin.",
            id="a repository with pickles only",
        ),
    ],
)
def test_a_bad_hub_source_is_explained(
    container: Container,
    hub: HubServer,
    repository: Repository | None,
    source: dict[str, Any],
    code: int,
    reason: str,
    field: str,
    message: str,
) -> None:
    if repository is not None:
        hub.repositories["org/tiny"] = repository
    actual, failure = container.import_base(source, HF_ENDPOINT=hub.url)
    assert (actual, failure["outcome"], failure["reason"]) == (code, "Failed", reason), failure
    assert failure["field"] == f"spec.source.huggingFace.{field}"
    assert re.search(message, failure["message"])
    assert hub.downloaded == []


def test_a_token_of_the_source_opens_a_gated_repository(container: Container, hub: HubServer, model: Path) -> None:
    hub.repositories["org/tiny"] = Repository(files_of(model), gated=True)
    code, message = container.import_base(HUB, SOURCE_HF_ENDPOINT=hub.url, SOURCE_HF_TOKEN=TOKEN)
    assert code == 0, message


@pytest.mark.parametrize("broken", [True, False], ids=["a hub that fails", "a hub that isn't there"])
def test_a_hub_that_is_away_is_worth_a_retry(container: Container, hub: HubServer, broken: bool) -> None:
    hub.broken = broken
    endpoint = hub.url if broken else "http://127.0.0.1:9"
    code, failure = container.import_base(HUB, HF_ENDPOINT=endpoint)
    assert (code, failure["reason"]) == (68, "RegistryUnavailable")


@pytest.mark.parametrize(
    ("files", "reason", "message"),
    [
        pytest.param({}, "SourceNotFound", "has no files", id="an empty prefix"),
        pytest.param({"model.bin": b"\x80"}, "SourceInvalid", "only pickled weights", id="pickles only"),
        pytest.param({"config.json": b"{}"}, "SourceInvalid", "no .*safetensors", id="no weights"),
        pytest.param(
            {"model.safetensors": b"\0" * 8}, "SourceInvalid", "config.json is missing", id="weights without a config"
        ),
        pytest.param(
            {"model.safetensors": b"\x80\x04.", "config.json": b"{}"}, "SourceInvalid", "model.safetensors", id="a lie"
        ),
    ],
)
def test_a_bad_s3_source_is_explained(
    container: Container, bucket: ObjectStore, files: dict[str, bytes], reason: str, message: str
) -> None:
    put_files(bucket, "tiny/", files)
    code, failure = container.import_base({"s3": {"uri": f"s3://{bucket.config.bucket}/tiny/"}})
    assert (code, failure["reason"]) == (65, reason), failure
    assert failure["field"].startswith("spec.source")
    assert re.search(message, failure["message"])


def test_a_missing_source_bucket_is_the_users_to_correct(container: Container) -> None:
    code, failure = container.import_base({"s3": {"uri": "s3://no-such-bucket/tiny"}})
    assert (code, failure["reason"], failure["field"]) == (65, "SourceNotFound", "spec.source.s3.uri")


def test_a_missing_directory_of_a_claim_is_the_users_to_correct(container: Container, tmp_path: Path) -> None:
    source = {"persistentVolumeClaim": {"claimName": "models", "path": "tiny"}}
    code, failure = container.import_base(source, path=str(tmp_path / "nowhere"))
    assert (code, failure["reason"]) == (65, "SourceNotFound")
    assert failure["field"] == "spec.source.persistentVolumeClaim.path"


@pytest.mark.parametrize("variable", ["SOURCE_AWS_ENDPOINT_URL", "GRAFT_SOURCE_ENDPOINT"])
def test_sources_may_be_in_another_store_than_the_registry(container: Container, variable: str) -> None:
    code, failure = container.import_base({"s3": {"uri": "s3://models/tiny"}}, **{variable: "http://127.0.0.1:9"})
    assert (code, failure["reason"]) == (68, "RegistryUnavailable")
    assert "127.0.0.1:9" in failure["message"]


def test_a_source_has_credentials_of_its_own(
    container: Container, bucket: ObjectStore, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_files(bucket, "tiny/", files_of(model))
    source = {"s3": {"uri": f"s3://{bucket.config.bucket}/tiny"}}
    used: list[str] = []
    list_objects = ObjectStore.list

    def list_and_note(store: ObjectStore, prefix: str) -> Any:
        used.append(store._client._request_signer._credentials.access_key)
        return list_objects(store, prefix)

    monkeypatch.setattr(ObjectStore, "list", list_and_note)
    own = {"SOURCE_AWS_ACCESS_KEY_ID": "source-key", "SOURCE_AWS_SECRET_ACCESS_KEY": "source-secret"}
    container.import_base(source, **own)
    assert used == ["source-key"]
    code, failure = container.import_base(source, SOURCE_AWS_ACCESS_KEY_ID="source-key")
    assert (code, failure["reason"]) == (64, "InvalidConfig")
    assert "AWS_SECRET_ACCESS_KEY" in failure["message"]


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


def test_verifying_a_version_finds_damage(container: Container, store: ObjectStore, tmp_path: Path) -> None:
    published = AdapterRegistry(store, "team-a", "support").publish(
        version_draft(), write_adapter(tmp_path / "adapter")
    )
    argv = ("verify", "--namespace", "team-a", "--adapter", "support", "--number", "1", "--digest", published.digest)
    assert container.run(*argv) == (0, {"outcome": "Verified", "digest": published.digest, "number": 1})
    store.put(AdapterLayout("team-a", "support").blob(published.manifest.files[0].sha256), b"{}")
    code, failure = container.run(*argv)
    assert (code, failure["reason"]) == (66, "Corrupt")


def test_a_version_is_brought_whole_or_file_by_file(container: Container, store: ObjectStore, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    (adapter / "report.html").write_text("<p>good</p>")
    published = AdapterRegistry(store, "team-a", "support").publish(version_draft(), adapter)
    argv = ["fetch-version", "--namespace", "team-a", "--adapter", "support", "--number", "1", "--destination"]
    told = {"outcome": "Fetched", "digest": published.digest, "number": 1}
    assert container.run(*argv, str(tmp_path / "whole")) == (0, told)
    assert files_of(tmp_path / "whole") == files_of(adapter)
    assert container.run(*argv, str(tmp_path / "part"), "--file", "report.html") == (0, told)
    assert files_of(tmp_path / "part") == {"report.html": b"<p>good</p>"}
    code, failure = container.run(*argv, str(tmp_path / "none"), "--file", "README.md")
    assert (code, failure["reason"]) == (66, "NotFound")
    assert "version 1 has no README.md" in failure["message"]


def test_a_file_of_a_claim_that_may_not_be_read_is_the_users_to_correct(
    container: Container, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may read everything, so what the kernel says to other users is said here.
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).suffix != ".safetensors")
    source = {"persistentVolumeClaim": {"claimName": "models", "path": "tiny"}}
    code, told = container.import_base(source, path=str(model))
    assert (code, told["reason"]) == (77, "Forbidden")
    assert told["field"] == "spec.source.persistentVolumeClaim.path"
    assert "model.safetensors" in told["message"]
