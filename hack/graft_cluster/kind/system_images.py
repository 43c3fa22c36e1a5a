"""The images a Kubernetes node needs, made from binaries instead of pulled.

kubeadm and kind look for fixed names, so these images carry the official names;
they exist in the local engine and on the nodes only and are never pushed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from graft_cluster import versions
from graft_cluster.cache import Cache
from graft_cluster.docker.build_context import BuildContext
from graft_cluster.docker.client import Docker
from graft_cluster.images.single_program import import_program
from graft_cluster.programs import golang
from graft_cluster.steps import Steps

OFFICIAL = "registry.k8s.io"
_TAG = f"v{versions.KUBERNETES}"
PAUSE = f"{OFFICIAL}/pause:{versions.KUBEADM_PAUSE_TAG}"
KUBE_PROXY = f"{OFFICIAL}/kube-proxy:{_TAG}"
PROGRAMS = {
    f"{OFFICIAL}/kube-apiserver:{_TAG}": "kube-apiserver",
    f"{OFFICIAL}/kube-controller-manager:{_TAG}": "kube-controller-manager",
    f"{OFFICIAL}/kube-scheduler:{_TAG}": "kube-scheduler",
    f"{OFFICIAL}/etcd:{versions.KUBEADM_ETCD_TAG}": "etcd",
    f"{OFFICIAL}/coredns/coredns:{versions.KUBEADM_COREDNS_TAG}": "coredns",
    PAUSE: "pause",
}
#: Everything a node must have before kubeadm starts.
ALL = (*PROGRAMS, KUBE_PROXY)


def ensure_system_images(cache: Cache, steps: Steps, docker: Docker, debian: str, checkout: Path) -> str:
    """Make the images where they are missing; return the node image's reference."""
    for reference, program in PROGRAMS.items():
        if not docker.has_image(reference):
            with steps.step(f"make the image of {program}") as step:
                import_program(docker, step, cache.binaries / program, reference)
    if not docker.has_image(KUBE_PROXY):
        with steps.step("build the kube-proxy image") as step:
            binary = {"kube-proxy": cache.binaries / "kube-proxy"}
            context = _context(checkout, "kube-proxy", binary)
            docker.build(step, context, KUBE_PROXY, {"BASE": debian})
    return _ensure_node_image(cache, steps, docker, debian, checkout)


def _ensure_node_image(cache: Cache, steps: Steps, docker: Docker, debian: str, checkout: Path) -> str:
    recipe = _context(checkout, "node", {}).digest(debian, versions.CONTAINERD)
    reference = f"graft/node:v{versions.KUBERNETES}-{recipe}"
    if docker.has_image(reference):
        return reference
    kind = golang.module_folder(cache, steps, golang.KIND) / "images" / "base" / "files"
    files = dict(_prefixed("kind", kind))
    for build in (golang.CONTAINERD, golang.KUBERNETES):
        for name in build.binaries:
            files[f"bin/{name}"] = cache.binaries / name
    arguments = {
        "BASE": debian,
        "KUBERNETES_VERSION": versions.KUBERNETES,
        "PAUSE_TAG": versions.KUBEADM_PAUSE_TAG,
    }
    with steps.step("build the node image") as step:
        docker.build(step, _context(checkout, "node", files), reference, arguments)
    return reference


def _context(checkout: Path, name: str, extra: dict[str, Path]) -> BuildContext:
    return BuildContext(f"hack/images/{name}/Dockerfile", checkout, extra=extra)


def _prefixed(prefix: str, folder: Path) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield f"{prefix}/{path.relative_to(folder).as_posix()}", path
