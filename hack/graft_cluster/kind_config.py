"""The kind configuration: one for every way of getting a node image."""

from __future__ import annotations

from pathlib import Path

CLUSTER = "graft"
CONTROL_PLANE = f"{CLUSTER}-control-plane"
#: kind's own naming.
NODES = (CONTROL_PLANE, f"{CLUSTER}-worker", f"{CLUSTER}-worker2")
POD_SUBNET = "10.244.0.0/16"
VOLUMES = "/var/graft/volumes"

# etcd keeps its data in the node's tmpfs: this cluster is thrown away, and a
# small machine's disk is better spent on images. kubelet from 1.35 on refuses
# cgroup v1 unless told otherwise.
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
nodes:
"""


def render(volumes: Path, containerd: dict[str, Path], node_image: str, *, without_cni: bool) -> str:
    """The configuration; `containerd` names a prepared store per node, if any."""
    head = HEAD.format(cluster=CLUSTER, pod_subnet=POD_SUBNET, without_cni=str(without_cni).lower())
    return head + "".join(_node(name, volumes, containerd.get(name), node_image) for name in NODES)


def _node(name: str, volumes: Path, containerd: Path | None, image: str) -> str:
    role = "control-plane" if name == CONTROL_PLANE else "worker"
    mounts = {VOLUMES: volumes}
    if containerd is not None:
        mounts["/var/lib/containerd"] = containerd
    lines = [f"  - role: {role}", f"    image: {image}", "    extraMounts:"]
    for inside, outside in mounts.items():
        lines.append(f'      - hostPath: "{outside}"')
        lines.append(f"        containerPath: {inside}")
    return "\n".join(lines) + "\n"
