import json
from pathlib import Path

import yaml

from graft_cluster.addons.network_policies import MANIFEST
from graft_cluster.kind.node_network import POLICY_QUEUE, Node, conflist, parse_nodes, script

NODES = [
    Node("a", "172.18.0.2", "10.244.0.0/24"),
    Node("b", "172.18.0.3", "10.244.1.0/24"),
    Node("c", "172.18.0.4", "10.244.2.0/24"),
]


def test_a_node_gets_routes_to_the_others_and_none_to_itself() -> None:
    routes = [line for line in script(NODES[1], NODES).splitlines() if line.startswith("ip route")]
    assert routes == [
        "ip route replace 10.244.0.0/24 via 172.18.0.2",
        "ip route replace 10.244.2.0/24 via 172.18.0.4",
    ]


def test_pods_get_addresses_of_their_nodes_share() -> None:
    link = json.loads(conflist("10.244.7.0/24"))["plugins"][0]
    assert link["ipam"]["ranges"] == [[{"subnet": "10.244.7.0/24"}]]


def test_a_node_without_a_share_yet_is_not_counted() -> None:
    def item(name: str, **spec: str) -> dict[str, object]:
        addresses = [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": "172.18.0.2"}]
        return {"metadata": {"name": name}, "spec": spec, "status": {"addresses": addresses}}

    listing = json.dumps({"items": [item("a", podCIDR="10.244.0.0/24"), item("b")]})
    assert parse_nodes(listing) == [NODES[0]]


def test_first_packets_wait_for_a_verdict_and_pass_while_nobody_gives_any() -> None:
    queued = [line for line in script(NODES[0], NODES).splitlines() if "NFQUEUE" in line]
    assert len(queued) == 2
    for line in queued:
        present, _, added = line.partition(" || ")
        assert present.replace(" -C ", " -A ").removesuffix(" 2>/dev/null") == added
        assert added.startswith("iptables -t mangle -A FORWARD ")
        assert "--ctstate NEW" in added
        assert added.endswith("--queue-num 100 --queue-bypass")


def test_who_gives_verdicts_looks_into_the_queue_that_the_nodes_fill() -> None:
    manifests = list(yaml.safe_load_all((Path("hack/manifests") / MANIFEST).read_text()))
    [spec] = [item["spec"]["template"]["spec"] for item in manifests if item["kind"] == "DaemonSet"]
    [container] = spec["containers"]
    assert f"--nfqueue-id={POLICY_QUEUE}" in container["args"]
    assert container["image"] == "$(IMAGE)"
    assert spec["hostNetwork"] is True
