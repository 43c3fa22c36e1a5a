"""What is running right now."""

from __future__ import annotations

import subprocess

from graft_cluster.cache import Cache
from graft_cluster.docker.processes import Daemon
from graft_cluster.kind.cluster import Cluster
from graft_cluster.ways import Way


def report(cache: Cache, way: Way, cluster: Cluster) -> None:
    """Print the way, our processes, the nodes and the pods."""
    print(f"way:     {way.value}")
    print(f"cache:   {cache.root}")
    for name in ("containerd", "dockerd"):
        pid = Daemon(name, cache).running_pid()
        print(f"{name + ':':<11}{f'pid {pid}' if pid else 'not running'}")
    if not cluster.is_up():
        print("cluster: down")
        return
    print(f"cluster: up, KUBECONFIG={cache.kubeconfig}")
    kubectl = [str(cache.binaries / "kubectl"), f"--kubeconfig={cache.kubeconfig}"]
    for what in (["nodes"], ["pods", "--all-namespaces", "--output=wide"]):
        subprocess.run([*kubectl, "get", *what], check=False)
