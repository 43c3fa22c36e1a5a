"""Documents: one spelling outside, immutable, unknown fields ignored, bad fields named."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.unit.registry.builders import base_manifest, version_draft, write_model

from graft_registry.config import RegistryConfig
from graft_registry.digests import canonical_json, digest_hex, digest_of, file_sha256, sha256_digest
from graft_registry.documents import (
    BaseLocation,
    BaseManifest,
    BaseSource,
    HuggingFaceSource,
    Metrics,
    RecipePointer,
    StoredFile,
    VersionManifest,
    engine_name,
    timestamp,
)
from graft_registry.documents.model import complaint
from graft_registry.layout import AdapterLayout, BaseLayout

HEX = "ab" * 32


def test_canonical_json_is_sorted_dense_and_utf8() -> None:
    assert canonical_json({"b": 1, "a": ["ü", None]}) == '{"a":["ü",null],"b":1}'.encode()
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"loss": float("nan")})


def test_digests_of_bytes_files_and_documents_agree(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b'{"a":1}')
    assert digest_of({"a": 1}) == sha256_digest(b'{"a":1}') == "sha256:" + file_sha256(tmp_path / "file")
    assert digest_of({"a": 1}) == "sha256:015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


@pytest.mark.parametrize("digest", ["", HEX, f"sha256:{HEX.upper()}", "sha256:../../x", f"sha256:{HEX}0", f"md5:{HEX}"])
def test_what_is_no_digest_cannot_become_part_of_a_key(digest: str) -> None:
    with pytest.raises(ValueError, match="not a digest"):
        digest_hex(digest)


def version_manifest(**overrides: Any) -> VersionManifest:
    fields: dict[str, Any] = {"number": 7, "files": (), "created_time": timestamp(), **dict(version_draft())}
    return VersionManifest(**{**fields, **overrides})


def test_a_version_manifest_is_read_back_as_it_was_written() -> None:
    manifest = version_manifest(metrics=Metrics(eval_loss=1.5))
    assert VersionManifest.from_bytes(manifest.to_bytes()) == manifest
    outside = manifest.to_dict()
    assert outside["schema"] == "graft.dev/version/v1"
    assert outside["trainedOn"] == "float32"
    assert outside["metrics"]["evalLoss"] == 1.5
    assert outside["base"]["source"] == {"s3": {"uri": "s3://models/tiny"}}


def test_a_base_manifest_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    manifest = base_manifest(write_model(tmp_path))
    assert BaseManifest.from_bytes(manifest.to_bytes()) == manifest
    assert manifest.to_dict()["location"] == {"registry": True}


def test_a_base_manifest_whose_digest_is_of_other_content_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="weightsDigest and fingerprint give"):
        base_manifest(write_model(tmp_path), digest=digest_of("other"))


def test_readers_ignore_fields_of_the_future_but_no_other_schema() -> None:
    document = {"recipe": digest_of(1), "number": 1, "manifestDigest": digest_of(2), "addedLater": True}
    assert RecipePointer.model_validate(document).number == 1
    with pytest.raises(ValidationError, match="schema"):
        RecipePointer.model_validate({**document, "schema": "graft.dev/recipe/v2"})


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({"number": 0}, "number"),
        ({"recipe": "v7"}, "recipe"),
        ({"reason": "Because"}, "reason"),
        ({"trainedOn": "int8"}, "trainedOn"),
        ({"metrics": {"evalLoss": float("inf")}}, "metrics.evalLoss"),
    ],
)
def test_a_bad_field_is_named(overrides: dict[str, Any], field: str) -> None:
    document = {**version_manifest().to_dict(), **overrides}
    with pytest.raises(ValidationError) as caught:
        VersionManifest.model_validate(document)
    [error] = caught.value.errors()
    assert ".".join(map(str, error["loc"])) == field


@pytest.mark.parametrize(
    "path", ["../a", "/a", "a/../b", "a//b", "a/", "", ".", ".a", "a\\b", "a\0", "a\n", "a b", "x" * 513]
)
def test_a_stored_file_cannot_leave_its_directory(path: str) -> None:
    with pytest.raises(ValidationError, match="path"):
        StoredFile(path=path, size=1, sha256=HEX)


def test_exactly_one_source_and_one_location_is_set() -> None:
    for document in ({}, {"s3": {"uri": "s3://a"}, "huggingFace": {"repo": "a/b"}}):
        with pytest.raises(ValidationError, match="exactly one of huggingFace, s3, persistentVolumeClaim"):
            BaseSource.model_validate(document)
    with pytest.raises(ValidationError, match="exactly one of registry, persistentVolumeClaim"):
        BaseLocation()


def test_a_source_has_one_digest_however_its_defaults_are_spelled() -> None:
    implicit = BaseSource.model_validate({"huggingFace": {"repo": "org/model"}})
    explicit = BaseSource(hugging_face=HuggingFaceSource(repo="org/model", revision="main"))
    assert implicit.digest() == explicit.digest()
    assert implicit.digest() == digest_of({"huggingFace": {"repo": "org/model", "revision": "main"}})


def test_engine_names_hold_adapter_number_and_content() -> None:
    assert engine_name("support", 7, f"sha256:{HEX}") == "support--v7-abababab"


def test_times_are_utc_in_whole_seconds() -> None:
    noon = datetime(2026, 1, 2, 14, 0, 0, 999, tzinfo=timezone(timedelta(hours=2)))
    assert timestamp(noon) == "2026-01-02T12:00:00Z"
    assert datetime.fromisoformat(timestamp()) <= datetime.now(UTC)


def test_keys_are_those_of_the_contract() -> None:
    adapter, base = AdapterLayout("team-a", "support"), BaseLayout("team-a", "tiny")
    digest = f"sha256:{HEX}"
    assert adapter.manifest(7) == "team-a/adapters/support/versions/00000007/manifest.json"
    assert adapter.blob(HEX) == f"team-a/adapters/support/blobs/sha256/{HEX}"
    assert adapter.pointer(digest) == f"team-a/adapters/support/recipes/{HEX}.json"
    assert adapter.progress(digest) == f"team-a/adapters/support/runs/{HEX}/progress.json"
    assert adapter.checkpoint(digest, 9) == f"team-a/adapters/support/runs/{HEX}/checkpoints/00000009/"
    assert base.source(digest) == f"team-a/bases/tiny/sources/{HEX}.json"
    assert base.manifest(digest) == f"team-a/bases/tiny/revisions/{HEX}/manifest.json"
    assert base.blob(HEX) == f"team-a/bases/tiny/blobs/sha256/{HEX}"


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "-a", "a-", "a" * 254, "a\n"])
def test_a_name_that_would_change_the_meaning_of_a_key_is_refused(name: str) -> None:
    for layout in (AdapterLayout, BaseLayout):
        with pytest.raises(ValueError, match="namespace must be a Kubernetes object name"):
            layout(name, "ok")
        with pytest.raises(ValueError, match="must be a Kubernetes object name"):
            layout("ok", name)


def test_the_registrys_place_is_read_from_the_environment() -> None:
    text = '{"endpoint": "http://s3:9000", "bucket": "graft", "prefix": "/a/b/", "forcePathStyle": false}'
    config = RegistryConfig.from_environment({"GRAFT_REGISTRY": text})
    assert config == RegistryConfig(endpoint="http://s3:9000", bucket="graft", prefix="a/b", force_path_style=False)
    assert config.region == "us-east-1"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        pytest.param({}, "GRAFT_REGISTRY is not set", id="unset"),
        pytest.param({"GRAFT_REGISTRY": "bucket"}, "GRAFT_REGISTRY is not valid", id="not JSON"),
        pytest.param({"GRAFT_REGISTRY": "{}"}, "bucket", id="without a bucket"),
    ],
)
def test_a_bad_environment_is_named(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RegistryConfig.from_environment(environ)


def test_an_s3_uri_gives_its_bucket_on_the_same_store() -> None:
    config = RegistryConfig(endpoint="http://s3", bucket="graft", prefix="p")
    other, key = config.for_uri("s3://data/rows/train.jsonl")
    assert (other.endpoint, other.bucket, other.prefix, key) == ("http://s3", "data", "", "rows/train.jsonl")
    for uri in ("", "data/rows", "http://data/rows", "s3://", "s3:///rows"):
        with pytest.raises(ValueError, match="not an S3 URI"):
            config.for_uri(uri)


@pytest.mark.parametrize(
    ("encryption", "key", "told"),
    [
        (None, None, {}),
        ("AES256", None, {"serverSideEncryption": "AES256"}),
        ("aws:kms", "k", {"serverSideEncryption": "aws:kms", "kmsKeyId": "k"}),
    ],
)
def test_encryption_is_handed_on_only_where_it_is_set(encryption: Any, key: str | None, told: dict[str, str]) -> None:
    config = RegistryConfig(bucket="graft", server_side_encryption=encryption, kms_key_id=key)
    handed_on = config.to_dict()
    assert {name: handed_on[name] for name in ("serverSideEncryption", "kmsKeyId") if name in handed_on} == told
    assert RegistryConfig.model_validate(handed_on) == config


@pytest.mark.parametrize("encryption", [None, "AES256"])
def test_a_key_that_nothing_is_encrypted_with_is_refused(encryption: Any) -> None:
    with pytest.raises(ValidationError, match="needs serverSideEncryption aws:kms"):
        RegistryConfig(bucket="graft", server_side_encryption=encryption, kms_key_id="k")


MEASURE = """
import resource, sys
from pydantic import ValidationError
from graft_registry.documents import BaseManifest, VersionManifest
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
texts = [text.encode() * (int(sys.argv[2]) // len(text)) for text in ("[],", "{},", "1,", "1.5,", '"ab",', '"a":[],')]
fields = sys.argv[1].split(",")
before = peak()
for kind in (VersionManifest, BaseManifest):
    for text in texts:
        for document in (b"[%s0]" % text, *(b'{"%s": [%s0]}' % (name.encode(), text) for name in fields)):
            try:
                kind.from_bytes(document)
            except ValidationError as error:
                assert error.error_count() < 1000
            else:
                raise AssertionError("it is none")
print((peak() - before) >> 10)
"""


def test_documents_that_are_none_cost_a_small_part_of_the_operators_memory() -> None:
    """A MiB of it once took 650 MiB: an error, with a copy of the text, for every field that was missing anywhere."""
    fields = "golden,files,libraries,linearModules"
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE, fields, str(1 << 20)],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert int(measured.stdout) < 64


def test_what_is_wrong_with_a_document_is_told_in_a_few_words() -> None:
    with pytest.raises(ValidationError) as caught:
        VersionManifest.from_bytes(b'{"namespace": ["' + b"x" * 100_000 + b'"]}')
    assert complaint(caught.value).startswith("namespace: Input should be a valid string, and ")
    assert len(complaint(caught.value)) < 400


def with_parameter(value: bytes) -> bytes:
    """A manifest in which somebody has written this value."""
    return version_manifest(hyperparameters={"x": 1}).to_bytes().replace(b'{"x":1}', b'{"x":' + value + b"}")


@pytest.mark.parametrize(
    "value",
    [rb'"\ud800"', rb'"\uDFFF tail"', rb'{"\udc00": 1}', b"NaN", b"-Infinity", b"1e999", b"[1.5, 2e400]"],
)
def test_what_no_document_can_be_written_with_makes_it_none(value: bytes) -> None:
    written = with_parameter(value)
    with pytest.raises(ValidationError, match="not JSON"):
        VersionManifest.from_bytes(written)


def test_a_pair_of_escapes_is_one_character() -> None:
    written = with_parameter(rb'"\ud83d\ude00"')
    read = VersionManifest.from_bytes(written)
    assert read.hyperparameters == {"x": "\U0001f600"}
    assert VersionManifest.from_bytes(read.to_bytes()) == read
