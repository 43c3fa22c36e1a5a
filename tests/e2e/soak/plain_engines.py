"""Engines without Graft: changed by their own API behind a plain Service, as other controllers do it.

The order of the calls is that of the vLLM production stack's LoraAdapter controller and of AIBrix's ModelAdapter: one
name per adapter, unloaded and loaded again on one pod after the other, with no router that knows of versions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.client import POD as CLIENT
from tests.e2e.tenant import BASE, Tenant
from tests.engine.pod import READY_SECONDS, engine_pod

SERVICE = "plain-engines"
PODS = ("plain-0", "plain-1")
PORT = 8000
CALLS = """
import json, sys, time, urllib.request
calls, begun = json.loads(sys.stdin.readline()), time.monotonic()
for url, body in calls:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=60).read()
print(time.monotonic() - begun)
"""


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
        return self._call({"unload_lora_adapter": {"lora_name": name}, **loading(name, folder)})

    def load(self, name: str, folder: str) -> None:
        """Load ``name`` for the first time."""
        self._call(loading(name, folder))

    def _call(self, bodies: Mapping[str, Mapping[str, str]]) -> float:
        """Make the calls on one pod after the other, from inside the cluster; return the seconds that they took."""
        plan = [
            [f"http://{address}:{PORT}/v1/{call}", body]
            for address in self._addresses()
            for call, body in bodies.items()
        ]
        in_pod = ("exec", "-i", "-n", self.tenant.namespace, CLIENT, "--", "python3", "-c", CALLS)
        return float(self.tenant.cluster.kubectl(*in_pod, stdin=json.dumps(plan) + "\n"))

    def _addresses(self) -> list[str]:
        pods = self.tenant.cluster.list("pod", self.tenant.namespace, f"app={SERVICE}")
        return [str(pod["status"]["podIP"]) for pod in pods]


def loading(name: str, folder: str) -> dict[str, dict[str, str]]:
    """Return the call that loads an adapter."""
    return {"load_lora_adapter": {"lora_name": name, "lora_path": f"/models/{folder}"}}


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
