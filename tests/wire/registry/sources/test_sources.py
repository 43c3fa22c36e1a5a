"""Sources of bases that can't be read: whose they are to correct, and in which field; and what opens them."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.registry.builders import base_manifest, write_model
from tests.wire.registry.container import Container, files_of, put_files
from tests.wire.registry.hub import COMMIT, TOKEN, HubServer, Repository

from graft_registry.bases import BaseRegistry
from graft_registry.config import RegistryConfig
from graft_registry.digests import sha256_digest
from graft_registry.documents import BaseManifest
from graft_registry.documents.base import base_digest
from graft_registry.models.fingerprint import identify
from graft_registry.s3.store import ObjectStore

HUB = {"huggingFace": {"repo": "org/tiny", "revision": "main"}}


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
            {"model.safetensors": b"\x80\x04.", "config.json": b'{"architectures": ["LlamaForCausalLM"]}'},
            "SourceInvalid",
            "model.safetensors",
            id="a lie",
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


def test_a_configuration_that_rules_a_model_out_is_read_before_its_weights_are_brought(
    container: Container, bucket: ObjectStore
) -> None:
    packed = {"architectures": ["LlamaForCausalLM"], "quantization_config": {"quant_method": "awq", "bits": 4}}
    put_files(bucket, "awq/", {"config.json": json.dumps(packed).encode(), "model.safetensors": b"never read"})
    code, failure = container.import_base({"s3": {"uri": f"s3://{bucket.config.bucket}/awq/"}})
    assert (code, failure["reason"]) == (65, "SourceInvalid"), failure
    assert "quantized by AWQ" in failure["message"]
    assert "full-precision model" in failure["message"]


def test_a_base_of_an_earlier_release_keeps_its_identity_until_its_configuration_changes(
    config: RegistryConfig, store: ObjectStore, bucket: ObjectStore, model: Path, tmp_path: Path
) -> None:
    registry = BaseRegistry(store, "team-a", "tiny")
    now = base_manifest(model)
    fingerprint = now.fingerprint.model_copy(update={"behaviour_digest": None})
    earlier = now.model_copy(
        update={"fingerprint": fingerprint, "digest": base_digest(now.weights_digest, fingerprint)}
    )
    registry.publish(earlier, model)
    put_files(bucket, "again/", files_of(model))
    (tmp_path / "first").mkdir()
    container = Container(config, tmp_path / "first")
    code, message = container.import_base({"s3": {"uri": f"s3://{bucket.config.bucket}/again/"}})
    assert (code, message["digest"]) == (0, earlier.digest)
    put_files(bucket, "mended/", files_of(model) | {"generation_config.json": b'{"eos_token_id": [1, 2]}'})
    (tmp_path / "second").mkdir()
    container = Container(config, tmp_path / "second")
    code, message = container.import_base({"s3": {"uri": f"s3://{bucket.config.bucket}/mended/"}})
    assert code == 0, message
    assert message["digest"] not in (earlier.digest, now.digest)
    assert "generation_config.json" in {file.path for file in registry.read(message["digest"]).files}


FOLDER = "additional_chat_templates"
PICTURES = json.dumps({"chat_template": "{{ pictures }}"}).encode()


def published_before(model: Path, template: str, registry: BaseRegistry, *, behaviour: bool = True) -> BaseManifest:
    """Publish a commit's base as earlier releases did, which knew one template and nothing of the folder."""
    now = base_manifest(model, revision=COMMIT)
    changes: dict[str, Any] = {"chat_template_digest": sha256_digest(template.encode())}
    fingerprint = now.fingerprint.model_copy(update=changes if behaviour else changes | {"behaviour_digest": None})
    digest = base_digest(now.weights_digest, fingerprint)
    return registry.publish(now.model_copy(update={"fingerprint": fingerprint, "digest": digest}), model)


def tools_in_the_folder(model: Path) -> dict[str, bytes]:
    return {f"{FOLDER}/tool_use.jinja": b"{{ tools }}", f"{FOLDER}/rag.jinja": b"{{ documents }}"}


def another_of_the_processor(model: Path) -> dict[str, bytes]:
    (model / "chat_template.json").write_bytes(PICTURES)
    return {}


