"""Rewrites the constraints files from the requirements.in files beside them.

It runs uv inside the Python image, so the result fits the Python that installs
it. Only needed when a requirement changes; the result is committed.
"""

from __future__ import annotations

from pathlib import Path

from graft_cluster.docker.client import Docker
from graft_cluster.steps import Steps

COMPILE = (
    "uv",
    "pip",
    "compile",
    "--quiet",
    "--no-cache",
    "--no-header",
    "--no-annotate",
    "--no-emit-index-url",
    "--no-emit-find-links",
)


FOLDERS = (
    "hack/images/torch",
    "hack/images/engine-cpu",
    "operator",
    "registry",
    "serving_image",
    "trainer_image",
)


def compile_all(steps: Steps, docker: Docker, image: str, checkout: Path) -> None:
    """Pin everything, with the Python of an image; torch first, others look at its pins."""
    for folder in FOLDERS:
        compile_pins(steps, docker, image, checkout, checkout / folder)


def compile_pins(steps: Steps, docker: Docker, image: str, checkout: Path, folder: Path) -> None:
    """Write one folder's constraints.txt; an overrides.txt there has its say."""
    command = ["run", "--rm", "--network=host", "--user=0"]
    command += [f"--volume={checkout}:{checkout}", f"--workdir={folder}"]
    words = [*COMPILE, "requirements.in", "--output-file=constraints.txt"]
    if (folder / "overrides.txt").exists():
        words.append("--overrides=overrides.txt")
    with steps.step(f"pin the requirements of {folder.name}") as step:
        docker.run(step, *command, image, *words)
