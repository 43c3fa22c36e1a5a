"""Operator ↔ serving agent (docs/contracts.md §6 and §7): the wanted set one way, the state the other."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import pytest
from tests import builders
from tests.agent_documents import state_of

from graft_operator.agents.client import AGENT_PORT
from graft_operator.agents.state import EngineStatus, LoadStatus
from graft_operator.api.adapter_status import RolloutProgress
from graft_operator.api.base_model import BaseModel
from graft_operator.manifests import labels, naming
from graft_operator.manifests.workloads import serving
from graft_operator.manifests.workloads.access import TOKEN_SECONDS, peer_audience
from graft_operator.manifests.workloads.merged_model import merged_model_manifests
from graft_operator.manifests.workloads.serving_workload import GRACE_SECONDS
from graft_operator.plan.placement.places import place
from graft_operator.plan.placement.wanted_set import wanted_set
from graft_registry.config import RegistryConfig
from graft_serving.cluster_api import SERVICE_ACCOUNT
from graft_serving.engine.monitor import EngineStateName
from graft_serving.peers.signing_keys import REFRESH_SECONDS
from graft_serving.settings import Settings
from graft_serving.status import documents
from graft_serving.versions import VersionState
from graft_serving.wanted import configmap as wanted_configmap
from graft_serving.wanted.documents import parse_wanted_set

OTHER = "http://graft-tiny-12345678.team-a.svc:8000"


def wanted(**fields: Any) -> dict[str, Any]:
    urls = {builders.base_id("B"): OTHER}
    adapters = [
        builders.adapter_of_base("new"),
        builders.adapter_of_base("steady", target=builders.served_version(1)),
        builders.adapter_of_base(
            "moving",
            previous=builders.served_version(1),
            target=builders.served_version(2),
            progress=RolloutProgress(weight=10, start_time=builders.NOW),
        ),
        builders.adapter_of_base(
            "readapted", previous=builders.served_version(1), target=builders.served_version(2, base="B")
        ),
        builders.adapter_of_base("elsewhere", target=builders.served_version(2, base="B")),
        builders.adapter_of_base("going", target=builders.served_version(1), deleting=True),
    ]
    document = wanted_set(
        "tiny",
        builders.base_id(),
        forward_base_to=None,
        adapters=adapters,
        service_urls=urls,
        placement=place(adapters, builders.base_id(), 8),
    )
    return document | fields


def test_agent_understands_the_wanted_set() -> None:
    read = parse_wanted_set(json.dumps(wanted()).encode())
    by_name = {adapter.name: adapter for adapter in read.adapters}
    assert by_name.keys() == {"steady", "moving", "readapted", "elsewhere"}
    assert [key.number for key in by_name["moving"].version_keys] == [1, 2]
    assert [(share.version.number, share.weight) for share in by_name["moving"].desired_route] == [(1, 90), (2, 10)]
    assert [share.version.number for share in by_name["readapted"].desired_route] == [1]
    assert by_name["elsewhere"].desired_route == ()
    assert by_name["elsewhere"].forward_to == OTHER


def test_agent_finds_the_wanted_set_in_its_config_map() -> None:
    revision = builders.serving_revision()
    config_map = serving.wanted_config_map(builders.base_model(), revision, wanted())
    assert config_map["data"].keys() == {wanted_configmap.KEY}
    parse_wanted_set(config_map["data"][wanted_configmap.KEY].encode())


def agent_environment() -> dict[str, str]:
    container = serving.agent_container(builders.base_model(), builders.serving_revision(), builders.PLATFORM)
    given = {variable["name"]: variable.get("value", "pod-1") for variable in container["env"]}
    return {name: str(value) for name, value in given.items()}


def test_agent_understands_its_environment() -> None:
    environ = agent_environment()
    settings = Settings.from_environment(environ)
    assert settings.wanted_configmap == builders.serving_revision().deployment
    assert (settings.api_port, settings.admin_port) == (naming.API_PORT, naming.STATE_PORT)
    assert settings.peer_port == naming.PEER_PORT
    assert settings.admin_port == AGENT_PORT
    assert settings.max_rank == builders.base_model().spec.serving.max_rank
    assert settings.peer_service_url == naming.service_url(builders.NAMESPACE, "tiny")
    pod = serving.serving_pod(builders.base_model(), builders.serving_revision(), builders.PLATFORM, {})
    assert_shows_the_tokens_that_it_takes(pod, settings)
    assert RegistryConfig.from_environment(environ).bucket == "graft"


def assert_shows_the_tokens_that_it_takes(pod: dict[str, Any], settings: Settings) -> None:
    """Assert that what the kubelet gives to each pod is what the agents of the others believe."""
    [volume] = [volume for volume in pod["volumes"] if volume["name"] == "peer-token"]
    [source] = volume["projected"]["sources"]
    [agent] = pod["containers"]
    [mount] = [mount for mount in agent["volumeMounts"] if mount["name"] == volume["name"]]
    token, group = source["serviceAccountToken"], settings.peer_group
    assert group is not None
    assert token["audience"] == group.audience
    assert group.subject == f"system:serviceaccount:{builders.NAMESPACE}:{pod.get('serviceAccountName', 'default')}"
    assert str(settings.peer_token_file) == f"{mount['mountPath']}/{token['path']}"
    assert "subPath" not in mount, "a file that is mounted by subPath never changes"
    assert any(mount["mountPath"] == str(SERVICE_ACCOUNT) for mount in agent["volumeMounts"]), "for the API's keys"
    tokens = {"api-token", "peer-token"}
    for other in pod["initContainers"]:
        assert not tokens & {mount["name"] for mount in other["volumeMounts"]}, "they are the agent's alone"


@pytest.mark.parametrize("account", [None, "reader-of-the-registry"])
def test_pods_of_a_merged_model_with_keys_know_one_another(account: str | None) -> None:
    base = builders.base_model(serving={"apiKeySecretRef": {"name": "tiny-keys", "key": "clients"}})
    spec = {"pod": {"serviceAccountName": account}} if account else {}
    template = merged_template(base, **spec)
    [container] = template["spec"]["containers"]
    environ = {variable["name"]: str(variable.get("value", "pod-1")) for variable in container["env"]}
    # The file with the clients' keys is in the pod alone.
    settings = Settings.from_environment({**environ, "GRAFT_API_KEY_FILE": ""})
    assert_shows_the_tokens_that_it_takes(template["spec"], settings)


def test_agents_of_a_merged_model_without_keys_have_no_token() -> None:
    template = merged_template()
    [container] = template["spec"]["containers"]
    assert not any("projected" in volume for volume in template["spec"]["volumes"])
    assert not {variable["name"] for variable in container["env"] if variable["name"].startswith("GRAFT_PEER_A")}


def test_that_the_api_is_away_is_noticed_before_tokens_run_out() -> None:
    # The kubelet replaces a token when a fifth of its time is left; from then on it may fail to.
    assert REFRESH_SECONDS < TOKEN_SECONDS / 5


def test_no_two_objects_have_peers_in_common() -> None:
    names = [("BaseModel", "team-a", "x"), ("LoraAdapter", "team-a", "x"), ("BaseModel", "team", "a.x")]
    names += [("BaseModel", "team-a", "x.y"), ("BaseModel", "team-b", "x")]
    assert len({peer_audience(*name) for name in names}) == len(names)


def merged_template(base: BaseModel | None = None, **spec: Any) -> dict[str, Any]:
    subject = builders.adapter(serving={"mode": "Merged"}, **spec)
    base = base or builders.base_model()
    made = merged_model_manifests(subject, base, builders.served_version(2), builders.PLATFORM)
    template: dict[str, Any] = made[-1]["spec"]["template"]
    return template


def test_agent_of_a_merged_model_understands_its_environment() -> None:
    [container] = merged_template()["spec"]["containers"]
    environ = {variable["name"]: str(variable.get("value", "pod-1")) for variable in container["env"]}
    settings = Settings.from_environment(environ)
    assert settings.wanted_configmap is None
    assert settings.peer_service_url == naming.merged_url(builders.NAMESPACE, "support")
    known = {f"GRAFT_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in environ if name.startswith("GRAFT_")} <= known
    fetching, engine = merged_template()["spec"]["initContainers"]
    assert f"--manifest={settings.merged_manifest}" in fetching["args"]
    [volume] = [item for item in merged_template()["spec"]["volumes"] if item["name"] == "wanted"]
    [mount] = [item for item in container["volumeMounts"] if item["name"] == "wanted"]
    [file] = volume["downwardAPI"]["items"]
    assert str(settings.wanted_file) == f"{mount['mountPath']}/{file['path']}"
    assert f"--port={naming.ENGINE_PORT}" in engine["args"]
    assert settings.engine_url == f"http://127.0.0.1:{naming.ENGINE_PORT}"


def test_agent_of_a_merged_model_wants_the_version_that_its_engine_serves() -> None:
    template = merged_template()
    read = parse_wanted_set(template["metadata"]["annotations"][labels.WANTED].encode())
    [adapter] = read.adapters
    [share] = adapter.desired_route
    assert share.version.number == 2
    assert f"--served-model-name={share.version.engine_name}" in template["spec"]["initContainers"][1]["args"]


def test_agent_has_ended_before_kubernetes_kills_it() -> None:
    settings = Settings.from_environment(agent_environment())
    assert settings.drain_seconds + settings.shutdown_seconds + 5 <= GRACE_SECONDS


def test_agent_ignores_none_of_its_environment() -> None:
    known = {f"GRAFT_{name.upper()}" for name in Settings.model_fields} | {"GRAFT_REGISTRY"}
    given = {name for name in agent_environment() if name.startswith("GRAFT_")}
    assert given <= known


def state(**fields: Any) -> documents.AgentState:
    version = documents.VersionStatus(
        number=7,
        manifest_digest=builders.digest("manifest"),
        engine_name="support--v7-ab12cd34",
        state="Proven",
        reason="",
        message="",
        inflight=1,
        requests=10,
        errors=0,
        load_seconds=0.25,
    )
    adapter = documents.AdapterStatus(
        name="support", active=(documents.ShareState(number=7, weight=100),), versions=(version,)
    )
    told = {
        "pod": "pod-1",
        "revision": "1f2e3d4c-5",
        "wanted_digest": builders.digest("wanted"),
        "message": "",
        "base": documents.BaseState(name="tiny", digest=builders.base_id()),
        "engine": documents.EngineState(state="Ready", starts=1, message=""),
        "ready": True,
        "adapters": (adapter,),
    }
    return documents.AgentState(**told | fields)


def is_part(kept: Any, told: Any) -> bool:
    """Whether whatever is kept under a name that was told is what was told."""
    if isinstance(kept, dict):
        return all(is_part(value, told[name]) for name, value in kept.items() if name in told)
    if isinstance(kept, list | tuple):
        return len(kept) == len(told) and all(map(is_part, kept, told))
    return bool(kept == told)


def test_operator_understands_the_state() -> None:
    told = state().to_dict()
    assert is_part(msgspec.to_builtins(state_of(told)), told)


def test_operator_knows_every_word_of_the_state() -> None:
    assert set(get_args(LoadStatus)) == set(VersionState)
    assert set(get_args(EngineStatus)) == set(get_args(EngineStateName))


@pytest.mark.parametrize("digest", [None, builders.digest("wanted")])
def test_state_before_the_first_wanted_set(digest: str | None) -> None:
    assert state_of(state(wanted_digest=digest, adapters=()).to_dict()).wanted_digest == digest
