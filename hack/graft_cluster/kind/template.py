"""Nodes that start with their images already unpacked.

Pulling and unpacking the engine's five gigabytes takes minutes per node. So it
is done once: a container with the node image fills one containerd store, the
template. Every node sees the template read-only, and gets a store of its own
that links to the template's unpacked layers. That is safe: an overlay never
writes to a lower layer. Links, because copying (even as hard links) a hundred
thousand files, and deleting them again, takes longer than the cluster itself.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from graft_cluster.cache import Cache
from graft_cluster.docker.client import Docker
from graft_cluster.images import local_registry
from graft_cluster.kind.config import TEMPLATE
from graft_cluster.steps import Step, StepFailed, Steps

BUILDER = "graft-template"
SNAPSHOTTER = "io.containerd.snapshotter.v1.overlayfs"
CTR = ("ctr", "--namespace=k8s.io", "images")


class Template:
    """One containerd store that holds a fixed set of images."""

    def __init__(
        self,
        cache: Cache,
        steps: Steps,
        docker: Docker,
        local: Sequence[str],
        pulled: Sequence[str],
    ) -> None:
        """`local` images come from the engine, `pulled` ones from the registry."""
        self._cache = cache
        self._steps = steps
        self._docker = docker
        self._local = tuple(local)
        self._pulled = tuple(pulled)

    def key(self, identities: Sequence[str]) -> str:
        """The name of the template with exactly these images."""
        return hashlib.sha256("\0".join(identities).encode()).hexdigest()[:12]

    def ensure(self, node_image: str) -> Path:
        """Return the template's folder, filling it at most once."""
        with self._steps.step("look for the nodes' images") as step:
            inspect = ("image", "inspect", "--format={{.Id}}", *self._local)
            identities = self._docker.read(step, *inspect).split()
        folder = self._cache.folder("templates") / self.key([*identities, *self._pulled])
        if not folder.is_dir():
            fresh = folder.with_suffix(".new")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            with self._steps.step("unpack the nodes' images once") as step:
                self._fill(step, fresh, node_image)
            fresh.rename(folder)
            self._forget_others(folder)
        return folder

    def stores(self, folder: Path, nodes: Sequence[str]) -> dict[str, Path]:
        """Make a store of its own for every node."""
        stores = {node: self._cache.folder("nodes", node) for node in nodes}
        with self._steps.step("prepare the nodes' stores") as step:
            for store in stores.values():
                link_store(step, folder, store / "containerd")
        return {node: store / "containerd" for node, store in stores.items()}

    def _fill(self, step: Step, folder: Path, node_image: str) -> None:
        docker = self._docker
        if docker.succeeds("container", "inspect", BUILDER):
            docker.run(step, "rm", "--force", BUILDER)
        docker.run(
            step,
            *("run", "--detach", "--privileged", f"--name={BUILDER}"),
            *(f"--network={local_registry.NETWORK}", "--tmpfs=/run", "--tmpfs=/tmp"),
            f"--volume={folder}:/var/lib/containerd",
            *("--entrypoint=/usr/local/bin/containerd", node_image),
        )
        try:
            self._import(step)
        finally:
            docker.run(step, "stop", "--time=20", BUILDER)
            docker.run(step, "rm", "--force", BUILDER)

    def _import(self, step: Step) -> None:
        docker = self._docker
        wait = "for i in $(seq 100); do ctr version >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1"
        docker.run(step, "exec", BUILDER, "sh", "-c", wait)
        local_registry.tell_node(step, docker, BUILDER)
        archive = self._cache.root / "system-images.tar"
        try:
            docker.run(step, "save", f"--output={archive}", *self._local)
            script = f"exec docker exec -i {BUILDER} {' '.join(CTR)} import - < '{archive}'"
            step.run(["sh", "-c", script], env=docker.environment)
        finally:
            archive.unlink(missing_ok=True)
        hosts = "--hosts-dir=/etc/containerd/certs.d"
        for reference in self._pulled:
            docker.run(step, "exec", BUILDER, *CTR, "pull", hosts, reference)

    def _forget_others(self, keep: Path) -> None:
        for old in keep.parent.iterdir():
            if old != keep:
                shutil.rmtree(old, ignore_errors=True)


def link_store(step: Step, template: Path, store: Path) -> None:
    """Make a containerd store: layers are links, blobs hard links, databases copies."""
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir()
    databases = sorted(template.glob("io.containerd.*/*.db"))
    if not databases:
        raise StepFailed(f"{template} is not a containerd store")
    for part in template.iterdir():
        if part.name != SNAPSHOTTER:
            step.run(["cp", "-al", part, store])
    snapshots = store / SNAPSHOTTER / "snapshots"
    snapshots.mkdir(parents=True, mode=0o700)
    for layer in (template / SNAPSHOTTER / "snapshots").iterdir():
        seen_from_node = Path(TEMPLATE, SNAPSHOTTER, "snapshots", layer.name)
        (snapshots / layer.name).symlink_to(seen_from_node)
    for path in databases:
        copy = store / path.relative_to(template)
        copy.unlink(missing_ok=True)
        shutil.copy2(path, copy)
