"""Build Graft's images from public bases, push them to a registry of yours, and pack the chart with their digests.

    make publish REGISTRY=registry.example.com/graft

needs Docker and a login to the registry, and Helm for the chart. With PLATFORMS=linux/amd64,linux/arm64 it is docker
buildx that builds, for both.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[1]
OUTPUT: Final = ROOT / "build" / "publish"
PUBLIC_PYTHON: Final = "python:3.11-slim-bookworm"
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
IGNORED: Final = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info", ".*_cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One of the images, and the files that go in."""

    name: str
    folder: str
    copied: tuple[str, ...] = ()
    base_argument: str = "BASE"
    base: str = "python"
    """``python``, or another image of this list."""


IMAGES: Final = (
    Image(name="operator", folder="operator", copied=("registry/src", "operator/src")),
    Image(name="agent", folder="serving_image", copied=("registry/src", "serving_image/src")),
    Image(name="registry", folder="registry", copied=("registry/src",)),
    Image(name="torch", folder="hack/images/torch"),
    Image(
        name="trainer",
        folder="trainer_image",
        copied=("registry/src", "trainer_image/src"),
        base_argument="TORCH_BASE",
        base="torch",
    ),
)
"""In the order in which they are built. The engine is vLLM's own image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where images go, and how they are built."""

    registry: str
    version: str
    python: str
    platforms: str
    network: str

    def reference(self, image: Image) -> str:
        """Return repository and tag of an image."""
        return f"{self.registry}/{image.name}:{self.version}"


def publish_image(image: Image, target: Target, bases: Mapping[str, str]) -> str:
    """Build and push one image; return its digest. Raises CalledProcessError."""
    arguments = ["--build-arg", f"{image.base_argument}={bases[image.base]}", "--tag", target.reference(image)]
    if target.network:
        arguments += ["--network", target.network]
    with tempfile.TemporaryDirectory() as folder:
        context = build_context(image, Path(folder))
        dockerfile = ["--file", str(context / image.folder / "Dockerfile"), str(context)]
        if target.platforms:
            written = Path(folder) / "metadata.json"
            platforms = ["--platform", target.platforms, "--push", "--metadata-file", str(written)]
            docker("buildx", "build", *platforms, *arguments, *dockerfile)
            return str(json.loads(written.read_text())["containerimage.digest"])
        docker("build", "--quiet", *arguments, *dockerfile)
    found = DIGEST.search(docker("push", target.reference(image)).rpartition("digest: ")[2])
    if found is None:
        raise SystemExit(f"docker push of {target.reference(image)} did not say a digest")
    return found.group()


def build_context(image: Image, folder: Path) -> Path:
    """Lay out exactly the files that an image is made of."""
    context = folder / "context"
    for name in ("Dockerfile", "constraints.txt"):
        (context / image.folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / image.folder / name, context / image.folder / name)
    for name in image.copied:
        shutil.copytree(ROOT / name, context / name, ignore=IGNORED)
    return context


def docker(*words: str) -> str:
    """Run docker and return what it printed; show it where it fails."""
    ended = subprocess.run(["docker", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if ended.returncode:
        print(ended.stdout[-4000:], file=sys.stderr)
        raise SystemExit(f"docker {words[0]} failed")
    return ended.stdout


def pack_chart(target: Target, digests: Mapping[str, str]) -> Path:
    """Pack the chart, whose default images are those that were pushed; return the archive."""
    with tempfile.TemporaryDirectory() as folder:
        chart = Path(folder) / "graft"
        shutil.copytree(ROOT / "charts" / "graft", chart)
        text = with_images((chart / "values.yaml").read_text(encoding="utf-8"), target, digests)
        (chart / "values.yaml").write_text(text, encoding="utf-8")
        OUTPUT.mkdir(parents=True, exist_ok=True)
        words = ["helm", "package", str(chart), "--destination", str(OUTPUT), "--version", target.version]
        subprocess.run([*words, "--app-version", target.version], check=True, stdout=subprocess.DEVNULL)
    return OUTPUT / f"graft-{target.version}.tgz"


def with_images(values: str, target: Target, digests: Mapping[str, str]) -> str:
    """Return values.yaml, comments and all, with the images that were pushed."""
    for name, digest in digests.items():
        line = re.compile(rf"^  {name}: \{{repository: [^}}]*\}}$", re.MULTILINE)
        image = f'  {name}: {{repository: {target.registry}/{name}, tag: "{target.version}", digest: "{digest}"}}'
        values, count = line.subn(image, values)
        if count != 1:
            raise SystemExit(f"values.yaml has no line for the image {name}")
    written: dict[str, Any] = yaml.safe_load(values)
    assert all(written["images"][name]["digest"] == digest for name, digest in digests.items())
    return values


def main() -> None:
    """Publish all images and pack the chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registry", required=True, help="such as registry.example.com/graft")
    parser.add_argument("--version", required=True, help="tag of the images, and version of the chart")
    parser.add_argument("--python", default=PUBLIC_PYTHON, help="image with Python 3.11, or a mirror of it")
    parser.add_argument("--platforms", default="", help="of docker buildx, such as linux/amd64,linux/arm64")
    parser.add_argument("--network", default="", help="of the builds, such as host, where Docker has no bridge")
    options = parser.parse_args()
    target = Target(**vars(options))
    bases, digests = {"python": target.python}, {}
    for image in IMAGES:
        print(f"building {target.reference(image)}", flush=True)
        digest = publish_image(image, target, bases)
        bases[image.name] = f"{target.registry}/{image.name}@{digest}"
        digests[image.name] = digest
    digests.pop("torch")  # in no pod by itself
    archive = pack_chart(target, digests)
    references = [f"{target.registry}/{name}@{digest}" for name, digest in digests.items()]
    (OUTPUT / "references.txt").write_text("\n".join(references) + "\n", encoding="utf-8")
    print(f"\n{archive.relative_to(ROOT)} installs these images:\n")
    print(
        f"  helm install graft {archive.relative_to(ROOT)} -n graft-system --create-namespace --set registry.bucket=…"
    )
    print(f"\nand others can pull it after\n\n  helm push {archive.relative_to(ROOT)} oci://{target.registry}/charts")


if __name__ == "__main__":
    main()
