"""Enforcement of NetworkPolicies, where the nodes have no network plugin that does it.

kube-network-policies decides about the first packet of each connection, which the kernel puts into a queue for it. Its
own nftables rules need a kernel with nft_queue, which some virtual machines lack; the rule of `node_network` does the
same with what every kernel has that runs kube-proxy.
"""

from __future__ import annotations

from pathlib import Path

from graft_cluster import versions
from graft_cluster.cache import Cache
from graft_cluster.docker.client import Docker
from graft_cluster.images.local_images import LocalImages
from graft_cluster.images.local_registry import ADDRESS
from graft_cluster.kind.cluster import Cluster
from graft_cluster.programs import golang
from graft_cluster.steps import Steps

IMAGE = f"{ADDRESS}/graft/kube-network-policies:{versions.KUBE_NETWORK_POLICIES}"
MANIFEST = "network-policies.yaml"


def enforce(cache: Cache, steps: Steps, docker: Docker, cluster: Cluster, manifests: Path) -> None:
    """Run the program on every node, and wait until it does."""
    golang.ensure(cache, steps, golang.KUBE_NETWORK_POLICIES)
    LocalImages(cache, steps, docker).ensure_program(IMAGE, cache.binaries / "kube-network-policies")
    with steps.step("enforce NetworkPolicies") as step:
        text = (manifests / MANIFEST).read_text().replace("$(IMAGE)", IMAGE)
        cluster.kubectl(step, "apply", "-f", "-", stdin=text)
        rollout = ("rollout", "status", "daemonset/kube-network-policies", "--timeout=120s")
        cluster.kubectl(step, "-n", "kube-system", *rollout)
