"""One real engine in a pod, on loopback and with a key as few may reach it, and a way to its port."""

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
from demo import objects
from demo.cluster import Cluster
from demo.environment import Environment, read_environment
from tests.engine.adapters import build_adapters
from tests.engine.pod import READY_SECONDS, engine_pod

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "graft-engine"
POD = "engine"
VOLUME = "graft-engine"
"""Folder of the cache's volumes, which every node of the local cluster shows."""
MODEL = "tiny"
PORT = 8001
KEY = "only-for-the-engine"
FORWARDED_PORT = 18001
URL = f"http://127.0.0.1:{FORWARDED_PORT}"


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
    folder = environment.cache / "volumes" / VOLUME
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source / "base-v1", folder / "base", copy_function=shutil.copyfile)
    build_adapters(folder / "base", folder / "adapters")
    return folder


@pytest.fixture(scope="module")
def engine(environment: Environment, models: Path) -> Iterator[Engine]:
    """Start the engine; it is deleted at the end, and each module gets its own."""
    cluster = Cluster.of(environment)
    cluster.apply(objects.namespace(NAMESPACE))
    cluster.delete("pod", POD, NAMESPACE)
    cluster.apply(real_engine(environment.images["engine"]))
    ready = ("wait", "--for=condition=Ready", f"pod/{POD}", "-n", NAMESPACE, f"--timeout={READY_SECONDS}s")
    cluster.kubectl(*ready, timeout=READY_SECONDS + 20)
    forward = subprocess.Popen(
        ["kubectl", "port-forward", "-n", NAMESPACE, f"pod/{POD}", f"{FORWARDED_PORT}:{PORT}"],
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
        cluster.delete("pod", POD, NAMESPACE)


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


def real_engine(image: str) -> dict[str, Any]:
    """Return the pod. The probe runs inside it, since the engine listens on loopback."""
    probe = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{PORT}/health')"
    return engine_pod(
        NAMESPACE,
        POD,
        image,
        app=POD,
        folder=VOLUME,
        arguments=[
            "--model=/models/base",
            f"--served-model-name={MODEL}",
            "--host=127.0.0.1",
            f"--port={PORT}",
            "--max-loras=1",
            "--max-cpu-loras=2",
            "--max-lora-rank=16",
            f"--api-key={KEY}",
        ],
        probe={"exec": {"command": ["python3", "-c", probe]}},
    )
