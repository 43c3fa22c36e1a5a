"""The image of Kueue's controller, made of its program as Kueue's own image is, in the local registry."""

from __future__ import annotations

from graft_cluster import versions
from graft_cluster.cache import Cache
from graft_cluster.docker.client import Docker
from graft_cluster.images.local_registry import ADDRESS
from graft_cluster.images.single_program import import_program
from graft_cluster.programs import golang
from graft_cluster.steps import Steps

REPOSITORY = f"{ADDRESS}/graft/kueue"
IMAGE = f"{REPOSITORY}:{versions.KUEUE}"
PLACE = "manager"
"""Where the chart looks for the program."""
USER = "65532:65532"


def ensure(cache: Cache, steps: Steps, docker: Docker) -> None:
    """Build the program and push its image, where that has not been done."""
    golang.ensure(cache, steps, golang.KUEUE)
    pushed = cache.folder("pushed") / f"kueue-{versions.KUEUE}"
    if pushed.exists() and docker.has_image(IMAGE):
        return
    with steps.step("make the image of Kueue") as step:
        import_program(docker, step, cache.binaries / "kueue", IMAGE, place=PLACE, user=USER)
        docker.run(step, "push", "--quiet", IMAGE)
        pushed.touch()
