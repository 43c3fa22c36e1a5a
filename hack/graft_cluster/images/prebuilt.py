"""Images that somebody has pushed for others, for whoever has the same checkout: pulled instead of built.

A tag is the fingerprint of what went in (see ``images``), so what is pulled is what would be built, or is not there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from graft_cluster.docker.client import Docker
from graft_cluster.steps import Step, StepFailed, Steps, say

VARIABLE: Final = "GRAFT_IMAGES_FROM"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-f:]+\]"
PLACE: Final = re.compile(rf"(?:{_HOST})(?::[0-9]+)?(?:/{_PART})*")
#: What Docker says of a tag that nobody has pushed, or not for this machine's processor.
ABSENT: Final = re.compile(r"manifest unknown|: not found|no matching manifest|does not match the specified platform")


@dataclass(frozen=True)
class Prebuilt:
    """A registry, with the path below which the images lie, such as ``registry.example.com/graft``."""

    place: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Prebuilt | None:
        """Read GRAFT_IMAGES_FROM; None where it is empty. Raises StepFailed where it is no such place."""
        given = environ.get(VARIABLE, "")
        return cls.parse(given, VARIABLE) if given else None

    @classmethod
    def parse(cls, given: str, name: str) -> Prebuilt:
        """Read a place. Raises StepFailed with the name of what holds another thing."""
        place = given.strip().rstrip("/")
        if not PLACE.fullmatch(place):
            raise StepFailed(
                f"{name}: {given!r} is no place for images; write host and path in small letters, "
                "without https:// and without a tag, such as registry.example.com/graft"
            )
        return cls(place)

    def reference(self, local: str) -> str:
        """The image there that is the local one."""
        return f"{self.place}/{local.rpartition('/')[2]}"

    def pull(self, steps: Steps, docker: Docker, name: str, local: str) -> bool:
        """Pull an image and give it its local name; False where it is not there. Raises StepFailed."""
        there = self.reference(local)
        with steps.step(f"pull the {name} image") as step:
            said = docker.complaint("pull", "--quiet", there)
            if not said and not _suits(step, docker, there):
                said = "no matching manifest: it is for another processor"
            if not said:
                docker.run(step, "tag", there, local)
                return True
            step.note(said)
            if not ABSENT.search(said):
                host = self.place.partition("/")[0]
                raise StepFailed(f"{said}\n  to fix: `docker login {host}`, or correct {VARIABLE}, or build: unset it")
        say(f"! {there} is not there for this machine, so {name} is built: {said}")
        return False

    def push(self, step: Step, docker: Docker, local: str, published: str) -> str:
        """Push a local image under a published name; return its reference with the digest."""
        docker.run(step, "tag", local, published)
        docker.run(step, "push", "--quiet", published)
        repository = published.rpartition(":")[0]
        known = docker.read(step, "image", "inspect", published, '--format={{join .RepoDigests " "}}').split()
        docker.run(step, "rmi", published)
        return next((reference for reference in known if reference.startswith(f"{repository}@")), published)


def _suits(step: Step, docker: Docker, reference: str) -> bool:
    """Whether an image is for the daemon's processor: of an image for one platform Docker pulls any."""
    image = docker.read(step, "image", "inspect", reference, "--format={{.Architecture}}")
    return image == docker.read(step, "version", "--format={{.Server.Arch}}")
