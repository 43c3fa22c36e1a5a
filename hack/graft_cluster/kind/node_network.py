"""Pod networking without a network plugin's image: a file and some routes per node.

kind's own plugin is one more image to pull. On one bridge network, what it does
comes down to this: each node gets a CNI configuration for its share of the pod
addresses, a route to every other node's share, and one rule that lets pods out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from graft_cluster.docker.client import Docker
from graft_cluster.kind.config import POD_SUBNET
from graft_cluster.steps import Step

#: NFQUEUE of the first packet of each connection of a pod. While no program reads the queue, packets pass.
POLICY_QUEUE = 100
CNI_FILE = "/etc/cni/net.d/10-graft.conflist"


@dataclass(frozen=True)
class Node:
    """A node's name, address and share of the pod addresses."""

    name: str
    address: str
    pods: str


def conflist(pods: str) -> str:
    """The CNI configuration of a node."""
    link = {
        "type": "ptp",
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "dataDir": "/run/cni-ipam-state",
            "ranges": [[{"subnet": pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": "graft", "plugins": [link, ports]})


def script(node: Node, nodes: list[Node]) -> str:
    """The commands that connect one node's pods to all the others, repeatable."""
    rule = f"POSTROUTING -s {POD_SUBNET} ! -d {POD_SUBNET} -j MASQUERADE"
    lines = ["set -e"]
    for other in nodes:
        if other != node:
            lines.append(f"ip route replace {other.pods} via {other.address}")
    for direction in (f"-s {POD_SUBNET}", f"! -s {POD_SUBNET} -d {POD_SUBNET}"):
        queued = f"FORWARD {direction} -m conntrack --ctstate NEW -j NFQUEUE --queue-num {POLICY_QUEUE} --queue-bypass"
        lines.append(f"iptables -t mangle -C {queued} 2>/dev/null || iptables -t mangle -A {queued}")
    lines.append(f"iptables -t nat -C {rule} 2>/dev/null || iptables -t nat -A {rule}")
    lines.append(f"cat > {CNI_FILE}")
    return "\n".join(lines)


def connect(step: Step, docker: Docker, nodes: list[Node]) -> None:
    """Give every node its configuration and routes."""
    for node in nodes:
        command = ("exec", "-i", node.name, "sh", "-c", script(node, nodes))
        docker.run(step, *command, stdin=conflist(node.pods))


def parse_nodes(listing: str) -> list[Node]:
    """Read `kubectl get nodes -o json`."""
    nodes = []
    for item in json.loads(listing)["items"]:
        addresses = item["status"]["addresses"]
        address = next(a["address"] for a in addresses if a["type"] == "InternalIP")
        pods = item["spec"].get("podCIDR")
        if pods:
            nodes.append(Node(item["metadata"]["name"], address, pods))
    return nodes
