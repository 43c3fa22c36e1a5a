"""The registry on this machine that nodes pull Graft's images from.

It follows kind's documented recipe: a container on kind's network, published on
the loopback interface only. The nodes are told that the address used on this
machine means that container.
"""

from __future__ import annotations

import os

from graft_cluster import versions
from graft_cluster.cache import Cache
from graft_cluster.docker.client import Docker
from graft_cluster.images.single_program import import_program
from graft_cluster.programs import golang
from graft_cluster.steps import Step, Steps

PORT = 5001
ADDRESS = f"localhost:{PORT}"
CONTAINER = "graft-registry"
NETWORK = "kind"
PUBLIC_IMAGE = "registry:3"
CONFIG = """\
version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: /var/lib/registry}
  delete: {enabled: true}
http: {addr: ":5000"}
"""
HOSTS_FOLDER = f"/etc/containerd/certs.d/{ADDRESS}"
HOSTS_TOML = f'[host."http://{CONTAINER}:5000"]\n'


def ensure_network(steps: Steps, docker: Docker) -> None:
    """Make kind's network; kind takes it as it finds it."""
    if docker.succeeds("network", "inspect", NETWORK):
        return
    with steps.step("make kind's network") as step:
        masquerade = "com.docker.network.bridge.enable_ip_masquerade=true"
        docker.run(step, "network", "create", "-d=bridge", "-o", masquerade, NETWORK)


def ensure_registry(cache: Cache, steps: Steps, docker: Docker, *, can_pull: bool) -> None:
    """Start the registry, its blobs in the cache."""
    if running(docker):
        return
    ensure_network(steps, docker)
    image = public_image() if can_pull else f"graft/registry-server:{versions.DISTRIBUTION}"
    if not can_pull and not docker.has_image(image):
        golang.ensure(cache, steps, golang.REGISTRY)
        with steps.step("make the image of the registry") as step:
            import_program(docker, step, cache.binaries / "registry", image)
    config = cache.folder("registry") / "config.yml"
    config.write_text(CONFIG)
    with steps.step("start the local registry") as step:
        if docker.succeeds("container", "inspect", CONTAINER):
            docker.run(step, "rm", "--force", CONTAINER)
        docker.run(
            step,
            "run",
            "--detach",
            f"--name={CONTAINER}",
            f"--network={NETWORK}",
            f"--publish=127.0.0.1:{PORT}:5000",
            f"--volume={cache.folder('registry', 'data')}:/var/lib/registry",
            f"--volume={config}:/etc/distribution/config.yml:ro",
            image,
            "serve",
            "/etc/distribution/config.yml",
        )


def public_image() -> str:
    """The registry's own image, or a mirror of it."""
    return os.environ.get("GRAFT_REGISTRY_IMAGE") or PUBLIC_IMAGE


def running(docker: Docker) -> bool:
    """Whether the registry's container runs."""
    return docker.succeeds("exec", CONTAINER, "registry", "--version")


def tell_node(step: Step, docker: Docker, node: str) -> None:
    """Make a node's containerd look for the local address in the registry."""
    script = f"mkdir -p '{HOSTS_FOLDER}' && cat > '{HOSTS_FOLDER}/hosts.toml'"
    docker.run(step, "exec", "-i", node, "sh", "-c", script, stdin=HOSTS_TOML)
