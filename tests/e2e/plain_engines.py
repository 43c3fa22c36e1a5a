"""Engines without Graft: changed by their own API behind a plain Service, as other controllers do it.

The order of the calls is that of the vLLM production stack's LoraAdapter controller and of AIBrix's ModelAdapter: one
name per adapter, unloaded and loaded again on one pod after the other, with no router that knows of versions.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.cluster import CommandFailedError
from tests.e2e.tenant import BASE, Tenant
from tests.engine.pod import READY_SECONDS, engine_pod

SERVICE = "plain-engines"
PODS = ("plain-0", "plain-1")
PORT = 8000


@dataclass(frozen=True, slots=True)
class PlainEngines:
    """Two engines that see a folder of the nodes as ``/models``."""

    tenant: Tenant

    @property
    def url(self) -> str:
        """The Service that users call."""
        return f"http://{SERVICE}.{self.tenant.namespace}.svc:{PORT}"

    def swap(self, name: str, folder: str) -> float:
        """Give ``name`` other weights on every pod; return the seconds until the last pod has them."""
        begun = time.monotonic()
        for pod in PODS:
            self._post(pod, "unload_lora_adapter", {"lora_name": name})
            self._post(pod, "load_lora_adapter", {"lora_name": name, "lora_path": f"/models/{folder}"})
        return time.monotonic() - begun

    def load(self, name: str, folder: str) -> None:
        """Load ``name`` for the first time."""
        for pod in PODS:
            self._post(pod, "load_lora_adapter", {"lora_name": name, "lora_path": f"/models/{folder}"})

    def _post(self, pod: str, call: str, body: dict[str, str]) -> None:
        path = f"/api/v1/namespaces/{self.tenant.namespace}/pods/{pod}:{PORT}/proxy/v1/{call}"
        try:
            self.tenant.cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body))
        except CommandFailedError as error:
            raise AssertionError(f"{call} on {pod}: {error}") from error


@contextmanager
def plain_engines(tenant: Tenant, base: Path, volume: str) -> Iterator[PlainEngines]:
    """Start both engines on ``base``, which lies in the nodes' folder ``volume``; delete them at the end."""
    image = tenant.environment.images["engine"]
    tenant.apply(service(tenant.namespace), *(pod(tenant.namespace, name, image, base.name, volume) for name in PODS))
    try:
        ready = ("wait", "-n", tenant.namespace, "pod", "-l", f"app={SERVICE}", "--for=condition=Ready")
        tenant.cluster.kubectl(*ready, f"--timeout={READY_SECONDS}s", timeout=READY_SECONDS + 20)
        yield PlainEngines(tenant)
    finally:
        for name in PODS:
            tenant.cluster.delete("pod", name, tenant.namespace)
        tenant.cluster.delete("service", SERVICE, tenant.namespace)


def service(namespace: str) -> dict[str, Any]:
    """Return the Service of the engines."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": namespace},
        "spec": {"selector": {"app": SERVICE}, "ports": [{"port": PORT, "targetPort": PORT}]},
    }


def pod(namespace: str, name: str, image: str, base: str, volume: str) -> dict[str, Any]:
    """Return one engine, with the settings of Graft's."""
    return engine_pod(
        namespace,
        name,
        image,
        app=SERVICE,
        folder=volume,
        arguments=[
            f"--model=/models/{base}",
            f"--served-model-name={BASE}",
            f"--port={PORT}",
            "--max-loras=2",
            "--max-cpu-loras=8",
            "--max-lora-rank=8",
            "--max-model-len=256",
        ],
        probe={"httpGet": {"path": "/health", "port": PORT}},
    )
