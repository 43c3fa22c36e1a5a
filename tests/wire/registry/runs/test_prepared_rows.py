"""Prepared rows are there whole or not at all, and no more of them than are wanted."""

import logging
from pathlib import Path

import pytest

from graft_registry.digests import digest_of
from graft_registry.layout import AdapterLayout
from graft_registry.runs import prepared_rows
from graft_registry.runs.prepared_rows import PreparedRowsStore
from graft_registry.s3.store import ObjectStore
from graft_registry.versions import AdapterRegistry

FIRST, SECOND, THIRD = (digest_of(name) for name in ("first", "second", "third"))
LAYOUT = AdapterLayout("team-a", "support")


@pytest.fixture
def rows(store: ObjectStore) -> PreparedRowsStore:
    return PreparedRowsStore(store, "team-a", "support")


def prepared(folder: Path, content: str) -> Path:
    (folder / "training").mkdir(parents=True, exist_ok=True)
    (folder / "training" / "tokens").write_text(content)
    (folder / "facts.json").write_text("{}")
    return folder


def test_rows_come_back_as_they_were_kept(rows: PreparedRowsStore, tmp_path: Path) -> None:
    assert not rows.has(FIRST)
    assert not rows.restore(FIRST, tmp_path / "restored")
    rows.save(FIRST, prepared(tmp_path / "saved", "some tokens"))
    assert rows.has(FIRST)
    assert rows.restore(FIRST, tmp_path / "restored")
    assert (tmp_path / "restored" / "training" / "tokens").read_text() == "some tokens"
    assert (tmp_path / "restored" / "facts.json").read_text() == "{}"
    assert not rows.restore(SECOND, tmp_path / "other")


@pytest.mark.parametrize(
    ("key", "damage"),
    [
        pytest.param(LAYOUT.prepared_file(FIRST, "training/tokens"), b"some", id="a file that was cut short"),
        pytest.param(LAYOUT.prepared_file(FIRST, "training/tokens"), b"SOME tokens", id="a file that was changed"),
        pytest.param(LAYOUT.prepared_file(FIRST, "training/tokens"), None, id="a file that is gone"),
        pytest.param(LAYOUT.prepared_manifest(FIRST), b'{"digest": 2', id="a manifest that was cut short"),
        pytest.param(LAYOUT.prepared_manifest(FIRST), None, id="a manifest that was never written"),
    ],
)
def test_what_is_damaged_counts_as_missing_until_it_is_kept_anew(
    rows: PreparedRowsStore, store: ObjectStore, tmp_path: Path, key: str, damage: bytes | None
) -> None:
    rows.save(FIRST, prepared(tmp_path / "saved", "some tokens"))
    store.delete(key) if damage is None else store.put(key, damage)
    assert not rows.restore(FIRST, tmp_path / "restored")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["saved"]
    rows.save(FIRST, tmp_path / "saved")
    assert rows.restore(FIRST, tmp_path / "restored")


def test_rows_of_others_are_not_taken(
    rows: PreparedRowsStore, store: ObjectStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows.save(FIRST, prepared(tmp_path / "saved", "some tokens"))
    store.put(LAYOUT.prepared_manifest(SECOND), store.get(LAYOUT.prepared_manifest(FIRST)))
    with caplog.at_level(logging.WARNING):
        assert not rows.restore(SECOND, tmp_path / "restored")
    assert "prepared rows are damaged" in caplog.text


def test_the_newest_are_kept_and_nothing_of_the_others(
    rows: PreparedRowsStore, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for second, digest in enumerate((SECOND, THIRD, FIRST)):
        monkeypatch.setattr(prepared_rows, "timestamp", lambda second=second: f"2026-01-01T00:00:0{second}Z")
        rows.save(digest, prepared(tmp_path / "saved", digest))
    unfinished = digest_of("a pod that was killed")
    store.put(LAYOUT.prepared_file(unfinished, "training/tokens"), b"half")
    rows.prune(2)
    kept = {LAYOUT.prepared_digest(entry.key) for entry in store.list(LAYOUT.prepared_rows)}
    assert kept == {THIRD, FIRST}
    assert rows.restore(THIRD, tmp_path / "restored")
    with pytest.raises(ValueError, match="keep must be at least 1"):
        rows.prune(0)


def test_rows_go_with_their_adapter(rows: PreparedRowsStore, store: ObjectStore, tmp_path: Path) -> None:
    rows.save(FIRST, prepared(tmp_path / "saved", "some tokens"))
    AdapterRegistry(store, "team-a", "support").delete_all()
    assert list(store.list(LAYOUT.prepared_rows)) == []
