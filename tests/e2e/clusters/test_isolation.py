"""Who reaches serving pods, and what their containers hold: keys, ports, tokens, NetworkPolicies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from demo import objects, release
from demo.client import POD
from demo.cluster import Cluster, Object, condition
from demo.environment import Environment
from demo.goals import serves_only_current
from tests.e2e.reach import Inside
from tests.e2e.serving import ENGINE_SECONDS
from tests.e2e.tenant import BASE, Tenant, answers

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
KEY = "sk-isolation"
CLIENTS, MONITORING, STRANGERS = "graft-e2e-web", "graft-e2e-monitoring", "graft-e2e-strangers"
API, ENGINE, PEERS, STATE = 8000, 8001, 8002, 8090
PEER_TOKEN = "/var/run/secrets/graft.dev/peers/token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolated:
    """A base that asks for a key, and a merged model of it, each on one pod; and pods that try to reach them."""

    tenant: Tenant
    pods: dict[str, Object]
    """The serving pod of the base, and the pod of the merged model."""

    def container(self, component: str, name: str) -> Inside:
        """Return a container of one of the two pods."""
        pod = self.pods[component]["metadata"]["name"]
        return Inside(cluster=self.tenant.cluster, namespace=self.tenant.namespace, pod=pod, container=name)

    def client(self, namespace: str = "") -> Inside:
        """Return the client of a namespace; of the tenant's own if none is named."""
        where = namespace or self.tenant.namespace
        return Inside(cluster=self.tenant.cluster, namespace=where, pod=POD, container="client")


@pytest.fixture(scope="module")
def isolated(tenant: Tenant) -> Isolated:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys", "namespace": tenant.namespace},
        "stringData": {"keys": KEY},
    }
    tenant.apply(secret, tenant.base(replicas=1, apiKeySecretRef={"name": "keys", "key": "keys"}))
    tenant.apply(tenant.adapter("alone", serving={"mode": "Merged"}))
    tenant.client()
    tenant.wait_for_base(serves_only_current, "served", ENGINE_SECONDS)
    adapter = tenant.wait_settled("alone", timeout=2 * ENGINE_SECONDS)
    assert condition(adapter, "Ready")["status"] == "True"
    found = {component: [pod for pod in tenant.pods(component) if answers(pod)] for component in ("serving", "merged")}
    return Isolated(tenant=tenant, pods={component: pods[0] for component, pods in found.items()})


def test_a_merged_model_asks_for_the_key_of_its_base_and_says_who_answers(isolated: Isolated) -> None:
    url = f"http://graft-alone-merged.{isolated.tenant.namespace}.svc:8000"
    refused = isolated.client().complete(url, "alone")
    assert (refused["status"], refused["version"]) == (401, "none")
    answer = isolated.client().complete(url, "alone", KEY)
    assert (answer["status"], answer["version"], answer["body"]["model"]) == (200, "alone@v1", "alone")
    other = isolated.client().complete(url, BASE, KEY)
    assert (other["status"], other["version"]) == (404, "none")


@pytest.mark.parametrize("component", ["serving", "merged"])
def test_only_agents_listen_on_the_network(isolated: Isolated, component: str) -> None:
    found = {port: isolated.client().connects(isolated.pods[component], port) for port in (API, ENGINE, STATE)}
    assert found == {API: "open", ENGINE: "refused", STATE: "open"}


def test_only_agents_have_tokens(isolated: Isolated) -> None:
    containers = [(component, name) for component in isolated.pods for name in ("agent", "engine")]
    found = {names for names in containers if isolated.container(*names).has_token()}
    assert found == {(component, "agent") for component in isolated.pods}


@pytest.mark.parametrize("component", ["serving", "merged"])
def test_the_port_for_other_pods_answers_none_but_those_of_the_base(isolated: Isolated, component: str) -> None:
    tenant, pod, client = isolated.tenant, isolated.pods[component], isolated.client()
    owner = {"serving": f"basemodel.{BASE}", "merged": "loraadapter.alone"}[component]
    audience = f"graft-peers.{tenant.namespace}.{owner}"
    account = f"graft-{BASE}-serving"
    strangers = {
        "no token": "",
        "garbage": "garbage",
        "a token for the API server": tenant.token(account),
        "of another account": tenant.token({"serving": "default", "merged": account}[component], audience),
    }
    found = {name: client.ask_as_peer(pod, token, KEY) for name, token in strangers.items()}
    assert found == dict.fromkeys(strangers, 401)
    # The base itself is no model of the pod of a merged model.
    known = {"serving": 200, "merged": 404}[component]
    assert isolated.container(component, "agent").ask_as_peer(pod, PEER_TOKEN) == known


