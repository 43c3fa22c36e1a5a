"""Nothing below an adapter's prefix is trusted: keys of others, damaged documents, verdicts on other versions."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.registry.builders import version_draft
from tests.unit.registry_in_memory import InMemoryStore, publish

from graft_registry import versions
from graft_registry.digests import digest_of
from graft_registry.documents import StoredVersion, VersionVerdict
from graft_registry.errors import Corrupt, NotFound, VersionConflict
from graft_registry.layout import AdapterLayout
from graft_registry.s3 import stored_documents
from graft_registry.verdicts import VerdictRegistry
from graft_registry.versions import AdapterRegistry

LAYOUT = AdapterLayout("team-a", "support")
DAMAGE = [
    pytest.param(b"", id="empty"),
    pytest.param(b"not JSON", id="not JSON"),
    pytest.param(b"[]", id="a list"),
    pytest.param(b"\xff\xfe", id="not text"),
    pytest.param(b'{"schema": "graft.dev/version/v2"}', id="of a later schema"),
    pytest.param(b"[" * 100_000, id="without an end"),
    pytest.param(b"[" + b"[]," * 300_000 + b"[]]", id="nothing but lists"),
    pytest.param(b" " * (5 << 20), id="huge"),
]


class Registry:
    def __init__(self) -> None:
        self.store = InMemoryStore()
        self.versions = AdapterRegistry(self.store, "team-a", "support")
        self.verdicts = VerdictRegistry(self.store, "team-a", "support")

    def publish(self, recipe: str, **fields: Any) -> StoredVersion:
        return publish(self.store, version_draft(recipe, **fields))


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_version_stands_in_nobodys_way(registry: Registry, damage: bytes) -> None:
    published = [registry.publish(name) for name in ("first", "second", "third")]
    registry.store.put(LAYOUT.manifest(2), damage)
    registry.store.delete(LAYOUT.pointer(published[2].manifest.recipe))
    with pytest.raises(Corrupt, match=LAYOUT.manifest(2)):
        registry.versions.read(2)
    assert registry.versions.find(published[2].manifest.recipe) == published[2]
    assert registry.versions.find(published[1].manifest.recipe) is None
    assert registry.versions.newest(10) == (published[2], published[0])
    registry.versions.delete_version(1)
    registry.versions.delete_version(2)
    assert registry.versions.numbers() == (3,)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_document_of_any_other_kind_is_as_none(registry: Registry, damage: bytes) -> None:
    stored = registry.publish("first")
    recipe = stored.manifest.recipe
    for key in (LAYOUT.pointer(recipe), LAYOUT.progress(recipe), LAYOUT.verdict(1)):
        registry.store.put(key, damage)
    assert registry.versions.read_progress(recipe) is None
    assert registry.versions.find(recipe) == stored
    assert registry.verdicts.read_all() == {}


def test_an_answer_that_was_cut_short_once_is_asked_for_again(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = registry.publish("first")
    whole = registry.store.get(LAYOUT.manifest(1))
    answers = [whole[:100], whole]
    monkeypatch.setattr(registry.store, "get", lambda key, most: answers.pop(0))
    assert registry.versions.read(1) == stored


@pytest.mark.parametrize(
    "key",
    [
        "versions/٠٠٠٠٠٠٠١/manifest.json",  # noqa: RUF001 -- digits, but not ours
        "versions/1/manifest.json",
        "versions/00000001/manifest.json.bak",
        "versions/00000001/other/manifest.json",
        "versions/000000001/manifest.json",
        "verdicts/00000001.json",
    ],
)
def test_keys_that_are_no_version_count_as_none(registry: Registry, key: str) -> None:
    registry.store.put(LAYOUT.root + key, b"{}")
    assert registry.versions.numbers() == ()
    assert registry.publish("first").manifest.number == 1


def test_more_keys_than_trainings_make_are_told_and_deleted_with_the_adapter(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_documents, "_MOST_KEYS", 5)
    for number in range(1, 7):
        registry.store.put(LAYOUT.manifest(number), b"{}")
    with pytest.raises(Corrupt, match="at most 5 objects"):
        registry.versions.numbers()
    registry.versions.delete_all()
    assert registry.store.objects == {}


def test_a_number_after_which_none_is_left_is_told_with_its_key(registry: Registry) -> None:
    registry.store.put(LAYOUT.manifest(99_999_999), b"{}")
    with pytest.raises(VersionConflict, match=LAYOUT.manifest(99_999_999)):
        registry.publish("first")


def test_a_manifest_that_could_not_be_read_again_is_not_published(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "MANIFEST_BYTES", 100)
    with pytest.raises(ValueError, match=r"evaluation\.probes"):
        registry.publish("first")
    assert registry.store.objects == {}


def test_the_digest_of_a_manifest_is_known_without_understanding_it(registry: Registry) -> None:
    stored = registry.publish("first")
    assert registry.versions.digest(1) == stored.digest
    with pytest.raises(NotFound):
        registry.versions.digest(2)


def verdict(number: int, state: str = "RolledBack", message: str = "slow") -> VersionVerdict:
    return VersionVerdict(
        number=number, manifest_digest=digest_of(number), state=state, message=message, time="2026-01-01T00:00:00Z"
    )


def test_the_newest_verdict_on_a_version_counts_and_goes_with_it(registry: Registry) -> None:
    for name in ("first", "second"):
        registry.publish(name)
    registry.verdicts.record(verdict(1))
    registry.verdicts.record(verdict(2, "Refused"))
    registry.verdicts.record(verdict(2, "Cleared"))
    assert registry.verdicts.read_all() == {1: verdict(1), 2: verdict(2, "Cleared")}
    assert registry.versions.numbers() == (1, 2)
    registry.versions.delete_version(1)
    assert registry.verdicts.read_all() == {2: verdict(2, "Cleared")}
    registry.versions.delete_all()
    assert registry.store.objects == {}


def test_a_word_of_a_later_release_is_a_verdict_too(registry: Registry) -> None:
    registry.verdicts.record(verdict(1, "Quarantined"))
    assert registry.verdicts.read_all()[1].state == "Quarantined"


def test_long_words_on_a_version_are_cut(registry: Registry) -> None:
    registry.verdicts.record(verdict(1, message="x" * 3_000_000))
    assert registry.verdicts.read_all()[1].message == "x" * 4096


def test_a_verdict_under_another_number_is_none(registry: Registry) -> None:
    registry.store.put(LAYOUT.verdict(2), verdict(1).to_bytes())
    assert registry.verdicts.read_all() == {}
