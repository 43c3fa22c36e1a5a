"""Where the cluster, its images and its S3 store are: the facts that `make cluster-up` writes down.

| variable | meaning |
|---|---|
| KUBECONFIG | the cluster; kubectl's own default when empty |
| GRAFT_BIN | folder of kubectl and helm, put before PATH |
| GRAFT_IMAGES | JSON file: program → image reference |
| GRAFT_S3_ENDPOINT | the S3 store as this machine reaches it |
| GRAFT_S3_ENDPOINT_IN_CLUSTER | the same as pods reach it |
| GRAFT_DOCKER_HOST | the Docker daemon that runs the local cluster's nodes, for tests that kill |
| GRAFT_S3_BUCKET, GRAFT_S3_REGION, GRAFT_S3_ACCESS_KEY, GRAFT_S3_SECRET_KEY | bucket and credentials |

For a cluster of your own set GRAFT_USE_EXISTING=1 and all of these before `make cluster-up`; GRAFT_IMAGES then names
images that the cluster can pull.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("operator", "trainer", "agent", "registry", "engine")


class EnvironmentIncompleteError(Exception):
    """Something that the demo needs is not known. The message names the variable and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStorage:
    """An S3 bucket, as seen from this machine and from the cluster's pods."""

    endpoint: str
    endpoint_in_cluster: str
    bucket: str
    region: str
    access_key: str
    secret_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Everything that is given before the demo begins."""

    kubeconfig: str
    programs: str
    """Folder of kubectl and helm, or empty."""
    images: Mapping[str, str]
    storage: ObjectStorage
    docker_host: str
    """The Docker daemon of the local cluster's nodes; Docker's own default when empty."""
    cache: Path
    """Where things are kept between runs."""


def read_environment(environ: Mapping[str, str] = os.environ) -> Environment:
    """Read the facts that the last `make cluster-up` wrote; variables fill what it left out.

    Raises:
        EnvironmentIncompleteError: there is no cluster yet, or a variable is missing.
    """
    cache = Path(environ.get("GRAFT_CACHE") or Path.home() / ".cache" / "graft")
    facts = dict(environ) | _facts(cache / "cluster.env")
    storage = ObjectStorage(
        endpoint=_needed(facts, "GRAFT_S3_ENDPOINT"),
        endpoint_in_cluster=_needed(facts, "GRAFT_S3_ENDPOINT_IN_CLUSTER"),
        bucket=_needed(facts, "GRAFT_S3_BUCKET"),
        region=facts.get("GRAFT_S3_REGION", "us-east-1"),
        access_key=_needed(facts, "GRAFT_S3_ACCESS_KEY"),
        secret_key=_needed(facts, "GRAFT_S3_SECRET_KEY"),
    )
    return Environment(
        kubeconfig=facts.get("KUBECONFIG", ""),
        programs=facts.get("GRAFT_BIN", ""),
        images=_images(Path(_needed(facts, "GRAFT_IMAGES"))),
        storage=storage,
        docker_host=facts.get("GRAFT_DOCKER_HOST", ""),
        cache=cache,
    )


def _facts(path: Path) -> dict[str, str]:
    """Parse lines of the form ``export NAME='value'``."""
    lines = path.read_text().splitlines() if path.exists() else []
    words = (shlex.split(line, comments=True) for line in lines)
    return dict(parts[-1].split("=", 1) for parts in words if parts)


def _needed(facts: Mapping[str, str], name: str) -> str:
    if not facts.get(name):
        raise EnvironmentIncompleteError(
            f"{name} is not known. Run `make cluster-up`, or set it for your own cluster (see demo/environment.py)."
        )
    return facts[name]


def _images(path: Path) -> dict[str, str]:
    if not path.exists():
        raise EnvironmentIncompleteError(f"GRAFT_IMAGES: {path} does not exist. Run `make images`.")
    images: dict[str, str] = json.loads(path.read_text())
    missing = [program for program in PROGRAMS if program not in images]
    if missing:
        raise EnvironmentIncompleteError(f"GRAFT_IMAGES: {path} lacks {', '.join(missing)}. Run `make images`.")
    return images
