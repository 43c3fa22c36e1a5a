"""Building Graft's own images, or pulling them, and pushing them to the local registry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from graft_cluster.cache import Cache
from graft_cluster.docker.client import Docker
from graft_cluster.images.catalogue import IMAGES, PROGRAMS, Image, references, to_build
from graft_cluster.images.local_images import LocalImages
from graft_cluster.images.prebuilt import Prebuilt
from graft_cluster.steps import Steps, say


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
        self._docker = docker
        self._images = LocalImages(cache, steps, docker)
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
            if self._images.ensure_pulled(known[name], prebuilt):
                there.add(name)
        return there

    def _only_if_there(self, image: Image, known: dict[str, str]) -> None:
        """Leave an image out of what is known, unless it was built before."""
        if not self._docker.has_image(known.get(image.name, "none")):
            known.pop(image.name, None)

    def _ensure_one(self, image: Image, checkout: Path, known: Mapping[str, str]) -> None:
        arguments = {image.base_argument: self._mirrors.get(known[image.base], known[image.base])}
        self._images.ensure_built(known[image.name], image.context(checkout), arguments, image.target)


def write_references(cache: Cache, known: Mapping[str, str]) -> None:
    """Write the mapping that the Helm install step reads."""
    text = json.dumps(dict(sorted(known.items())), indent=2) + "\n"
    fresh = cache.images_json.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(cache.images_json)
