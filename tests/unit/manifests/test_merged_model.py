"""What serves a merged model."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from subprocess import run
from typing import Any, ClassVar

import pytest
from tests.builders import PLATFORM, adapter, base_model, served_version
from tests.unit.manifests.pod_security import violations

from graft_operator.api.adapter_status import ServedVersion
from graft_operator.manifests import labels, naming
from graft_operator.manifests.workloads.merged_model import merged_model_manifests
from graft_operator.reconcilers.snapshots.merged_pods import merged_pod_observed

BASE = base_model(serving={"replicas": 3, "image": "vllm:1", "engineArgs": ["--dtype=bfloat16"], "maxModelLength": 64})


def manifests(number: int = 1, **spec: Any) -> list[dict[str, Any]]:
    subject = adapter(serving={"mode": "Merged"}, **spec)
    return merged_model_manifests(subject, BASE, served_version(number), PLATFORM)


def pod(number: int = 1) -> dict[str, Any]:
    template: dict[str, Any] = manifests(number)[-1]["spec"]["template"]
    return template


def test_the_pod_fits_the_restricted_standard_and_has_no_api_token() -> None:
    assert violations(pod()["spec"]) == []
    assert pod()["spec"]["automountServiceAccountToken"] is False
    containers = [*pod()["spec"]["initContainers"], *pod()["spec"]["containers"]]
    assert all(container["securityContext"]["readOnlyRootFilesystem"] for container in containers)
    mounted = {mount["name"] for container in containers for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod()["spec"]["volumes"]}


def test_the_engine_is_the_bases_and_loads_no_adapters() -> None:
    engine = pod()["spec"]["containers"][0]
    assert engine["image"] == "vllm:1"
    assert {"--served-model-name=support", "--dtype=bfloat16", "--max-model-len=64"} <= set(engine["args"])
    assert "--enable-lora" not in engine["args"]
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in {variable["name"] for variable in engine["env"]}
    fetching = pod()["spec"]["initContainers"][0]
    destination = next(argument for argument in fetching["args"] if argument.startswith("--destination="))
    assert f"--model={destination.partition('=')[2]}/merged" in engine["args"]


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
    assert selector[labels.COMPONENT] != "serving", "an agent would be looked for in these pods"
    assert naming.merged_url("team-a", "support") == f"http://{service['metadata']['name']}.team-a.svc:8000"


@pytest.mark.parametrize(("ready", "active"), [(True, {2: 100}), (False, {})])
def test_a_pod_tells_which_version_it_serves(ready: bool, active: dict[int, int]) -> None:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    body = {"metadata": {"name": "p", **pod(2)["metadata"]}, "status": {"conditions": conditions}}
    observed = merged_pod_observed(body)
    assert observed is not None
    assert (observed.ready, observed.active) == (ready, active)
    version: ServedVersion = served_version(2)
    assert (observed.versions[0].number, observed.versions[0].digest) == (2, version.digest)
    assert observed.base_digest == version.base_digest


class Engine(BaseHTTPRequestHandler):
    """Answers as an engine whose first inference works, or doesn't."""

    works = True
    asked: ClassVar[dict[str, Any]] = {}

    def do_POST(self) -> None:
        Engine.asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = b'{"choices": [{"text": "x"}]}' if self.works else b'{"error": "dead"}'
        self.send_response(200 if self.works else 500)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.mark.parametrize("works", [True, False])
def test_a_pod_is_started_when_it_has_generated_a_token(works: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "works", works)
    server = HTTPServer(("127.0.0.1", 0), Engine)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    *question, url = pod()["spec"]["containers"][0]["startupProbe"]["exec"]["command"]
    finished = run([*question, url.replace("8000", str(server.server_port))], capture_output=True, check=False)
    thread.join()
    server.server_close()
    assert (finished.returncode == 0) == works
    assert Engine.asked == {"model": "support", "prompt": "1", "max_tokens": 1}
