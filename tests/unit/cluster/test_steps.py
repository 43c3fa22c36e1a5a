import re
from pathlib import Path

import pytest

from graft_cluster.cache import Cache
from graft_cluster.docker.mounts import mounts_below
from graft_cluster.reports import facts
from graft_cluster.steps import StepFailed, Steps


def test_a_failed_step_shows_the_end_of_its_log(tmp_path: Path) -> None:
    steps = Steps(Cache(tmp_path))
    with pytest.raises(StepFailed) as failure, steps.step("try it") as step:
        step.run(["sh", "-c", "echo the reason; exit 3"])
    message = str(failure.value)
    assert "try it: `sh` ended with status 3" in message
    assert "the reason" in message
    assert str(tmp_path / "logs" / "try-it.log") in message


def test_a_step_announces_how_long_it_took_last_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with Steps(Cache(tmp_path)).step("wait") as step:
            step.run(["sleep", "0.2"])
    assert re.search(r"… wait \(took \d.\d s last time\)", capsys.readouterr().err)


def test_facts_survive_a_shell(tmp_path: Path) -> None:
    path = tmp_path / "cluster.env"
    facts.write(path, {"A": "it's $HOME", "S3_SECRET_KEY": "s"})
    with Steps(Cache(tmp_path)).step("source") as step:
        shown = step.read(["sh", "-c", f'. {path}; printf %s "$A"'])
    assert shown == "it's $HOME"
    assert path.stat().st_mode & 0o077 == 0
    assert "SECRET" not in facts.for_people(path.read_text())


def test_mounts_are_released_from_the_inside_out() -> None:
    info = (
        "1 0 0:1 / /c/docker rw - ext4 x rw\n"
        "2 1 0:1 / /c/docker/data/a\\040b rw - ext4 x rw\n"
        "3 1 0:1 / /c/dockerish rw - ext4 x rw\n"
        "4 1 0:1 / /c/docker/data/a\\040b/merged rw - overlay x rw\n"
    )
    assert mounts_below(Path("/c/docker"), info) == [Path("/c/docker/data/a b/merged"), Path("/c/docker/data/a b")]
