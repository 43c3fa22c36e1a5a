"""The promises of a published version, against real S3 servers."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.unit.registry.builders import version_draft, write_adapter
from tests.wire.registry.faults import DyingStore, ProcessDiedError, lose_answers_to_writes

from graft_registry.config import RegistryConfig
from graft_registry.digests import digest_of
from graft_registry.documents import Progress, timestamp
from graft_registry.errors import Unsafe, VersionConflict
from graft_registry.layout import AdapterLayout
from graft_registry.s3.store import ObjectStore
from graft_registry.versions import AdapterRegistry, StoredVersion

LAYOUT = AdapterLayout("team-a", "support")
PUBLISHERS = 16


@pytest.fixture
def registry(store: ObjectStore) -> AdapterRegistry:
    return AdapterRegistry(store, "team-a", "support")


def keys(store: ObjectStore) -> set[str]:
    return {entry.key for entry in store.list("")}


def test_a_published_version_is_found_read_and_fetched_as_it_was(
    registry: AdapterRegistry, adapter: Path, tmp_path: Path
) -> None:
    published = registry.publish(version_draft(), adapter)
    assert published.manifest.number == 1
    assert registry.find(version_draft().recipe) == published
    assert registry.read(1, published.digest) == published
    registry.fetch(published, tmp_path / "fetched")
    fetched = {path.name: path.read_bytes() for path in (tmp_path / "fetched").iterdir()}
    assert fetched == {path.name: path.read_bytes() for path in adapter.iterdir()}
    assert published.engine_name == f"support--v1-{published.digest[7:15]}"


def test_publishing_a_recipe_again_returns_the_first_version_and_writes_nothing(
    registry: AdapterRegistry, store: ObjectStore, adapter: Path, tmp_path: Path
) -> None:
    first = registry.publish(version_draft(), adapter)
    before = keys(store)
    again = registry.publish(version_draft(seed=43), write_adapter(tmp_path / "other", fill=b"\1"))
    assert again == first
    assert keys(store) == before


def race(store: ObjectStore, recipes: list[str], directories: list[Path]) -> list[StoredVersion]:
    start = threading.Barrier(len(recipes))

    def publish(recipe: str, directory: Path, publisher: int) -> StoredVersion:
        registry = AdapterRegistry(store, "team-a", "support")
        start.wait(timeout=120)
        return registry.publish(version_draft(recipe, uid=f"publisher-{publisher}"), directory)

    with ThreadPoolExecutor(len(recipes)) as pool:
        return list(pool.map(publish, recipes, directories, range(len(recipes))))


def test_racing_publishers_of_one_recipe_make_one_version(
    store: ObjectStore, registry: AdapterRegistry, tmp_path: Path
) -> None:
    directories = [write_adapter(tmp_path / str(n), fill=bytes([n])) for n in range(PUBLISHERS)]
    published = race(store, ["same"] * PUBLISHERS, directories)
    assert registry.numbers() == (1,)
    assert set(map(repr, published)) == {repr(registry.read(1))}


def test_racing_publishers_of_different_recipes_get_dense_numbers(
    store: ObjectStore, registry: AdapterRegistry, adapter: Path
) -> None:
    recipes = [f"recipe-{n}" for n in range(PUBLISHERS)]
    published = race(store, recipes, [adapter] * PUBLISHERS)
    assert registry.numbers() == tuple(range(1, PUBLISHERS + 1))
    assert {version.manifest.recipe for version in published} == {digest_of(recipe) for recipe in recipes}


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
def test_a_publisher_that_dies_at_any_write_is_completed_by_the_next(
    config: RegistryConfig, registry: AdapterRegistry, adapter: Path, tmp_path: Path, after: bool
) -> None:
    for at_write in range(1, 100):
        draft = version_draft(f"dies at {at_write}")
        dying = DyingStore(config, at_write=at_write, after=after)
        try:
            AdapterRegistry(dying, "team-a", "support").publish(draft, adapter)
        except ProcessDiedError:
            completed = registry.publish(draft, adapter)
        else:
            break
        assert completed == registry.find(draft.recipe)
        registry.fetch(completed, tmp_path / f"fetched-{at_write}")
    # Two blobs, the manifest, the pointer: every write was a place to die, and no death cost or doubled a number.
    assert at_write == 5
    assert registry.numbers() == (1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    "lost", [1, 4], ids=["a repeated request meets its own first write", "no request is ever answered"]
)
def test_a_version_whose_commit_was_not_answered_is_still_published_once(
    registry: AdapterRegistry, store: ObjectStore, adapter: Path, lost: int
) -> None:
    lose_answers_to_writes(store, of="manifest.json", how_many=lost)
    published = registry.publish(version_draft(), adapter)
    assert registry.numbers() == (1,)
    assert registry.find(version_draft().recipe) == published


def test_deleting_a_version_keeps_the_files_that_others_share(
    registry: AdapterRegistry, store: ObjectStore, adapter: Path, tmp_path: Path
) -> None:
    first = registry.publish(version_draft("first"), adapter)
    second = registry.publish(version_draft("second"), write_adapter(tmp_path / "second", fill=b"\2"))
    registry.delete_version(1)
    assert registry.numbers() == (2,)
    assert registry.find(first.manifest.recipe) is None
    registry.fetch(second, tmp_path / "fetched")
    shared, own = (LAYOUT.blob(file.sha256) for file in first.manifest.files)
    assert store.exists(shared)
    assert not store.exists(own)


def test_the_newest_version_cannot_be_deleted_since_its_number_would_be_used_again(
    registry: AdapterRegistry, adapter: Path
) -> None:
    registry.publish(version_draft(), adapter)
    with pytest.raises(VersionConflict, match="newest"):
        registry.delete_version(1)


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
def test_a_deletion_that_dies_at_any_write_never_leaves_a_version_in_part(
    config: RegistryConfig, registry: AdapterRegistry, adapter: Path, tmp_path: Path, after: bool
) -> None:
    for at_write in range(1, 100):
        mine = write_adapter(tmp_path / str(at_write), fill=bytes([at_write]))
        doomed = registry.publish(version_draft(f"doomed {at_write}"), mine)
        registry.publish(version_draft(f"newer {at_write}"), adapter)
        dying = DyingStore(config, at_write=at_write, after=after)
        try:
            AdapterRegistry(dying, "team-a", "support").delete_version(doomed.manifest.number)
        except ProcessDiedError:
            if (found := registry.find(doomed.manifest.recipe)) is not None:
                registry.fetch(found, tmp_path / f"fetched-{at_write}")
        else:
            break
    # Manifest, verdict, pointer, the one blob of its own.
    assert at_write == 5


def test_deleting_an_adapter_leaves_its_siblings_alone(
    registry: AdapterRegistry, store: ObjectStore, adapter: Path
) -> None:
    registry.publish(version_draft(), adapter)
    sibling = AdapterRegistry(store, "team-a", "support-2")
    published = sibling.publish(version_draft(adapter="support-2"), adapter)
    registry.delete_all()
    assert registry.numbers() == ()
    assert all(key.startswith("team-a/adapters/support-2/") for key in keys(store))
    sibling.fetch(published, adapter.parent / "fetched")


def test_a_draft_of_another_adapter_is_refused(registry: AdapterRegistry, adapter: Path) -> None:
    with pytest.raises(ValueError, match="team-b"):
        registry.publish(version_draft(namespace="team-b"), adapter)


def test_nothing_unsafe_is_published_not_even_in_part(
    registry: AdapterRegistry, store: ObjectStore, adapter: Path
) -> None:
    (adapter / "training_args.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(Unsafe, match=r"training_args\.bin"):
        registry.publish(version_draft(), adapter)
    assert keys(store) == set()


def test_progress_is_replaced_and_read_back(registry: AdapterRegistry, store: ObjectStore) -> None:
    recipe = version_draft().recipe
    assert registry.read_progress(recipe) is None
    for step in (1, 2):
        registry.write_progress(
            Progress(recipe=recipe, state="Training", step=step, loss=2.5, updated_time=timestamp())
        )
    progress = registry.read_progress(recipe)
    assert progress is not None
    assert (progress.step, progress.loss) == (2, 2.5)
    store.put(LAYOUT.progress(recipe), b"half a docum")
    assert registry.read_progress(recipe) is None
