"""A resume starts from a whole checkpoint or from none."""

import logging
from pathlib import Path

import pytest
from tests.wire.registry.faults import DyingStore, ProcessDiedError

from graft_registry.config import RegistryConfig
from graft_registry.digests import digest_of
from graft_registry.errors import Corrupt
from graft_registry.layout import AdapterLayout
from graft_registry.runs.checkpoints import CheckpointStore
from graft_registry.s3.store import ObjectStore

RECIPE = digest_of("recipe")
LAYOUT = AdapterLayout("team-a", "support")


@pytest.fixture
def checkpoints(store: ObjectStore) -> CheckpointStore:
    return CheckpointStore(store, "team-a", "support", RECIPE)


def write_checkpoint(directory: Path, content: str) -> Path:
    (directory / "nested").mkdir(parents=True, exist_ok=True)
    (directory / "optimizer.pt").write_text(content)
    (directory / "manifest.json").write_text(f"a trainer's own file with a taken name, {content}")
    (directory / "nested" / "state.json").write_text(content)
    return directory


def content_of(directory: Path) -> str:
    return (directory / "nested" / "state.json").read_text()


def test_the_newest_checkpoint_is_restored_as_it_was_saved(checkpoints: CheckpointStore, tmp_path: Path) -> None:
    for step in (10, 9, 100):
        checkpoints.save(step, write_checkpoint(tmp_path / "saved", f"step {step}"))
    assert checkpoints.steps() == (9, 10, 100)
    assert checkpoints.restore_latest(tmp_path / "restored") == 100
    restored = {path.relative_to(tmp_path / "restored"): path for path in (tmp_path / "restored").rglob("*.*")}
    for path in (tmp_path / "saved").rglob("*.*"):
        assert restored.pop(path.relative_to(tmp_path / "saved")).read_bytes() == path.read_bytes()
    assert restored == {}


def test_without_a_checkpoint_nothing_is_restored(checkpoints: CheckpointStore, tmp_path: Path) -> None:
    assert checkpoints.restore_latest(tmp_path / "restored") is None
    assert not (tmp_path / "restored").exists()


@pytest.mark.parametrize(
    ("key", "damage"),
    [
        pytest.param(LAYOUT.checkpoint_file(RECIPE, 2, "optimizer.pt"), b"ste", id="a file that was cut short"),
        pytest.param(LAYOUT.checkpoint_file(RECIPE, 2, "optimizer.pt"), None, id="a file that is gone"),
        pytest.param(LAYOUT.checkpoint_manifest(RECIPE, 2), b'{"step": 2', id="a manifest that was cut short"),
        pytest.param(LAYOUT.checkpoint_manifest(RECIPE, 2), None, id="a manifest that was never written"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    checkpoints: CheckpointStore, store: ObjectStore, tmp_path: Path, key: str, damage: bytes | None
) -> None:
    for step in (1, 2):
        checkpoints.save(step, write_checkpoint(tmp_path / "saved", f"step {step}"))
    store.delete(key) if damage is None else store.put(key, damage)
    assert checkpoints.restore_latest(tmp_path / "restored") == 1
    assert content_of(tmp_path / "restored") == "step 1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["restored", "saved"]


def test_passing_over_a_checkpoint_is_logged(
    checkpoints: CheckpointStore, store: ObjectStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints.save(7, write_checkpoint(tmp_path / "saved", "step 7"))
    store.put(LAYOUT.checkpoint_file(RECIPE, 7, "optimizer.pt"), b"")
    with caplog.at_level(logging.WARNING):
        assert checkpoints.restore_latest(tmp_path / "restored") is None
    assert "checkpoint skipped step=7" in caplog.text


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
def test_a_trainer_that_dies_while_it_saves_a_step_again_leaves_a_whole_checkpoint(
    config: RegistryConfig, checkpoints: CheckpointStore, tmp_path: Path, after: bool
) -> None:
    first = write_checkpoint(tmp_path / "first", "first")
    again = write_checkpoint(tmp_path / "again", "again")
    for at_write in range(1, 100):
        checkpoints.save(1, first)
        checkpoints.save(2, first)
        dying = DyingStore(config, at_write=at_write, after=after)
        try:
            CheckpointStore(dying, "team-a", "support", RECIPE).save(2, again)
        except ProcessDiedError:
            step = checkpoints.restore_latest(tmp_path / f"restored-{at_write}")
        else:
            break
        assert step in (1, 2)
        contents = {path.read_text()[-5:] for path in (tmp_path / f"restored-{at_write}").rglob("*.*")}
        assert len(contents) == 1, "a restored checkpoint is never a mixture"
    # The old manifest, three files, the new manifest.
    assert at_write == 6


def test_pruning_keeps_the_newest(checkpoints: CheckpointStore, store: ObjectStore, tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoints.save(step, write_checkpoint(tmp_path / "saved", f"step {step}"))
    checkpoints.prune()
    assert checkpoints.steps() == (2, 3)
    assert not list(store.list(LAYOUT.checkpoint(RECIPE, 1)))
    with pytest.raises(ValueError, match="keep must be at least 1"):
        checkpoints.prune(keep=0)


def test_what_is_newer_than_the_step_that_was_just_saved_is_dropped_and_takes_no_place(
    checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    """A run that has skipped damaged checkpoints comes by their steps again, or stops before it does."""
    for step in (1, 2, 8, 9):
        checkpoints.save(step, write_checkpoint(tmp_path / "saved", f"step {step}"))
    checkpoints.prune(newest=2)
    assert checkpoints.steps() == (1, 2)


def test_a_checkpoint_that_its_user_cannot_go_on_from_is_passed_over(
    checkpoints: CheckpointStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def accept(step: int, folder: Path) -> None:
        if content_of(folder) == "step 2":
            raise ValueError(f"step {step} makes no sense")

    for step in (1, 2):
        checkpoints.save(step, write_checkpoint(tmp_path / "saved", f"step {step}"))
    assert checkpoints.restore_latest(tmp_path / "restored", accept) == 1
    assert content_of(tmp_path / "restored") == "step 1"
    assert "step 2 makes no sense" in caplog.text
    with pytest.raises(Corrupt, match="step 2 makes no sense"):
        checkpoints.restore(2, tmp_path / "again", accept)


def test_clearing_removes_one_run_only(checkpoints: CheckpointStore, store: ObjectStore, tmp_path: Path) -> None:
    other = CheckpointStore(store, "team-a", "support", digest_of("other"))
    for run in (checkpoints, other):
        run.save(1, write_checkpoint(tmp_path / "saved", "step 1"))
    checkpoints.clear()
    assert checkpoints.steps() == ()
    assert other.steps() == (1,)
