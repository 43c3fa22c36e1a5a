"""The kind configuration: one for every way of getting a node image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CLUSTER = "graft"
CONTROL_PLANE = f"{CLUSTER}-control-plane"
#: kind's own naming.
NODES = (CONTROL_PLANE, f"{CLUSTER}-worker", f"{CLUSTER}-worker2")
POD_SUBNET = "10.244.0.0/16"
VOLUMES = "/var/graft/volumes"
TEMPLATE = "/var/graft/template"
#: Of the S3 endpoint, on every node.
NODE_PORT = 30070
LOOPBACK = "127.0.0.1"

# etcd keeps its data in the node's tmpfs: this cluster is thrown away, and a
# small machine's disk is better spent on images. kubelet from 1.35 on refuses
# cgroup v1 unless told otherwise. Tests kill the same container again and again:
# the rest of up to five minutes between its restarts would be what they measure.
HEAD = """\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
name: {cluster}
networking:
  disableDefaultCNI: {without_cni}
  podSubnet: {pod_subnet}
kubeadmConfigPatches:
  - |
    kind: ClusterConfiguration
    etcd:
      local:
        dataDir: /tmp/etcd
  - |
    kind: KubeletConfiguration
    failCgroupV1: false
    maxPods: 60
    crashLoopBackOff:
      maxContainerRestartPeriod: 10s
nodes:
"""


@dataclass(frozen=True)
class Stores:
    """Prepared images: one template that all nodes see, one store per node."""

    template: Path
    by_node: dict[str, Path]


def render(volumes: Path, stores: Stores | None, node_image: str, *, without_cni: bool) -> str:
    """The configuration; without stores the nodes keep what their image brings.

    Such nodes may be in a virtual machine, as Docker Desktop's are, so the S3 endpoint's port is one of this machine.
    """
    head = HEAD.format(cluster=CLUSTER, pod_subnet=POD_SUBNET, without_cni=str(without_cni).lower())
    return head + "".join(_node(name, volumes, stores, node_image) for name in NODES)


def _node(name: str, volumes: Path, stores: Stores | None, image: str) -> str:
    role = "control-plane" if name == CONTROL_PLANE else "worker"
    lines = [f"  - role: {role}", f"    image: {image}", "    extraMounts:"]
    lines += _mount(volumes, VOLUMES)
    if stores is not None:
        lines += _mount(stores.template, TEMPLATE, read_only=True)
        lines += _mount(stores.by_node[name], "/var/lib/containerd")
    elif name == CONTROL_PLANE:
        lines += [
            "    extraPortMappings:",
            f"      - containerPort: {NODE_PORT}",
            f"        hostPort: {NODE_PORT}",
            f"        listenAddress: {LOOPBACK}",
        ]
    return "\n".join(lines) + "\n"


def _mount(outside: Path, inside: str, *, read_only: bool = False) -> list[str]:
    return [
        f'      - hostPath: "{outside}"',
        f"        containerPath: {inside}",
        f"        readOnly: {str(read_only).lower()}",
    ]
