"""Bases: resolved once, stored once, fetched verified."""

from pathlib import Path

import pytest
from tests.unit.registry.builders import base_manifest, write_model
from tests.wire.registry.faults import DyingStore, ProcessDiedError

from graft_registry.bases import BaseRegistry
from graft_registry.config import RegistryConfig
from graft_registry.digests import digest_of
from graft_registry.documents import (
    BaseLocation,
    BaseManifest,
    BaseSource,
    HuggingFaceSource,
    PersistentVolumeClaimSource,
    S3Source,
)
from graft_registry.errors import Corrupt, NotFound
from graft_registry.layout import BaseLayout
from graft_registry.s3.store import ObjectStore

LAYOUT = BaseLayout("team-a", "tiny")
SOURCE = BaseSource(s3=S3Source(uri="s3://models/tiny"))


@pytest.fixture
def registry(store: ObjectStore) -> BaseRegistry:
    return BaseRegistry(store, "team-a", "tiny")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture
def manifest(model: Path) -> BaseManifest:
    return base_manifest(model)


def in_claim(name: str) -> BaseLocation:
    return BaseLocation(persistent_volume_claim=PersistentVolumeClaimSource(claim_name=name))


def test_a_published_base_is_resolved_read_and_fetched_as_it_was(
    registry: BaseRegistry, manifest: BaseManifest, model: Path, tmp_path: Path
) -> None:
    assert registry.resolved(SOURCE) is None
    assert registry.publish(manifest, model) == manifest
    assert registry.record_source(SOURCE, manifest.digest) == manifest.digest
    assert registry.resolved(SOURCE) == registry.read(manifest.digest) == manifest
    registry.fetch(manifest, tmp_path / "fetched")
    fetched = {path.name: path.read_bytes() for path in (tmp_path / "fetched").iterdir()}
    assert fetched == {path.name: path.read_bytes() for path in model.iterdir()}


BRANCH = BaseSource(hugging_face=HuggingFaceSource(repo="org/model", revision="main"))


def test_a_source_keeps_the_base_that_it_was_resolved_to_first(
    registry: BaseRegistry, manifest: BaseManifest, model: Path
) -> None:
    registry.publish(manifest, model)
    assert registry.record_source(BRANCH, manifest.digest) == manifest.digest
    assert registry.record_source(BRANCH, digest_of("later")) == manifest.digest


def test_a_source_whose_base_is_gone_is_not_resolved_and_may_be_resolved_to_another(
    registry: BaseRegistry, store: ObjectStore, manifest: BaseManifest, model: Path, tmp_path: Path
) -> None:
    registry.publish(manifest, model)
    registry.record_source(BRANCH, manifest.digest)
    store.delete(BaseLayout("team-a", "tiny").manifest(manifest.digest))
    assert registry.resolved(BRANCH) is None
    moved = write_model(tmp_path / "moved", fill=b"\1")
    later = registry.publish(base_manifest(moved), moved)
    assert registry.record_source(BRANCH, later.digest) == later.digest
    assert registry.resolved(BRANCH) == later


def test_the_same_content_of_another_source_is_the_same_base(
    registry: BaseRegistry, manifest: BaseManifest, model: Path
) -> None:
    registry.publish(manifest, model)
    again = manifest.model_copy(update={"source": BaseSource(s3=S3Source(uri="s3://mirror/tiny"))})
    assert registry.publish(again, model) == manifest


