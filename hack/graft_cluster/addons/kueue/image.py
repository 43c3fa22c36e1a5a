"""The image of Kueue's controller, made of its program as Kueue's own image is, in the local registry."""

from __future__ import annotations

from graft_cluster import versions
from graft_cluster.cache import Cache
from graft_cluster.docker.client import Docker
from graft_cluster.images.local_images import LocalImages
from graft_cluster.images.local_registry import ADDRESS
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
    images = LocalImages(cache, steps, docker)
    images.ensure_program(IMAGE, cache.binaries / "kueue", place=PLACE, user=USER)
