"""Images that others have pushed: where they are looked for, and what is made of Docker's answers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graft_cluster.cache import Cache
from graft_cluster.docker.client import Docker
from graft_cluster.images.prebuilt import Prebuilt
from graft_cluster.steps import StepFailed, Steps

LOCAL = "localhost:5001/graft/operator:a370152bfb4d"
THERE = "ghcr.io/acme/graft/operator:a370152bfb4d"
DAEMON = "Error response from daemon:"
DOCKER = """\
#!/bin/sh
echo "$*" >> "$LOG"
case "$1 $2" in
  "pull --quiet") test -z "$SAYS" || { echo "$SAYS" >&2; exit 1; } ;;
  "image inspect") echo "$IMAGE_ARCH" ;;
  "version "*) echo amd64 ;;
esac
"""


@pytest.mark.parametrize(
    ("given", "place"),
    {
        "ghcr.io/acme/graft": "ghcr.io/acme/graft",
        "ghcr.io/acme/graft/": "ghcr.io/acme/graft",
        "localhost:5005": "localhost:5005",
        "Registry.example.com:5000/team_a/graft": "Registry.example.com:5000/team_a/graft",
        "acme": "acme",
        " 1234.dkr.ecr.eu-central-1.amazonaws.com/graft\n": "1234.dkr.ecr.eu-central-1.amazonaws.com/graft",
        "europe-docker.pkg.dev/acme-prod/graft": "europe-docker.pkg.dev/acme-prod/graft",
        "[::1]:5005/graft": "[::1]:5005/graft",
    }.items(),
)
def test_a_place_is_taken_as_people_write_it(given: str, place: str) -> None:
    known = Prebuilt.from_environment({"GRAFT_IMAGES_FROM": given})
    assert known is not None
    assert known.reference(LOCAL) == f"{place}/operator:a370152bfb4d"


@pytest.mark.parametrize(
    "given",
    [
        "https://ghcr.io/acme/graft",
        "oci://ghcr.io/acme/graft",
        "ghcr.io/Acme/graft",
        "ghcr.io/acme/graft:0.2.0",
        "ghcr.io/acme/graft@sha256:" + 64 * "a",
        "ghcr.io/acme//graft",
        "/graft",
        "-graft",
        "ghcr.io/acme graft",
        "ghcr.io:port/graft",
    ],
)
def test_what_is_no_place_is_refused_with_the_way_out(given: str) -> None:
    with pytest.raises(StepFailed, match=r"GRAFT_IMAGES_FROM: .* such as registry\.example\.com/graft"):
        Prebuilt.from_environment({"GRAFT_IMAGES_FROM": given})


def test_without_the_variable_all_is_built() -> None:
    assert Prebuilt.from_environment({}) is None
    assert Prebuilt.from_environment({"GRAFT_IMAGES_FROM": ""}) is None


class Machine:
    """A machine whose ``docker`` gives one answer to every pull."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "log"
        program = folder / "bin/docker"
        program.parent.mkdir()
        program.write_text(DOCKER)
        program.chmod(0o755)
        self._path = f"{program.parent}:{os.environ['PATH']}"
        self._steps = Steps(Cache(folder / "cache"))

    def pull(self, monkeypatch: pytest.MonkeyPatch, says: str = "", architecture: str = "amd64") -> bool:
        monkeypatch.setenv("PATH", self._path)
        docker = Docker({"LOG": str(self._log), "SAYS": says, "IMAGE_ARCH": architecture})
        return Prebuilt("ghcr.io/acme/graft").pull(self._steps, docker, "operator", LOCAL)

    def push(self, monkeypatch: pytest.MonkeyPatch, digests: str) -> str:
        monkeypatch.setenv("PATH", self._path)
        docker = Docker({"LOG": str(self._log), "SAYS": "", "IMAGE_ARCH": digests})
        with self._steps.step("publish") as step:
            return Prebuilt("ghcr.io/acme/graft").push(step, docker, LOCAL, THERE)

    @property
    def asked(self) -> list[str]:
        return self._log.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_is_pulled_gets_its_local_name(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.pull(monkeypatch)
    assert machine.asked[0] == f"pull --quiet {THERE}"
    assert machine.asked[-1] == f"tag {THERE} {LOCAL}"


@pytest.mark.parametrize(
    "says",
    [
        f"{DAEMON} manifest for {THERE} not found: manifest unknown: manifest unknown",
        f'{DAEMON} failed to resolve reference "{THERE}": {THERE}: not found',
        f"{DAEMON} no matching manifest for linux/arm64/v8 in the manifest list entries",
        f"Error: initializing source docker://{THERE}: reading manifest a370152bfb4d in {THERE}: manifest unknown",
        f"{DAEMON} image with reference {THERE} was found but does not match the specified platform: wanted arm64",
    ],
)
def test_what_nobody_has_pushed_is_built_and_that_is_said(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], says: str
) -> None:
    assert not machine.pull(monkeypatch, says)
    assert f"operator is built: {says}" in capsys.readouterr().err
    assert not any(line.startswith("tag") for line in machine.asked)


def test_an_image_for_another_processor_is_not_run_by_emulation(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not machine.pull(monkeypatch, architecture="arm64")
    assert "it is for another processor" in capsys.readouterr().err
    assert not any(line.startswith("tag") for line in machine.asked)


@pytest.mark.parametrize(
    "says",
    [
        f"{DAEMON} pull access denied for acme/operator, repository does not exist or may require 'docker login'",
        f'{DAEMON} Head "https://ghcr.io/v2/acme/graft/operator/manifests/a370152bfb4d": unauthorized',
        f"{DAEMON} error from registry: denied",
        f'{DAEMON} Get "https://ghcr.io/v2/": dial tcp: lookup ghcr.io on 10.0.0.2:53: no such host',
        f'{DAEMON} Get "https://ghcr.io/v2/": tls: failed to verify certificate: x509: unknown authority',
        "toomanyrequests: You have reached your unauthenticated pull rate limit.",
    ],
)
def test_nobody_builds_for_hours_for_want_of_a_login(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    with pytest.raises(StepFailed, match=r"docker login ghcr\.io.*GRAFT_IMAGES_FROM.*unset") as caught:
        machine.pull(monkeypatch, says)
    assert says in str(caught.value)


def test_what_is_published_is_told_by_its_digest_and_leaves_no_name_behind(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = "localhost:5001/graft/operator@sha256:11 ghcr.io/acme/graft/operator@sha256:22"
    assert machine.push(monkeypatch, digests) == "ghcr.io/acme/graft/operator@sha256:22"
    assert machine.asked[:2] == [f"tag {LOCAL} {THERE}", f"push --quiet {THERE}"]
    assert machine.asked[-1] == f"rmi {THERE}"
