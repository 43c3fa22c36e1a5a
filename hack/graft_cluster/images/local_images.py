"""The images in the local registry: each is made, or pulled, and pushed at most once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from graft_cluster.cache import Cache
from graft_cluster.docker.build_context import BuildContext
from graft_cluster.docker.client import Docker
from graft_cluster.images.prebuilt import Prebuilt
from graft_cluster.images.single_program import import_program
from graft_cluster.steps import Step, Steps


@dataclass(frozen=True)
class LocalImages:
    """Images by their references in the local registry. What has been pushed is written down in the cache."""

    cache: Cache
    steps: Steps
    docker: Docker

    def ensure_built(
        self, reference: str, context: BuildContext, arguments: Mapping[str, str], target: str = ""
    ) -> None:
        """Have an image that a Dockerfile makes."""
        self._ensure(reference, lambda step: self.docker.build(step, context, reference, arguments, target))

    def ensure_program(self, reference: str, program: Path, *, place: str = "", user: str = "0:0") -> None:
        """Have an image of one static program; see `import_program`."""
        self._ensure(
            reference, lambda step: import_program(self.docker, step, program, reference, place=place, user=user)
        )

    def ensure_pulled(self, reference: str, prebuilt: Prebuilt) -> bool:
        """Have an image that others have pushed; False where they have not. Raises StepFailed."""
        if not self.docker.has_image(reference):
            if not prebuilt.pull(self.steps, self.docker, _name(reference), reference):
                return False
            self._marker(reference).unlink(missing_ok=True)
        self._push(reference)
        return True

    def _ensure(self, reference: str, make: Callable[[Step], None]) -> None:
        if not self.docker.has_image(reference):
            # Made again, it may not be what was pushed.
            self._marker(reference).unlink(missing_ok=True)
            with self.steps.step(f"build the {_name(reference)} image") as step:
                make(step)
        self._push(reference)

    def _push(self, reference: str) -> None:
        marker = self._marker(reference)
        if marker.exists():
            return
        with self.steps.step(f"push the {_name(reference)} image") as step:
            self.docker.run(step, "push", "--quiet", reference)
        marker.touch()

    def _marker(self, reference: str) -> Path:
        return self.cache.folder("pushed") / reference.rpartition("/")[2].replace(":", "-")


def _name(reference: str) -> str:
    return reference.rpartition("/")[2].partition(":")[0]
