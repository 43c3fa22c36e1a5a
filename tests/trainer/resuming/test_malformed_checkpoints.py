"""Checkpoints that a run can't go on from are skipped for the one before, whatever is wrong with them."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.trainer.conftest import Pod

from graft_registry.layout import AdapterLayout

GOOD, BAD = 4, 9
"""Steps of the checkpoint that a run has stored, and of the newer one that something is wrong with."""


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (str(self.witness),)


def edited(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Change a JSON file of the checkpoint."""

    def edit(folder: Path) -> None:
        document = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(change(document)))

    return edit


def overwritten(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: overwrite(folder / name, content)


def overwrite(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def removed(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: overwrite(folder / name, (folder / name).read_bytes()[:-10])


def without(key: str) -> Callable[[Any], Any]:
    return lambda document: {name: value for name, value in document.items() if name != key}


def pickled(name: str) -> Callable[[Path], None]:
    return lambda folder: overwrite(folder / name, pickle.dumps(Payload(folder.parent / "witness")))


FOLDERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a foreign file": (overwritten("notes.txt", b"hello"), "files that do not belong there: ['notes.txt']"),
    "a pickle for the optimizer": (pickled("optimizer.pt"), "do not belong there: ['optimizer.pt']"),
    "a pickle for the random state": (pickled("rng_state.pth"), "do not belong there: ['rng_state.pth']"),
    "a pickle for the adapter": (pickled("adapter_model.bin"), "do not belong there: ['adapter_model.bin']"),
    "a pickle in place of the state": (pickled("training_state.json"), "codec can't decode"),
    "no optimizer": (edited("training_state.json", without("optimizer")), "needs the parts ['optimizer', 'random'"),
    "no trainer state": (removed("trainer_state.json"), "it lacks ['trainer_state.json']"),
    "no tensors": (removed("training_state.safetensors"), "it lacks ['training_state.safetensors']"),
    "another step": (edited("trainer_state.json", lambda state: state | {"global_step": 7}), "was at step 7"),
    "no step": (edited("trainer_state.json", without("global_step")), "KeyError: 'global_step'"),
    "state cut short": (cut("training_state.json"), "(char "),
    "adapter cut short": (cut("adapter_model.safetensors"), "InvalidModel"),
    "an absurd header": (overwritten("training_state.safetensors", b"\xff" * 64), "InvalidModel"),
    "state nested too deep": (overwritten("training_state.json", b"[" * 100_000), "RecursionError"),
    "state of another kind": (overwritten("run_state.json", b"[1]"), "TypeError"),
    "state of another version": (edited("run_state.json", lambda state: state | {"new": 1}), "TypeError"),
    "a tensor that is not there": (
        edited("training_state.json", lambda tree: tree | {"optimizer": {"$tensor": "/nowhere"}}),
        "there is no tensor '/nowhere'",
    ),
    "a mark that nobody knows": (
        edited("training_state.json", lambda tree: tree | {"optimizer": {"$code": "1"}}),
        "unknown mark among ['$code']",
    ),
    "two workers' random states": (
        edited("training_state.json", lambda tree: tree | {"random": tree["random"] * 2}),
        "not written by 1 workers",
    ),
}


def replaced(old: str, new: str) -> Callable[[Pod], None]:
    """Change the manifest's text in the bucket."""

    def replace(pod: Pod) -> None:
        key = layout(pod).checkpoint_manifest(pod.config["recipe"], BAD)
        text = pod.store.get(key).decode()
        assert old in text
        pod.store.put(key, text.replace(old, new).encode())

    return replace


def file_key(pod: Pod) -> str:
    return layout(pod).checkpoint_file(pod.config["recipe"], BAD, "adapter_model.safetensors")


BUCKETS: dict[str, tuple[Callable[[Pod], None], str]] = {
    "a file is cut short": (
        lambda pod: pod.store.put(file_key(pod), pod.store.get(file_key(pod))[:-10]),
        "adapter_model.safetensors is corrupt",
    ),
    "a file is gone": (lambda pod: pod.store.delete(file_key(pod)), "adapter_model.safetensors"),
    "the manifest is no JSON": (
        replaced(
            "{",
            "",
        ),
        "graft.dev/checkpoint/v1",
    ),
    "the manifest is of another step": (replaced(f'"step":{BAD}', '"step":8'), "found step 8"),
    "the manifest is of another recipe": (replaced('"recipe":"sha256:', '"recipe":"sha256:0'), "checkpoint"),
    "the manifest leads out of its folder": (replaced('"adapter_config.json"', '"../../etc/passwd"'), "checkpoint"),
}


def layout(pod: Pod) -> AdapterLayout:
    return AdapterLayout(pod.config["namespace"], pod.config["adapter"])


def stop_after_its_last_step(pod: Pod) -> Pod:
    """Let the run make its last step, store a checkpoint and die."""
    from graft_trainer import pipeline

    def dies(*_: object, **__: object) -> None:
        raise RuntimeError("the node is gone")

    pod.config["training"]["maxSteps"] = GOOD
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "questions_of", dies)
        assert pod.run() == 1
    assert pod.checkpoints.steps() == (GOOD,)
    return pod


@pytest.fixture(scope="session")
def stopped(new_pod: Callable[[str], Pod]) -> Pod:
    """A run that stopped after its last step; once, even if other tests come between."""
    return stop_after_its_last_step(new_pod("stopped"))


@pytest.fixture
def newer(stopped: Pod, tmp_path: Path) -> Path:
    """A folder from which a whole checkpoint of a later step could be stored."""
    return newer_checkpoint_of(stopped, tmp_path / "newer")


def newer_checkpoint_of(pod: Pod, folder: Path) -> Path:
    pod.checkpoints.restore(GOOD, folder)
    edited("trainer_state.json", lambda state: state | {"global_step": BAD})(folder)
    return folder


def restored(pod: Pod, folder: Path) -> str:
    """Restore as a run does, and return the name of the checkpoint that it would go on from."""
    from graft_trainer.training.checkpoint import RunCheckpoints
    from graft_trainer.workers.distributed import Workers

    found = RunCheckpoints(pod.checkpoints, folder / "restored", Workers()).restore()
    assert found is not None
    return found.name


def test_a_newer_checkpoint_with_nothing_wrong_is_taken(stopped: Pod, newer: Path, tmp_path: Path) -> None:
    stopped.checkpoints.save(BAD, newer)
    assert restored(stopped, tmp_path) == f"checkpoint-{BAD}"


@pytest.mark.parametrize(("damage", "says"), FOLDERS.values(), ids=FOLDERS)
def test_a_checkpoint_that_verifies_but_is_malformed_is_skipped(
    stopped: Pod,
    newer: Path,
    tmp_path: Path,
    damage: Callable[[Path], None],
    says: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    damage(newer)
    stopped.checkpoints.save(BAD, newer)
    assert restored(stopped, tmp_path) == f"checkpoint-{GOOD}"
    assert f"checkpoint skipped step={BAD}" in caplog.text
    assert says in caplog.text
    assert not (tmp_path / "witness").exists()


@pytest.mark.parametrize(("damage", "says"), BUCKETS.values(), ids=BUCKETS)
def test_a_checkpoint_that_was_damaged_in_the_bucket_is_skipped(
    stopped: Pod,
    newer: Path,
    tmp_path: Path,
    damage: Callable[[Pod], None],
    says: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stopped.checkpoints.save(BAD, newer)
    damage(stopped)
    assert restored(stopped, tmp_path) == f"checkpoint-{GOOD}"
    assert f"checkpoint skipped step={BAD}" in caplog.text
    assert says in caplog.text


def test_a_run_ends_well_behind_any_number_of_bad_checkpoints(pod: Pod, tmp_path: Path) -> None:
    stop_after_its_last_step(pod)
    newer = newer_checkpoint_of(pod, tmp_path / "newer")
    for step, (damage, _) in enumerate(FOLDERS.values(), start=BAD):
        folder = shutil.copytree(newer, tmp_path / f"{step}")
        damage(folder)
        pod.checkpoints.save(step, folder)
    assert pod.run() == 0
    assert pod.version().manifest.metrics.steps == GOOD
    assert pod.checkpoints.steps() == ()
