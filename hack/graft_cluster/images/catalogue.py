"""Graft's own images: what goes in, which tag that gives, and building them.

A tag is a fingerprint of everything that goes in, so unchanged code means
nothing to do, and a cluster never runs an image that is not what it says.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from graft_cluster.cache import Cache
from graft_cluster.docker.build_context import BuildContext
from graft_cluster.docker.client import Docker
from graft_cluster.images.local_registry import ADDRESS
from graft_cluster.images.prebuilt import Prebuilt
from graft_cluster.steps import Steps, say


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


class ImageBuilder:
    """Gets and pushes what is missing, and writes down what there is."""

    def __init__(
        self,
        cache: Cache,
        steps: Steps,
        docker: Docker,
        prebuilt: Prebuilt | None = None,
        mirrors: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing is built or pulled yet. ``mirrors``: where a public image comes from, which changes no tag."""
        self._cache = cache
        self._steps = steps
        self._docker = docker
        self._prebuilt = prebuilt
        self._mirrors = mirrors or {}

    def ensure(self, checkout: Path, roots: Mapping[str, str], *, light: bool) -> dict[str, str]:
        """Pull or build, and push; return name → reference of Graft's programs."""
        known = references(checkout, roots)
        wanted = {image.name for image in IMAGES}
        if self._prebuilt is not None:
            wanted = to_build(roots.keys() | self._pulled(self._prebuilt, known, light=light))
        for image in IMAGES:
            if image.name in roots or image.name not in wanted:
                continue
            if light and image.heavy:
                self._only_if_there(image, known)
            elif image.name not in known:
                say(f"! {image.name} is skipped: its sources are not in the checkout")
            else:
                self._ensure_one(image, checkout, known)
        return known

    def _pulled(self, prebuilt: Prebuilt, known: Mapping[str, str], *, light: bool) -> set[str]:
        """Pull the programs that are not here yet; return the names of those that are here then."""
        heavy = {image.name for image in IMAGES if image.heavy}
        there = set()
        for name in PROGRAMS:
            if name not in known or (light and name in heavy):
                continue
            if self._docker.has_image(known[name]) or prebuilt.pull(self._steps, self._docker, name, known[name]):
                self._push(name, known[name])
                there.add(name)
        return there

    def _only_if_there(self, image: Image, known: dict[str, str]) -> None:
        """Leave an image out of what is known, unless it was built before."""
        if not self._docker.has_image(known.get(image.name, "none")):
            known.pop(image.name, None)

    def _ensure_one(self, image: Image, checkout: Path, known: Mapping[str, str]) -> None:
        reference = known[image.name]
        if not self._docker.has_image(reference):
            self._pushed(reference).unlink(missing_ok=True)
            with self._steps.step(f"build the {image.name} image") as step:
                arguments = {image.base_argument: self._mirrors.get(known[image.base], known[image.base])}
                context = image.context(checkout)
                self._docker.build(step, context, reference, arguments, image.target)
        self._push(image.name, reference)

    def _push(self, name: str, reference: str) -> None:
        pushed = self._pushed(reference)
        if not pushed.exists():
            with self._steps.step(f"push the {name} image") as step:
                self._docker.run(step, "push", "--quiet", reference)
            pushed.touch()

    def _pushed(self, reference: str) -> Path:
        return self._cache.folder("pushed") / reference.rpartition(":")[2]


def write_references(cache: Cache, known: Mapping[str, str]) -> None:
    """Write the mapping that the Helm install step reads."""
    text = json.dumps(dict(sorted(known.items())), indent=2) + "\n"
    fresh = cache.images_json.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(cache.images_json)
