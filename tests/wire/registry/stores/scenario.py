"""What Graft does with a registry in a life: the same on every store."""

from __future__ import annotations

from pathlib import Path

from tests.unit.registry.builders import base_manifest, version_draft, write_adapter, write_model

from graft_registry.bases import BaseRegistry
from graft_registry.digests import digest_of, file_sha256
from graft_registry.documents import BaseSource, S3Source, VersionVerdict, timestamp
from graft_registry.runs.checkpoints import CheckpointStore
from graft_registry.s3.store import ObjectStore
from graft_registry.verdicts import VerdictRegistry
from graft_registry.versions import AdapterRegistry

SOURCE = BaseSource(s3=S3Source(uri="s3://models/tiny"))
NAMESPACE = "team-a"


def live(store: ObjectStore, folder: Path) -> None:
    """Import, train, judge, serve and delete; whatever is not as it was stored fails."""
    _import(store, folder)
    _train(store, folder)
    _publish(store, folder)
    _keep_a_large_file(store, folder)


def _import(store: ObjectStore, folder: Path) -> None:
    model = write_model(folder / "model")
    bases, manifest = BaseRegistry(store, NAMESPACE, "tiny"), base_manifest(model)
    assert bases.resolved(SOURCE) is None
    assert bases.publish(manifest, model) == manifest
    assert bases.record_source(SOURCE, manifest.digest) == manifest.digest
    assert bases.record_source(SOURCE, digest_of("another")) == manifest.digest, "a source is resolved once and for all"
    bases.fetch(manifest, folder / "base")
    assert _content(folder / "base") == _content(model)


def _train(store: ObjectStore, folder: Path) -> None:
    checkpoints = CheckpointStore(store, NAMESPACE, "support", version_draft().recipe)
    for step in (1, 2, 3):
        state = folder / f"step-{step}"
        state.mkdir()
        (state / "optimizer.bin").write_bytes(bytes([step]) * 1000)
        checkpoints.save(step, state)
        checkpoints.prune(keep=2)
    assert checkpoints.steps() == (2, 3)
    assert checkpoints.restore_latest(folder / "resumed") == 3
    assert _content(folder / "resumed") == {"optimizer.bin": bytes([3]) * 1000}
    checkpoints.clear()
    assert checkpoints.steps() == ()


def _publish(store: ObjectStore, folder: Path) -> None:
    adapter = write_adapter(folder / "adapter")
    registry, verdicts = AdapterRegistry(store, NAMESPACE, "support"), VerdictRegistry(store, NAMESPACE, "support")
    first = registry.publish(version_draft(), adapter)
    assert registry.publish(version_draft(seed=43), adapter) == first, "one recipe, one version"
    second = registry.publish(version_draft(recipe=digest_of("second")), adapter)
    assert registry.numbers() == (1, 2)
    assert registry.find(second.manifest.recipe) == second
    registry.fetch(second, folder / "served")
    assert _content(folder / "served") == _content(adapter)
    verdict = VersionVerdict(number=1, manifest_digest=first.digest, state="Refused", time=timestamp())
    verdicts.record(verdict)
    assert verdicts.read_all() == {1: verdict}
    registry.delete_version(1)
    assert registry.numbers() == (2,)
    registry.delete_all()
    assert [entry.key for entry in store.list(f"{NAMESPACE}/adapters/")] == []


def _keep_a_large_file(store: ObjectStore, folder: Path) -> None:
    """Send and fetch a file in parts: the caller has made those small."""
    large = folder / "large"
    large.write_bytes(bytes(range(256)) * (24 << 10))
    size, sha256 = large.stat().st_size, file_sha256(large)
    key = f"{NAMESPACE}/bases/tiny/blobs/sha256/{sha256}"
    store.upload_file(large, key, sha256=sha256, size=size)
    store.download_file(key, folder / "copy", sha256=sha256, size=size)
    store.delete(key)
    assert not store.exists(key)


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
