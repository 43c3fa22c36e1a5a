"""Requests that kill every engine they reach, under load on three replicas: few engines die, nobody else notices.

Run by ``make test-soak``. ``GRAFT_SOAK_POISON`` says how many such requests.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, Final

import pytest
from demo.cluster import Object
from tests.e2e.figures import Figures
from tests.e2e.outages import wait_until
from tests.e2e.serving import ENGINE_SECONDS, REPLICAS, Serving
from tests.e2e.tenant import BASE, answers

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

REQUESTS = int(os.environ.get("GRAFT_SOAK_POISON", "20"))
PODS = 3
CONCURRENCY = 8
RATE = 8.0
MOST_DEATHS = 2
POISON: Final = 666
"""The seed of a request that kills the engine."""
PLUGIN: Final = f"""
import os

def register():
    from vllm.v1.engine.core import EngineCore

    admit = EngineCore.add_request

    def add_request(self, request, *rest, **named):
        if request.sampling_params is not None and request.sampling_params.seed == {POISON}:
            os._exit(1)
        return admit(self, request, *rest, **named)

    EngineCore.add_request = add_request
"""
"""A plugin of vLLM's, in the process that computes: what ends it is in the engine, as a kernel's fault would be."""
FILES: Final = {
    "poison.py": PLUGIN,
    "METADATA": "Metadata-Version: 2.1\nName: poison\nVersion: 1.0\n",
    "entry_points.txt": "[vllm.general_plugins]\npoison = poison:register\n",
}
FOLDER: Final = "/poison"


@pytest.fixture(scope="module")
def mortal(serving: Serving) -> Iterator[Serving]:
    """Three replicas whose engines have the plugin; afterwards the usual ones without it."""
    tenant = serving.tenant
    tenant.apply(configmap(tenant.namespace), tenant.base(replicas=PODS))
    serving.wait_rolled_out()
    patch(serving, with_plugin())
    serving.wait_rolled_out()
    yield serving
    patch(serving, without_plugin())
    tenant.apply(tenant.base(replicas=REPLICAS))
    serving.wait_rolled_out()


def configmap(namespace: str) -> Object:
    """Return the plugin as a ConfigMap."""
    metadata = {"name": "poison", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": FILES}


def with_plugin() -> dict[str, Any]:
    """Return what a pod needs for its engine to find the plugin."""
    places = {"poison.py": "poison.py"}  # all else describes the package
    items = [{"key": name, "path": places.get(name, f"poison-1.0.dist-info/{name}")} for name in FILES]
    return {
        "initContainers": [
            {
                "name": "engine",
                "env": [{"name": "PYTHONPATH", "value": FOLDER}],
                "volumeMounts": [{"name": "poison", "mountPath": FOLDER, "readOnly": True}],
            }
        ],
        "volumes": [{"name": "poison", "configMap": {"name": "poison", "items": items}}],
    }


def without_plugin() -> dict[str, Any]:
    """Return the change that takes it away again."""
    removed = {"$patch": "delete"}
    return {
        "initContainers": [
            {
                "name": "engine",
                "env": [{"name": "PYTHONPATH", **removed}],
                "volumeMounts": [{"mountPath": FOLDER, **removed}],
            }
        ],
        "volumes": [{"name": "poison", **removed}],
    }


def patch(serving: Serving, pod: dict[str, Any]) -> None:
    """Change the pods of the base's Deployment, as somebody with rights of their own might."""
    [deployment] = serving.deployments()
    document = json.dumps({"spec": {"template": {"spec": pod}}})
    scope = ("-n", serving.tenant.namespace, f"deployment/{deployment['metadata']['name']}")
    serving.tenant.cluster.kubectl("patch", *scope, "--type=strategic", f"--patch={document}")


def deaths(serving: Serving) -> int:
    """Return how often the engines of all pods have ended."""
    statuses = [status for pod in serving.tenant.pods("serving") for status in containers(pod)]
    return sum(int(status["restartCount"]) for status in statuses if status["name"] == "engine")


def containers(pod: Object) -> list[Object]:
    """Return what the kubelet says about a pod's containers."""
    status = pod.get("status", {})
    return [*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ())]


def all_answer(serving: Serving) -> bool:
    """Whether all three pods are ready."""
    return sum(answers(pod) for pod in serving.tenant.pods("serving")) == PODS


def test_few_engines_die_of_a_poisoned_request(mortal: Serving, figures: Figures) -> None:
    deadly: list[int] = []
    with mortal.client.load(mortal.url, {BASE: mortal.sample}, rate=RATE, concurrency=CONCURRENCY) as load:
        for _ in range(REQUESTS):
            before = deaths(mortal)
            [answer] = mortal.client.ask(mortal.url, {BASE: mortal.sample[:1]}, body={"seed": POISON})[BASE]
            assert answer.status >= 500, answer
            wait_until(lambda: deaths(mortal) > before, "an engine has died of it", ENGINE_SECONDS)  # noqa: B023
            wait_until(lambda: all_answer(mortal), "all pods answer again", ENGINE_SECONDS)
            deadly.append(deaths(mortal) - before)
        report = load.finish()
    figures.note(f"{REQUESTS} poisoned requests: most engines that died of one", max(deadly), "engines")
    figures.note(f"{REQUESTS} poisoned requests: engines that died", sum(deadly), "engines")
    figures.note(f"{REQUESTS} poisoned requests: requests of others", report["requests"], "requests")
    figures.note(f"{REQUESTS} poisoned requests: of them failed", report["failed"], "requests")
    assert max(deadly) <= MOST_DEATHS
    assert report["failed"] <= CONCURRENCY * sum(deadly), report["failures"]
