"""chat: through the API server's port forwarding, as kubectl's own, into pods that answer as agents do."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli.conftest import NAMESPACE, Cluster, manifest
from tests.cli.verbs.serving_node import HOST, AgentPod, asked, serving_node
from tests.control_plane import ADAPTERS, PODS
from tests.unit.cli import objects

NODES = "/api/v1/nodes"
MERGE = "application/merge-patch+json"
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


@pytest.fixture
def pods() -> dict[str, AgentPod]:
    loaded = ("support@v6", "support@v7")
    return {"agent-0": AgentPod(loaded=loaded), "agent-1": AgentPod(loaded=loaded)}


@pytest.fixture
def served(cluster: Cluster, tmp_path: Path, pods: dict[str, AgentPod]) -> Iterator[Cluster]:
    """The cluster with a node that runs two serving pods of the base, of two revisions."""
    with serving_node(tmp_path, pods) as node:
        cluster.request("POST", NODES, {"metadata": {"name": "node-1"}})
        address = {"addresses": [{"type": "InternalIP", "address": HOST}]}
        endpoints = {"daemonEndpoints": {"kubeletEndpoint": {"Port": node.port}}}
        cluster.request("PATCH", f"{NODES}/node-1/status", {"status": address | endpoints}, MERGE)
        base = cluster.request("GET", f"/apis/graft.dev/v1alpha1/namespaces/{NAMESPACE}/basemodels/tiny")
        for name in pods:
            labels = {
                "graft.dev/owner-uid": base["metadata"]["uid"],
                "graft.dev/component": "serving",
                "pod-template-hash": name,
            }
            put_pod(cluster, name, labels)
        yield cluster
        cluster.request("DELETE", f"{NODES}/node-1")


def put_pod(cluster: Cluster, name: str, labels: dict[str, str], status: Any = READY) -> None:
    spec = {"nodeName": "node-1", "containers": [{"name": "agent", "image": "none"}]}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    cluster.put(PODS, {"metadata": metadata, "spec": spec, "status": status})


def answers(found: Any) -> dict[str, tuple[str, str]]:
    (turn,) = found.document["turns"]
    return {item["title"]: (item["version"], item["text"]) for item in turn["answers"]}


def test_base_and_served_version_are_asked_side_by_side(served: Cluster, pods: dict[str, AgentPod]) -> None:
    found = served.graft("chat", "support", "hello", "--system", "be brief", "-o", "json")
    assert (found.code, found.err) == (0, "")
    assert answers(found) == {
        "base": ("tiny@base", "tiny heard hello"),
        "v6": ("support@v6", "support@v6 heard hello"),
    }
    sent = pods["agent-0"].requests[0]
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert (sent["temperature"], sent["max_tokens"]) == (0.0, 256)


def test_people_read_who_has_answered(served: Cluster) -> None:
    found = served.graft("chat", "support", "hello", "--versions", "v6,7", "--raw")
    assert found.code == 0
    assert "[v6]  support@v6, 3 tokens" in found.out
    assert "support@v7 heard hello" in found.out
    assert "base" not in found.out
    assert "\x1b" not in found.out


def test_a_canary_is_asked_too(served: Cluster) -> None:
    served.put(ADAPTERS, manifest("LoraAdapter", objects.canary().raw))
    assert list(answers(served.graft("chat", "support", "hello", "-o", "json"))) == ["base", "v6", "v7"]


def test_a_base_is_asked_alone(served: Cluster) -> None:
    assert answers(served.graft("chat", "tiny", "hello", "-o", "json")) == {"base": ("tiny@base", "tiny heard hello")}
    wrong = served.graft("chat", "tiny", "hello", "--versions", "v1")
    assert (wrong.code, "is a base and has no versions" in wrong.err) == (2, True)
    missing = served.graft("chat", "nobody", "hello")
    assert (missing.code, "no LoraAdapter and no BaseModel is called nobody" in missing.err) == (3, True)


def test_a_version_that_is_not_loaded_says_so_and_what_to_do(served: Cluster, pods: dict[str, AgentPod]) -> None:
    found = served.graft("chat", "support", "hello", "--versions", "v3,v6")
    assert found.code == 1
    assert "support@v3 is not loaded" in found.out
    assert "kubectl graft pin support 3" in found.out
    assert "support@v6 heard hello" in found.out, "the others answer all the same"
    assert "support@v3" in asked(pods["agent-0"])
    assert "support@v3" in asked(pods["agent-1"]), "a pod of the other revision might have had it"


def test_a_version_of_the_other_revision_is_found_there(served: Cluster, pods: dict[str, AgentPod]) -> None:
    pods["agent-0"].loaded = ("support@v7",)
    found = served.graft("chat", "support", "hello", "--versions", "v6", "-o", "json")
    assert answers(found) == {"v6": ("support@v6", "support@v6 heard hello")}


def test_an_answer_of_another_version_is_not_shown(served: Cluster, pods: dict[str, AgentPod]) -> None:
    for pod in pods.values():
        pod.answers_as = {"support@v6": "support@v7", "tiny": "none"}
    found = served.graft("chat", "support", "hello")
    assert found.code == 1
    assert "support@v7 has answered, not support@v6" in found.out
    assert "heard" not in found.out


def test_a_pod_that_takes_no_connection_is_passed_over(served: Cluster, pods: dict[str, AgentPod]) -> None:
    pods["agent-0"].is_listening = False
    assert served.graft("chat", "support", "hello").code == 0
    pods["agent-1"].is_listening = False
    found = served.graft("chat", "support", "hello")
    assert (found.code, "can't forward port 8000 of pod team-a/agent-0" in found.out) == (1, True)


def test_keys_come_from_the_environment(
    served: Cluster, pods: dict[str, AgentPod], monkeypatch: pytest.MonkeyPatch
) -> None:
    for pod in pods.values():
        pod.key = "secret"
    refused = served.graft("chat", "support", "hello")
    assert (refused.code, "better GRAFT_API_KEY" in refused.out) == (1, True)
    monkeypatch.setenv("GRAFT_API_KEY", "secret")
    assert served.graft("chat", "support", "hello").code == 0


def test_what_a_model_says_moves_no_cursor(served: Cluster) -> None:
    found = served.graft("chat", "tiny", "\x1b[2Jgone\u202e")
    assert "heard \N{REPLACEMENT CHARACTER}[2Jgone" in found.out
    assert "\x1b" not in found.out
    assert "\u202e" not in found.out


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (400, '{"error": {"message": "the tokenizer has no chat template"}}', "is asked with --raw"),
        (200, "<html>a proxy</html>", "none of the OpenAI API"),
        (200, '{"choices": []}', "none of the OpenAI API"),
        (500, '{"detail": "boom"}', 'status 500: {"detail": "boom"}'),
        (503, '{"error": "busy"}', "try again"),
    ],
)
def test_strange_answers_are_no_crash(
    served: Cluster, pods: dict[str, AgentPod], status: int, body: str, says: str
) -> None:
    for pod in pods.values():
        pod.instead = (status, body)
    found = served.graft("chat", "tiny", "hello")
    assert (found.code, says in found.out) == (1, True), found.out


def test_each_line_of_stdin_is_a_prompt(served: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\n\ntwo\n"))
    found = served.graft("chat", "tiny", "-o", "yaml")
    turns = yaml.safe_load(found.out)["turns"]
    assert [turn["prompt"] for turn in turns] == ["one", "two"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\ntwo\n"))
    whole = served.graft("chat", "tiny", "-", "-o", "json")
    assert whole.document["turns"][0]["answers"][0]["text"] == "tiny heard one\ntwo\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    nothing = served.graft("chat", "tiny")
    assert (nothing.code, "there is no prompt" in nothing.err) == (1, True)


def test_an_address_is_asked_directly(served: Cluster, pods: dict[str, AgentPod]) -> None:
    url = f"http://{HOST}:{pods['agent-1'].port}/"
    assert served.graft("chat", "support", "hello", "--endpoint", url).code == 0
    assert asked(pods["agent-0"]) == []
    away = served.graft("chat", "support", "hello", "--endpoint", "http://127.0.0.1:1")
    assert (away.code, "can't ask http://127.0.0.1:1" in away.out) == (1, True)
    assert served.graft("chat", "support", "hello", "--endpoint", "models.example.com").code == 2


def test_the_rights_that_the_page_lists_are_enough_and_each_is_needed(served: Cluster) -> None:
    group = "graft.dev"
    rules = [
        {"apiGroups": [group], "resources": ["loraadapters", "basemodels"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get", "create"]},
    ]
    talker = served.person("talker", *rules)
    assert served.graft("chat", "support", "hello", kubeconfig=talker).code == 0
    for number, less in enumerate(({"verbs": ["get"]}, {"verbs": ["create"]}, {"resources": ["pods/log"]})):
        listener = served.person(f"listener-{number}", *rules[:2], rules[2] | less)
        refused = served.graft("chat", "support", "hello", kubeconfig=listener)
        assert refused.code == 4, less
        assert "can't forward port 8000 of pod team-a/agent-" in refused.err
        assert "kubectl graft doctor" in refused.err


def test_pods_that_are_not_ready_are_not_asked(served: Cluster, pods: dict[str, AgentPod]) -> None:
    for name in pods:
        served.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}?gracePeriodSeconds=0")
    refused = served.graft("chat", "support", "hello")
    assert (refused.code, "no pod of base tiny is ready" in refused.err) == (1, True)
