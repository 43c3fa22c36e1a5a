"""Images of the local registry: made once, pushed once, and pushed again where they were made again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graft_cluster.cache import Cache
from graft_cluster.docker.build_context import BuildContext
from graft_cluster.docker.client import Docker
from graft_cluster.images.local_images import LocalImages
from graft_cluster.images.prebuilt import Prebuilt
from graft_cluster.steps import StepFailed, Steps

REFERENCE = "localhost:5001/graft/versitygw:1.8.0"
ELSEWHERE = Prebuilt("ghcr.io/acme/graft")
DOCKER = """\
#!/bin/sh
# A daemon that has one image at most: the file there says whether.
cd "$STATE"
echo "$1" >> asked
case "$1 $2" in
  "image inspect") test -e there && echo amd64 ;;
  "import "* | "build "* | "tag "*) touch there ;;
  "pull --quiet") touch there; test -e published || { rm there; echo "manifest unknown" >&2; exit 1; } ;;
  "push --quiet") test ! -e offline ;;
  "version "*) echo amd64 ;;
esac
"""


class Machine:
    """A machine with a daemon, and the program that the image is made of."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "daemon"
        self.state.mkdir()
        self.program = folder / "versitygw"
        self.program.write_text("program")
        cache = Cache(folder / "cache")
        docker = folder / "bin/docker"
        docker.parent.mkdir()
        docker.write_text(DOCKER)
        docker.chmod(0o755)
        self.images = LocalImages(cache, Steps(cache), Docker({"STATE": str(self.state)}))

    def has(self, name: str) -> None:
        (self.state / name).touch()

    def lost(self, name: str) -> None:
        (self.state / name).unlink()

    def asked(self) -> list[str]:
        """What the daemon was told to do since the last time, questions left out."""
        asked = (self.state / "asked").read_text().split()
        (self.state / "asked").write_text("")
        return [word for word in asked if word not in {"image", "version"}]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return Machine(tmp_path)


def test_an_image_is_made_and_pushed_once(machine: Machine) -> None:
    machine.images.ensure_program(REFERENCE, machine.program)
    assert machine.asked() == ["import", "push"]
    machine.images.ensure_program(REFERENCE, machine.program)
    assert machine.asked() == []


def test_so_is_one_of_a_dockerfile(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    for expected in (["build", "push"], []):
        machine.images.ensure_built(REFERENCE, BuildContext("Dockerfile", tmp_path), {})
        assert machine.asked() == expected


def test_an_image_that_was_made_again_is_pushed_again(machine: Machine) -> None:
    machine.images.ensure_program(REFERENCE, machine.program)
    machine.asked()
    machine.lost("there")
    machine.images.ensure_program(REFERENCE, machine.program)
    assert machine.asked() == ["import", "push"]


def test_after_a_push_that_failed_only_that_is_made_up_for(machine: Machine) -> None:
    machine.has("offline")
    with pytest.raises(StepFailed, match="push the versitygw image"):
        machine.images.ensure_program(REFERENCE, machine.program)
    machine.asked()
    machine.lost("offline")
    machine.images.ensure_program(REFERENCE, machine.program)
    assert machine.asked() == ["push"]


def test_two_images_of_one_version_are_pushed_both(machine: Machine) -> None:
    machine.images.ensure_program(REFERENCE, machine.program)
    machine.asked()
    machine.images.ensure_program(REFERENCE.replace("versitygw", "kueue"), machine.program)
    assert machine.asked() == ["push"]


def test_what_others_have_pushed_is_pulled_and_pushed_once(machine: Machine) -> None:
    machine.has("published")
    for expected in (["pull", "tag", "push"], []):
        assert machine.images.ensure_pulled(REFERENCE, ELSEWHERE)
        assert machine.asked() == expected


def test_what_nobody_has_pushed_is_left_to_be_built(machine: Machine) -> None:
    assert not machine.images.ensure_pulled(REFERENCE, ELSEWHERE)
    assert machine.asked() == ["pull"]
    machine.images.ensure_program(REFERENCE, machine.program)
    assert machine.asked() == ["import", "push"]