@pytest.mark.parametrize(
    ("first", "second", "standing"),
    [
        pytest.param(in_claim("a"), BaseLocation(registry=True), 1, id="the registry supersedes a claim"),
        pytest.param(BaseLocation(registry=True), in_claim("a"), 0, id="a claim doesn't supersede the registry"),
        pytest.param(in_claim("a"), in_claim("b"), 1, id="a claim supersedes another, which may be gone"),
    ],
)
def test_one_content_in_two_places_is_taken_from_the_surer_one(
    registry: BaseRegistry,
    manifest: BaseManifest,
    model: Path,
    first: BaseLocation,
    second: BaseLocation,
    standing: int,
) -> None:
    published = [
        registry.publish(manifest.model_copy(update={"location": location}), model) for location in (first, second)
    ]
    assert published[1].location == registry.read(manifest.digest).location == (first, second)[standing]


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
def test_an_import_that_dies_at_any_write_is_completed_by_the_next(
    config: RegistryConfig, store: ObjectStore, model: Path, tmp_path: Path, after: bool
) -> None:
    for at_write in range(1, 100):
        name = f"tiny-{at_write}"
        manifest = base_manifest(model, name=name)
        dying = BaseRegistry(DyingStore(config, at_write=at_write, after=after), "team-a", name)
        try:
            dying.publish(manifest, model)
            dying.record_source(SOURCE, manifest.digest)
        except ProcessDiedError:
            registry = BaseRegistry(store, "team-a", name)
            registry.publish(manifest, model)
            registry.record_source(SOURCE, manifest.digest)
        else:
            break
        resolved = registry.resolved(SOURCE)
        assert resolved is not None
        registry.fetch(resolved, tmp_path / name)
    # Five blobs, the manifest, the source.
    assert at_write == 8


def test_a_damaged_blob_is_never_handed_out(
    registry: BaseRegistry, store: ObjectStore, manifest: BaseManifest, model: Path, tmp_path: Path
) -> None:
    registry.publish(manifest, model)
    weights = next(file for file in manifest.files if file.path == "model.safetensors")
    store.put(LAYOUT.blob(weights.sha256), b"\7" * weights.size)
    with pytest.raises(Corrupt, match=weights.sha256):
        registry.fetch(manifest, tmp_path / "fetched")
    assert not (tmp_path / "fetched" / "model.safetensors").exists()


def test_fetching_again_repairs_what_is_damaged_and_keeps_the_rest(
    registry: BaseRegistry, manifest: BaseManifest, model: Path, tmp_path: Path
) -> None:
    registry.publish(manifest, model)
    registry.fetch(manifest, tmp_path / "fetched")
    kept = (tmp_path / "fetched" / "config.json").stat().st_ino
    (tmp_path / "fetched" / "tokenizer.json").write_text("damaged")
    registry.fetch(manifest, tmp_path / "fetched")
    assert (tmp_path / "fetched" / "config.json").stat().st_ino == kept
    assert (tmp_path / "fetched" / "tokenizer.json").read_bytes() == (model / "tokenizer.json").read_bytes()


def test_a_manifest_under_another_digest_is_corrupt(
    registry: BaseRegistry, store: ObjectStore, manifest: BaseManifest, model: Path
) -> None:
    registry.publish(manifest, model)
    other = digest_of("other")
    store.put(LAYOUT.manifest(other), manifest.to_bytes())
    with pytest.raises(Corrupt, match=manifest.digest):
        registry.read(other)
    store.put(LAYOUT.manifest(manifest.digest), manifest.to_bytes().replace(b'"layers":2', b'"layers":3'))
    with pytest.raises(Corrupt, match="weightsDigest and fingerprint"):
        registry.read(manifest.digest)


def test_a_base_that_is_not_there_is_not_found(registry: BaseRegistry) -> None:
    with pytest.raises(NotFound):
        registry.read(digest_of("nothing"))


def test_a_base_in_a_claim_uploads_nothing_and_is_not_fetched(
    registry: BaseRegistry, store: ObjectStore, manifest: BaseManifest, model: Path, tmp_path: Path
) -> None:
    published = registry.publish(manifest.model_copy(update={"location": in_claim("models")}), model)
    assert [entry.key for entry in store.list("")] == [LAYOUT.manifest(manifest.digest)]
    with pytest.raises(ValueError, match="in a claim"):
        registry.fetch(published, tmp_path / "fetched")


def test_a_manifest_of_another_base_is_refused(registry: BaseRegistry, model: Path) -> None:
    with pytest.raises(ValueError, match="team-b"):
        registry.publish(base_manifest(model, namespace="team-b"), model)