@pytest.fixture(scope="module")
def policies(cluster: Cluster, environment: Environment, isolated: Isolated) -> Iterator[None]:
    """Have NetworkPolicies made, and a client in each of three more namespaces."""
    wanted = {"enabled": True, "clientNamespaces": [CLIENTS], "monitoringNamespaces": [MONITORING]}
    namespaces = (CLIENTS, MONITORING, STRANGERS)
    for name in namespaces:
        cluster.apply(objects.namespace(name), objects.client_pod(name, POD, environment.images["agent"]))
        cluster.kubectl("wait", "-n", name, f"pod/{POD}", "--for=condition=Ready", "--timeout=90s")
    tenant = isolated.tenant
    sibling = objects.client_pod(tenant.namespace, "sibling", environment.images["agent"])
    # What a policy goes by; none of the operator's, who looks for the Deployment behind a pod.
    own = isolated.pods["serving"]["metadata"]["labels"]
    sibling["metadata"]["labels"] = {name: own[name] for name in ("graft.dev/owner-uid", "graft.dev/component")}
    cluster.apply(sibling)
    release.install(cluster, environment, networkPolicies=wanted)
    names = {f"graft-{BASE}", "graft-alone-merged"}
    cluster.wait_for("networkpolicy", tenant.namespace, lambda seen: names <= seen.keys(), what="policies", timeout=60)
    cluster.kubectl("wait", "-n", tenant.namespace, "pod/sibling", "--for=condition=Ready", "--timeout=90s")
    time.sleep(3)  # for every node to have heard of them
    yield
    release.install(cluster, environment)
    cluster.kubectl("delete", "networkpolicy", "-A", "-l", "app.kubernetes.io/managed-by=graft")
    for name in namespaces:
        cluster.delete("namespace", name, "", "--timeout=120s")


def reached(isolated: Isolated, component: str, inside: Inside) -> set[int]:
    """Return the agent's ports that can be reached from a container; any other is as if nobody were there."""
    found = {port: inside.connects(isolated.pods[component], port) for port in (API, PEERS, STATE)}
    assert set(found.values()) <= {"open", "silent"}, found
    return {port for port, what in found.items() if what == "open"}


@pytest.mark.usefixtures("policies")
@pytest.mark.parametrize("component", ["serving", "merged"])
@pytest.mark.parametrize(
    ("namespace", "ports"),
    [("", {API}), (CLIENTS, {API}), (MONITORING, {STATE}), (STRANGERS, set())],
    ids=["the tenant's own", "clients", "monitoring", "strangers"],
)
def test_who_reaches_serving_pods(isolated: Isolated, component: str, namespace: str, ports: set[int]) -> None:
    assert reached(isolated, component, isolated.client(namespace)) == ports


@pytest.mark.usefixtures("policies")
def test_pods_of_the_base_reach_one_another_and_no_merged_model(isolated: Isolated) -> None:
    tenant = isolated.tenant
    sibling = Inside(cluster=tenant.cluster, namespace=tenant.namespace, pod="sibling", container="client")
    assert reached(isolated, "serving", sibling) == {API, PEERS}
    assert reached(isolated, "merged", sibling) == {API}


@pytest.mark.usefixtures("policies")
def test_what_is_meant_for_peers_reaches_no_other_pod(isolated: Isolated) -> None:
    tenant = isolated.tenant
    agent = isolated.container("serving", "agent")
    sibling, stranger = (tenant.cluster.get("pod", name, tenant.namespace) for name in ("sibling", POD))
    assert sibling is not None
    assert stranger is not None
    # Nobody listens in either of them: what is let through is refused by the pod itself.
    assert agent.connects(sibling, PEERS) == "refused"
    assert {port: agent.connects(stranger, port) for port in (API, PEERS)} == {API: "refused", PEERS: "silent"}


@pytest.mark.usefixtures("policies")
def test_the_operator_hears_the_agents_and_only_monitoring_reaches_it(isolated: Isolated, cluster: Cluster) -> None:
    [pod] = cluster.list("pod", release.NAMESPACE, "app.kubernetes.io/component=operator")
    operator = Inside(cluster=cluster, namespace=release.NAMESPACE, pod=pod["metadata"]["name"], container="operator")
    for component in isolated.pods:
        assert operator.connects(isolated.pods[component], STATE) == "open"
        assert operator.connects(isolated.pods[component], PEERS) == "silent"
    assert isolated.client(MONITORING).connects(pod, 8080) == "open"
    assert isolated.client(STRANGERS).connects(pod, 8080) == "silent"


@pytest.mark.usefixtures("policies")
def test_what_is_served_stays_served(isolated: Isolated) -> None:
    url = f"http://graft-alone-merged.{isolated.tenant.namespace}.svc:8000"
    assert isolated.client(CLIENTS).complete(url, "alone", KEY)["version"] == "alone@v1"
    # Long enough for agents that can't be asked, or probes that don't arrive, to show.
    time.sleep(20)
    assert condition(isolated.tenant.read("alone"), "Ready")["status"] == "True"
    for component in isolated.pods:
        assert any(answers(pod) for pod in isolated.tenant.pods(component))
