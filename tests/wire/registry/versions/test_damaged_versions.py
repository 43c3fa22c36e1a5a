"""What is lost or damaged in the bucket is found, never handed out, and mended where it can be."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.registry.builders import version_draft

from graft_registry.digests import digest_of
from graft_registry.documents import StoredFile
from graft_registry.errors import Corrupt, NotFound, Unsafe
from graft_registry.layout import AdapterLayout
from graft_registry.s3.store import ObjectStore
from graft_registry.versions import AdapterRegistry, StoredVersion

LAYOUT = AdapterLayout("team-a", "support")


@pytest.fixture
def registry(store: ObjectStore) -> AdapterRegistry:
    return AdapterRegistry(store, "team-a", "support")


def test_a_lost_pointer_is_found_by_scanning_and_repaired(
    registry: AdapterRegistry, store: ObjectStore, adapter: Path
) -> None:
    registry.publish(version_draft("earlier"), adapter)
    published = registry.publish(version_draft(), adapter)
    pointer = LAYOUT.pointer(version_draft().recipe)
    store.delete(pointer)
    assert registry.find(version_draft().recipe) == published
    assert store.exists(pointer)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(b"not JSON", id="a pointer that isn't JSON"),
        pytest.param(b'{"schema": "graft.dev/recipe/v1"}', id="a pointer without its fields"),
        pytest.param(
            f'{{"recipe": "{digest_of("recipe")}", "number": 99, "manifestDigest": "{digest_of(1)}"}}'.encode(),
            id="a pointer to a version that is gone",
        ),
    ],
)
def test_a_damaged_pointer_is_only_an_index_and_is_repaired(
    registry: AdapterRegistry, store: ObjectStore, adapter: Path, damage: bytes
) -> None:
    published = registry.publish(version_draft(), adapter)
    pointer = LAYOUT.pointer(version_draft().recipe)
    intact = store.get(pointer)
    store.put(pointer, damage)
    assert registry.find(version_draft().recipe) == published
    assert store.get(pointer) == intact


def test_a_damaged_manifest_hides_no_other_version_and_keeps_its_number(
    registry: AdapterRegistry, store: ObjectStore, adapter: Path
) -> None:
    registry.publish(version_draft("first"), adapter)
    second = registry.publish(version_draft("second"), adapter)
    store.put(LAYOUT.manifest(1), b"{}")
    store.delete(LAYOUT.pointer(second.manifest.recipe))
    assert registry.find(second.manifest.recipe) == second
    assert registry.publish(version_draft("third"), adapter).manifest.number == 3


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-1], id="a blob that was cut short"),
        pytest.param(lambda data: data[:-1] + b"\7", id="a blob with a changed byte"),
        pytest.param(lambda data: data + b"\0", id="a blob that grew"),
    ],
)
def test_a_damaged_blob_is_never_handed_out(
    registry: AdapterRegistry, store: ObjectStore, adapter: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    published = registry.publish(version_draft(), adapter)
    key = LAYOUT.blob(published.manifest.files[1].sha256)
    store.put(key, damage(store.get(key)))
    with pytest.raises(Corrupt, match=published.manifest.files[1].sha256):
        registry.fetch(published, tmp_path / "fetched")
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"], "a failed fetch leaves nothing behind"


def test_a_blob_that_is_gone_is_not_found(registry: AdapterRegistry, store: ObjectStore, adapter: Path) -> None:
    published = registry.publish(version_draft(), adapter)
    store.delete(LAYOUT.blob(published.manifest.files[0].sha256))
    with pytest.raises(NotFound):
        registry.fetch(published, adapter.parent / "fetched")


def test_a_damaged_blob_of_the_right_size_is_replaced_by_the_next_publication(
    registry: AdapterRegistry, store: ObjectStore, adapter: Path, tmp_path: Path
) -> None:
    first = registry.publish(version_draft("first"), adapter)
    key = LAYOUT.blob(first.manifest.files[1].sha256)
    store.put(key, b"\7" * first.manifest.files[1].size)
    second = registry.publish(version_draft("second"), adapter)
    registry.fetch(second, tmp_path / "second")
    registry.fetch(first, tmp_path / "first")


def test_a_manifest_with_another_digest_is_corrupt(registry: AdapterRegistry, adapter: Path) -> None:
    registry.publish(version_draft(), adapter)
    with pytest.raises(Corrupt, match=digest_of("another")):
        registry.read(1, digest_of("another"))


def test_a_manifest_of_another_adapter_is_corrupt(registry: AdapterRegistry, store: ObjectStore, adapter: Path) -> None:
    sibling = AdapterRegistry(store, "team-a", "sales").publish(version_draft(adapter="sales"), adapter)
    store.put(LAYOUT.manifest(1), sibling.manifest.to_bytes())
    with pytest.raises(Corrupt, match="sales"):
        registry.read(1)


def test_a_version_that_is_not_there_is_not_found(registry: AdapterRegistry) -> None:
    with pytest.raises(NotFound):
        registry.read(1)


@pytest.mark.parametrize(
    "path", ["../outside.safetensors", "/etc/passwd", "merged/../../outside.json", ".hidden", "a\\b", ""]
)
def test_a_manifest_that_names_a_path_outside_is_corrupt(
    registry: AdapterRegistry, store: ObjectStore, adapter: Path, path: str
) -> None:
    published = registry.publish(version_draft(), adapter)
    evil = published.manifest.to_dict()
    evil["files"][0]["path"] = path
    store.put(LAYOUT.manifest(1), json.dumps(evil).encode())
    with pytest.raises(Corrupt, match="files"):
        registry.read(1)


def test_a_manifest_that_names_a_file_off_the_allow_list_is_not_fetched(
    registry: AdapterRegistry, adapter: Path, tmp_path: Path
) -> None:
    published = registry.publish(version_draft(), adapter)
    pickle = StoredFile(path="adapter_model.bin", size=1, sha256="0" * 64)
    evil = published.manifest.model_copy(update={"files": (pickle,)})
    with pytest.raises(Unsafe, match=r"adapter_model\.bin"):
        registry.fetch(StoredVersion(evil, published.digest), tmp_path / "fetched")


def test_fetching_twice_verifies_what_is_there(registry: AdapterRegistry, adapter: Path, tmp_path: Path) -> None:
    published = registry.publish(version_draft(), adapter)
    registry.fetch(published, tmp_path / "fetched")
    registry.fetch(published, tmp_path / "fetched")
    (tmp_path / "fetched" / "adapter_config.json").write_text("{}")
    with pytest.raises(Corrupt, match=r"adapter_config\.json"):
        registry.fetch(published, tmp_path / "fetched")
