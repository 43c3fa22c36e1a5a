"""What serves a merged model."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.agent_documents import state_of
from tests.builders import PLATFORM, adapter, base_model, served_version
from tests.unit.manifests.pod_security import violations

from graft_operator.agents import Unreachable
from graft_operator.api.adapter_status import ServedVersion
from graft_operator.manifests import labels, naming
from graft_operator.manifests.workloads.merged_model import merged_model_manifests
from graft_operator.reconcilers.snapshots.merged_pods import merged_pod_observed
from graft_operator.reconcilers.snapshots.serving_pods import ServingPod
from graft_registry.documents import engine_name

BASE = base_model(serving={"replicas": 3, "image": "vllm:1", "engineArgs": ["--dtype=bfloat16"], "maxModelLength": 64})
WITH_KEYS = base_model(serving={"apiKeySecretRef": {"name": "tiny-keys", "key": "clients"}})


def manifests(number: int = 1, **spec: Any) -> list[dict[str, Any]]:
    subject = adapter(serving={"mode": "Merged"}, **spec)
    return merged_model_manifests(subject, BASE, served_version(number), PLATFORM)


def pod(number: int = 1) -> dict[str, Any]:
    template: dict[str, Any] = manifests(number)[-1]["spec"]["template"]
    return template


def containers_of(spec: dict[str, Any]) -> dict[str, Any]:
    return {container["name"]: container for container in (*spec["initContainers"], *spec["containers"])}


def test_the_pod_fits_the_restricted_standard_and_has_no_api_token() -> None:
    spec = pod()["spec"]
    assert violations(spec) == []
    assert spec["automountServiceAccountToken"] is False
    containers = containers_of(spec).values()
    assert all(container["securityContext"]["readOnlyRootFilesystem"] for container in containers)
    assert not any("projected" in volume for volume in spec["volumes"])
    mounted = {mount["name"] for container in containers for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}


def test_the_engine_is_the_bases_on_loopback_and_loads_no_adapters() -> None:
    containers = containers_of(pod()["spec"])
    engine, version = containers["engine"], served_version(1)
    name = engine_name("support", 1, version.digest)
    assert engine["image"] == "vllm:1"
    assert {f"--served-model-name={name}", "--dtype=bfloat16", "--max-model-len=64"} <= set(engine["args"])
    assert {"--host=127.0.0.1", f"--port={naming.ENGINE_PORT}"} <= set(engine["args"])
    assert "ports" not in engine
    assert "--enable-lora" not in engine["args"]
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in {variable["name"] for variable in engine["env"]}
    destination = next(item for item in containers["fetch-version"]["args"] if item.startswith("--destination="))
    assert f"--model={destination.partition('=')[2]}/merged" in engine["args"]


def test_the_agent_alone_is_reached_and_asks_for_the_keys_of_the_base() -> None:
    subject = adapter(serving={"mode": "Merged"})
    spec = merged_model_manifests(subject, WITH_KEYS, served_version(1), PLATFORM)[-1]["spec"]["template"]["spec"]
    containers = containers_of(spec)
    ports = {name: [port["containerPort"] for port in one.get("ports", ())] for name, one in containers.items()}
    assert ports == {"fetch-version": [], "engine": [], "agent": [8000, 8002, 8090]}
    assert containers["agent"]["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "state"}
    [mount] = [mount for mount in containers["agent"]["volumeMounts"] if mount["name"] == "api-keys"]
    assert {"name": "GRAFT_API_KEY_FILE", "value": f"{mount['mountPath']}/keys"} in containers["agent"]["env"]
    assert "api-keys" not in {mount["name"] for mount in containers["engine"]["volumeMounts"]}
    assert "envFrom" not in containers["agent"], "nothing is fetched by it"


def test_a_new_version_is_a_rolling_update_that_takes_no_pod_away_before_its_successor_answers() -> None:
    first, second = manifests(1)[-1], manifests(2)[-1]
    assert first["metadata"] == second["metadata"]
    assert first["spec"]["selector"] == second["spec"]["selector"]
    assert first["spec"]["template"] != second["spec"]["template"]
    assert first["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert first["spec"]["replicas"] == 3


def test_the_service_finds_the_pods_and_no_others() -> None:
    service, budget, deployment = manifests()
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert service["spec"]["selector"] == budget["spec"]["selector"]["matchLabels"] == selector
    assert selector.items() <= pod()["metadata"]["labels"].items()
    assert selector[labels.COMPONENT] != "serving", "they are none of the base's pods"
    assert naming.merged_url("team-a", "support") == f"http://{service['metadata']['name']}.team-a.svc:8000"


def body(**status: Any) -> dict[str, Any]:
    template = pod(2)
    metadata = {"name": "p", "namespace": "team-a", "uid": "u", **template["metadata"]}
    return {"metadata": metadata, "spec": template["spec"], "status": status}


def told(state: str, active: int | None) -> Any:
    wanted = json.loads(pod(2)["metadata"]["annotations"][labels.WANTED])
    [adapter_entry] = wanted["adapters"]
    version = {**adapter_entry["versions"][0], "state": state, "reason": "", "message": ""}
    shares = [] if active is None else [{"number": active, "weight": 100}]
    entry = {"name": "support", "active": shares, "versions": [version]}
    pod_state = {"pod": "p", "engine": {"state": "Ready"}, "ready": True, "adapters": [entry]}
    return state_of({"schema": "graft.dev/agent/v1", **pod_state})


@pytest.mark.parametrize(("state", "active"), [("Proven", {2: 100}), ("Refused", {}), ("Loading", {})])
def test_a_pod_serves_what_its_agent_says(state: str, active: dict[int, int]) -> None:
    ready = body(conditions=[{"type": "Ready", "status": "True"}])
    observed = merged_pod_observed(ServingPod(body=ready, answer=told(state, next(iter(active), None))), "support")
    assert observed is not None
    assert (observed.ready, observed.reachable, observed.active) == (True, True, active)
    version: ServedVersion = served_version(2)
    assert [(item.number, item.digest, item.state) for item in observed.versions] == [(2, version.digest, state)]
    assert observed.base_digest == version.base_digest


def test_a_pod_that_kubernetes_calls_ready_serves_nothing_while_its_agent_is_silent() -> None:
    ready = body(conditions=[{"type": "Ready", "status": "True"}])
    observed = merged_pod_observed(ServingPod(body=ready, answer=Unreachable("no route")), "support")
    assert observed is not None
    assert (observed.reachable, observed.active, observed.versions) == (False, {}, ())


def test_a_pod_of_a_release_without_agents_answers_as_long_as_it_is_ready() -> None:
    former = body(conditions=[{"type": "Ready", "status": "True"}]) | {"spec": {"containers": [{"name": "engine"}]}}
    observed = merged_pod_observed(ServingPod(body=former, answer=Unreachable("refused")), "support")
    assert observed is not None
    assert observed.active == {2: 100}
    assert [item.state for item in observed.versions] == ["Proven"]


def test_a_pod_for_which_a_node_comes_fails_at_nothing() -> None:
    no_node = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    comes = {"reason": "TriggeredScaleUp", "note": "pod triggered scale-up: [{gpus 0->1}]", "type": "Normal"}
    waiting = ServingPod(body=body(conditions=[no_node]), answer=None)
    for events, expected in (([comes], ("Pending", "WaitingForNode")), ([], ("Failing", "Unschedulable"))):
        observed = merged_pod_observed(waiting, "support", events)
        assert observed is not None
        assert [(item.state, item.reason) for item in observed.versions] == [expected]


@pytest.mark.parametrize(("state", "expected"), [("Loading", "Failing"), ("Refused", "Refused")])
def test_an_engine_that_can_not_start_is_told_unless_the_agent_knows_more(state: str, expected: str) -> None:
    waiting = {"name": "engine", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    answer = told(state, None)
    observed = merged_pod_observed(ServingPod(body=body(initContainerStatuses=[waiting]), answer=answer), "support")
    assert observed is not None
    assert [item.state for item in observed.versions] == [expected]
