"""One real engine in a pod, with the very arguments that the operator gives it, and a way to its loopback port."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3
from demo import objects, release
from demo.cluster import Cluster
from demo.environment import Environment, read_environment
from tests.engine.adapters import build_adapters

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "graft-engine"
NODE_FOLDER = "/var/graft/volumes/graft-engine"
"""Where every node of the local cluster shows ``volumes/graft-engine`` of the cache."""
MODEL = "tiny"
PORT = 8001
KEY = "only-for-the-engine"
FORWARDED_PORT = 18001
URL = f"http://127.0.0.1:{FORWARDED_PORT}"
START_SECONDS = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A running engine: its API, and the files that it sees."""

    folder: Path
    """The adapters, on this machine."""
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(timeout=60, retries=False))

    def post(self, path: str, body: dict[str, Any]) -> urllib3.BaseHTTPResponse:
        """Call the API as somebody who knows its key."""
        return self.http.request("POST", f"{URL}{path}", json=body, headers={"Authorization": f"Bearer {KEY}"})

    def ask_as_stranger(self, method: str, path: str, body: dict[str, Any] | None = None) -> int:
        """Call the API without its key; return the status."""
        return self.http.request(method, f"{URL}{path}", json=body).status

    def load(self, name: str, adapter: str) -> urllib3.BaseHTTPResponse:
        """Load one of the adapters' folders under a name."""
        return self.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": f"/models/adapters/{adapter}"})

    def unload(self, name: str) -> urllib3.BaseHTTPResponse:
        """Forget a name."""
        return self.post("/v1/unload_lora_adapter", {"lora_name": name})

    def complete(self, model: str, tokens: int = 8) -> urllib3.BaseHTTPResponse:
        """Ask for a greedy completion."""
        body = {"model": model, "prompt": "a person who is", "max_tokens": tokens, "temperature": 0}
        return self.post("/v1/completions", body)

    def text(self, model: str) -> str:
        """Return a greedy completion."""
        answer = self.complete(model)
        assert answer.status == 200, answer.data
        return str(answer.json()["choices"][0]["text"])

    def models(self) -> dict[str, dict[str, Any]]:
        """Return the models that the engine lists, by name."""
        answer = self.http.request("GET", f"{URL}/v1/models", headers={"Authorization": f"Bearer {KEY}"})
        return {entry["id"]: entry for entry in answer.json()["data"]}


@pytest.fixture(scope="session")
def environment() -> Environment:
    """Return the facts of the local cluster."""
    facts = read_environment()
    os.environ["PATH"] = f"{facts.programs}:{os.environ['PATH']}" if facts.programs else os.environ["PATH"]
    return facts


@pytest.fixture(scope="session")
def models(environment: Environment) -> Path:
    """Return a folder that every node sees, with a base and the adapters."""
    source = environment.cache / "demo" / "e2e"
    command = [sys.executable, "-m", "demo.models.build", "--out", str(source)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    folder = environment.cache / "volumes" / "graft-engine"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source / "base-v1", folder / "base", copy_function=shutil.copyfile)
    build_adapters(folder / "base", folder / "adapters")
    return folder


@pytest.fixture(scope="module")
def engine(environment: Environment, models: Path) -> Iterator[Engine]:
    """Start the engine; it is deleted at the end, and each module gets its own."""
    cluster = Cluster.of(environment)
    cluster.apply(objects.namespace(NAMESPACE))
    cluster.delete("pod", "engine", NAMESPACE, "--grace-period=1")
    cluster.apply(engine_pod(environment.images["engine"]))
    cluster.kubectl(
        "wait", "--for=condition=Ready", "pod/engine", "-n", NAMESPACE, "--timeout=240s", timeout=START_SECONDS + 20
    )
    forward = subprocess.Popen(
        ["kubectl", "port-forward", "-n", NAMESPACE, "pod/engine", f"{FORWARDED_PORT}:{PORT}"],
        env=cluster.environment,
        stdout=subprocess.DEVNULL,
    )
    engine = Engine(folder=models / "adapters")
    try:
        wait_for(engine)
        yield engine
    finally:
        forward.terminate()
        forward.wait()
        cluster.delete("pod", "engine", NAMESPACE, "--grace-period=1")


def wait_for(engine: Engine) -> None:
    """Wait until the port is forwarded."""
    for _ in range(50):
        try:
            engine.models()
        except urllib3.exceptions.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("the engine's port is not forwarded")


def engine_pod(image: str) -> dict[str, Any]:
    """Return the pod. The probe runs inside it, since the engine listens on loopback."""
    probe = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{PORT}/health')"
    environment = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        **release.CPU_ENGINE_ENVIRONMENT,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "engine", "namespace": NAMESPACE},
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "engine",
                    "image": image,
                    "command": ["python3", "-m", "vllm.entrypoints.openai.api_server"],
                    "args": [
                        "--model=/models/base",
                        f"--served-model-name={MODEL}",
                        "--host=127.0.0.1",
                        f"--port={PORT}",
                        "--enable-lora",
                        "--max-loras=1",
                        "--max-cpu-loras=2",
                        "--max-lora-rank=16",
                        f"--api-key={KEY}",
                    ],
                    "env": [{"name": name, "value": value} for name, value in environment.items()],
                    "readinessProbe": {
                        "exec": {"command": ["python3", "-c", probe]},
                        "periodSeconds": 5,
                        "timeoutSeconds": 5,
                        "failureThreshold": 60,
                    },
                    "volumeMounts": [{"name": "models", "mountPath": "/models"}],
                }
            ],
            "volumes": [{"name": "models", "hostPath": {"path": NODE_FOLDER, "type": "Directory"}}],
        },
    }