@pytest.mark.parametrize("behaviour", [True, False], ids=["a late release", "an early release"])
@pytest.mark.parametrize("added", [tools_in_the_folder, another_of_the_processor])
def test_a_base_of_an_earlier_release_is_the_same_once_its_commit_is_pinned(
    added: Callable[[Path], dict[str, bytes]],
    behaviour: bool,
    container: Container,
    hub: HubServer,
    store: ObjectStore,
    tmp_path: Path,
) -> None:
    model = write_model(tmp_path / "wrapped", hidden_size=..., text_config={"hidden_size": 8})
    more = added(model)
    registry = BaseRegistry(store, "team-a", "tiny")
    before = published_before(model, "{{ messages }}", registry, behaviour=behaviour)
    hub.repositories["org/tiny"] = Repository(files_of(model) | more, revisions={COMMIT: COMMIT})
    pinned = {"huggingFace": {"repo": "org/tiny", "revision": COMMIT}}
    code, message = container.import_base(pinned, HF_ENDPOINT=hub.url)
    assert (code, message.get("digest")) == (0, before.digest), message
    assert registry.read(before.digest) == before


def test_templates_of_a_later_commit_are_another_base(
    container: Container, hub: HubServer, store: ObjectStore, model: Path
) -> None:
    before = published_before(model, "{{ messages }}", BaseRegistry(store, "team-a", "tiny"))
    later = {"v2": "2" * 40, "2" * 40: "2" * 40}
    hub.repositories["org/tiny"] = Repository(files_of(model) | tools_in_the_folder(model), revisions=later)
    code, message = container.import_base({"huggingFace": {"repo": "org/tiny", "revision": "v2"}}, HF_ENDPOINT=hub.url)
    assert code == 0, message
    assert message["digest"] != before.digest
    files = {file.path for file in BaseRegistry(store, "team-a", "tiny").read(message["digest"]).files}
    assert files >= {f"{FOLDER}/tool_use.jinja"}


@pytest.mark.parametrize("template", [PICTURES, json.dumps({"chat_template": "{{ mended }}"}).encode()])
def test_a_processors_template_is_part_of_a_base_where_it_is_copied_to(
    template: bytes, container: Container, bucket: ObjectStore, store: ObjectStore, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "wrapped", hidden_size=..., text_config={"hidden_size": 8})
    another_of_the_processor(model)
    before = published_before(model, "{{ messages }}", BaseRegistry(store, "team-a", "tiny"))
    put_files(bucket, "copy/", files_of(model) | {"chat_template.json": template})
    code, message = container.import_base({"s3": {"uri": f"s3://{bucket.config.bucket}/copy/"}})
    assert code == 0, message
    assert (message["digest"] == before.digest) == (template == PICTURES)


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


def link_to_the_environment(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.jinja").symlink_to("/proc/self/environ")


def template_beside_the_claim(folder: Path) -> None:
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").symlink_to("../../../secret.jinja")


def folder_of_templates_beside_the_claim(folder: Path) -> None:
    (folder / "additional_chat_templates").symlink_to("../..")


def folder_beside_the_claim(folder: Path) -> None:
    shutil.move(folder, folder.parents[1] / "moved")
    folder.symlink_to("../moved")


@pytest.mark.parametrize(
    "spoil",
    [
        link_to_the_environment,
        template_beside_the_claim,
        folder_of_templates_beside_the_claim,
        folder_beside_the_claim,
    ],
)
def test_a_link_out_of_a_claim_is_not_followed(
    spoil: Callable[[Path], None], container: Container, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "claim" / "tiny"
    shutil.copytree(model, folder)
    (tmp_path / "secret.jinja").write_text("a token of the pod")
    spoil(folder)
    source = {"persistentVolumeClaim": {"claimName": "models", "path": "tiny"}}
    code, told = container.import_base(source, path=str(folder))
    assert (code, told["reason"]) == (65, "SourceInvalid"), told
    assert told["field"] == "spec.source.persistentVolumeClaim.path"
    assert "claim models" in told["message"]
    assert "a link" in told["message"]


def test_links_within_a_claim_are_followed(container: Container, model: Path, tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    shutil.copytree(model, claim / "blobs")
    (claim / "snapshots" / "main").mkdir(parents=True)
    for file in (claim / "blobs").iterdir():
        (claim / "snapshots" / "main" / file.name).symlink_to(f"../../blobs/{file.name}")
    source = {"persistentVolumeClaim": {"claimName": "models", "path": "snapshots/main"}}
    code, message = container.import_base(source, path=str(claim / "snapshots" / "main"))
    assert (code, message.get("digest")) == (0, identify(model).digest), message
