"""Graft's own images: what goes in, and which tag that gives.

A tag is a fingerprint of everything that goes in, so unchanged code means
nothing to do, and a cluster never runs an image that is not what it says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from graft_cluster.docker.build_context import BuildContext
from graft_cluster.images.local_registry import ADDRESS


@dataclass(frozen=True)
class Image:
    """One Dockerfile, the files it copies, and the image it starts from."""

    name: str
    folder: str
    base: str
    sources: tuple[str, ...] = ()
    base_argument: str = "BASE"
    target: str = ""
    heavy: bool = False
    pinned: bool = True

    def context(self, checkout: Path) -> BuildContext:
        """The files that go in."""
        pins = (f"{self.folder}/constraints.txt",) if self.pinned else ()
        return BuildContext(f"{self.folder}/Dockerfile", checkout, (*pins, *self.sources))

    def is_there(self, checkout: Path) -> bool:
        """Whether the checkout has everything that this image needs."""
        needed = (f"{self.folder}/Dockerfile", *self.sources)
        return all((checkout / name).exists() for name in needed)


_REGISTRY = "registry/src"
#: Light ones first: the operator is wanted before anything can be trained.
IMAGES = (
    Image("python", "hack/images/python", "debian", pinned=False),
    Image("operator", "operator", "python", (_REGISTRY, "operator/src")),
    Image("agent", "serving_image", "python", (_REGISTRY, "serving_image/src")),
    Image("registry", "registry", "python", (_REGISTRY,)),
    Image("torch", "hack/images/torch", "python", heavy=True),
    Image("engine", "hack/images/engine-cpu", "torch", heavy=True),
    Image(
        "trainer-base",
        "trainer_image",
        "torch",
        base_argument="TORCH_BASE",
        target="base",
        heavy=True,
    ),
    Image(
        "trainer",
        "trainer_image",
        "torch",
        (_REGISTRY, "trainer_image/src"),
        base_argument="TORCH_BASE",
        heavy=True,
    ),
)

#: What pods run. The rest is only what these are built on.
PROGRAMS = ("operator", "agent", "registry", "engine", "trainer")
#: What nodes have from the start. Nothing with code of ours in it: that changes.
PREPARED = ("python", "torch", "engine", "trainer-base", "versitygw")


def references(checkout: Path, roots: Mapping[str, str], images: tuple[Image, ...] = IMAGES) -> dict[str, str]:
    """The reference of every image whose sources and base are there.

    A base's reference goes into the fingerprint of what is built on it.
    """
    known = dict(roots)
    for image in images:
        if image.base in known and image.is_there(checkout):
            digest = image.context(checkout).digest(known[image.base])
            known.setdefault(image.name, f"{ADDRESS}/graft/{image.name}:{digest}")
    return known


def to_build(had: Collection[str], images: tuple[Image, ...] = IMAGES) -> set[str]:
    """The names of what has to be built when some images are there: the rest of the programs, and their bases."""
    needed = set(PROGRAMS).difference(had)
    for image in reversed(images):  # a base stands before what is built on it
        if image.name in needed and image.base not in had:
            needed.add(image.base)
    return {image.name for image in images if image.name in needed}
