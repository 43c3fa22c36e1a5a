from pathlib import Path

import yaml

from graft_cluster.kind.config import NODE_PORT, NODES, Stores, render


def test_every_node_shows_the_volumes_and_its_own_store() -> None:
    stores = {name: Path(f"/c/nodes/{name}/containerd") for name in NODES}
    config = yaml.safe_load(render(Path("/c/volumes"), Stores(Path("/c/t"), stores), "graft/node:1", without_cni=True))
    assert config["networking"]["disableDefaultCNI"] is True
    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker", "worker"]
    mounts = [{m["containerPath"]: m["hostPath"] for m in node["extraMounts"]} for node in config["nodes"]]
    assert {m["/var/graft/volumes"] for m in mounts} == {"/c/volumes"}
    assert [m["/var/lib/containerd"] for m in mounts] == [str(path) for path in stores.values()]
    assert {m["/var/graft/template"] for m in mounts} == {"/c/t"}
    assert all(yaml.safe_load(patch)["kind"] for patch in config["kubeadmConfigPatches"])


def test_public_node_images_keep_their_own_store_and_network() -> None:
    config = yaml.safe_load(render(Path("/v"), None, "kindest/node:v1", without_cni=False))
    assert config["networking"]["disableDefaultCNI"] is False
    assert all(len(node["extraMounts"]) == 1 for node in config["nodes"])


def test_public_nodes_may_be_in_a_virtual_machine_so_their_s3_is_published() -> None:
    nodes = yaml.safe_load(render(Path("/v"), None, "kindest/node:v1", without_cni=False))["nodes"]
    mapping = {"containerPort": NODE_PORT, "hostPort": NODE_PORT, "listenAddress": "127.0.0.1"}
    assert [node.get("extraPortMappings") for node in nodes] == [[mapping], None, None]
    services = yaml.safe_load_all((Path(__file__).parents[3] / "hack/manifests/s3.yaml").read_text())
    assert [service["spec"]["ports"][0]["nodePort"] for service in services if service["kind"] == "Service"] == [
        NODE_PORT
    ]
