"""The three kinds of cluster that this program can use, and how one is chosen (GRAFT_CLUSTER_WAY)."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path

from graft_cluster.cache import Cache
from graft_cluster.docker import host
from graft_cluster.docker.client import Docker
from graft_cluster.steps import StepFailed, say

#: The node image that this release of kind was made for, by the digest that kind names.
PUBLIC_NODE_IMAGE = "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"
PULL_PATIENCE_S = 600


class Way(Enum):
    """Where the cluster comes from."""

    EXISTING = "the cluster that KUBECONFIG names"
    DOCKER = "kind in this machine's Docker, with public images"
    OWN = "kind in an own Docker Engine, with images built here"


def choose(cache: Cache) -> Way:
    """Take what was asked for, else what was used last, else what works here."""
    asked = os.environ.get("GRAFT_CLUSTER_WAY", "").upper()
    if os.environ.get("GRAFT_USE_EXISTING") == "1":
        if not os.environ.get("KUBECONFIG"):
            raise StepFailed("GRAFT_USE_EXISTING=1 needs KUBECONFIG")
        return Way.EXISTING
    if asked:
        if asked not in Way.__members__:
            raise StepFailed(f"GRAFT_CLUSTER_WAY must be one of {list(Way.__members__)}")
        return Way[asked]
    return remembered(cache) or _find()


def remembered(cache: Cache) -> Way | None:
    """The way of the cluster that is up, as far as we know."""
    try:
        return Way[_file(cache).read_text().strip()]
    except (OSError, KeyError):
        return None


def remember(cache: Cache, way: Way) -> None:
    """Keep the way for `down` and for the next `up`."""
    _file(cache).write_text(way.name)


def forget(cache: Cache) -> None:
    """After `down` the choice is free again."""
    _file(cache).unlink(missing_ok=True)


def _file(cache: Cache) -> Path:
    return cache.folder() / "way"


def node_image() -> str:
    """The public node image, or a mirror of it."""
    return os.environ.get("GRAFT_NODE_IMAGE") or PUBLIC_NODE_IMAGE


def _find() -> Way:
    if not host.docker_answers({}):
        return Way.OWN
    image, docker = node_image(), Docker({})
    if docker.has_image(image):
        return Way.DOCKER
    say(f"… pull {image}")
    said = docker.complaint("pull", "--quiet", image, timeout=PULL_PATIENCE_S)
    if not said:
        return Way.DOCKER
    say(f"! this machine's Docker can't pull the nodes' image: {said}")
    say("! GRAFT_NODE_IMAGE names a mirror of it; without one, all is built from source in an own Docker Engine")
    return Way.OWN
