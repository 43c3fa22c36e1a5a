"""The plugin as people run it, against a real API server with the real CRDs."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from tests.control_plane import ADAPTERS, BASES, ApiClient, ControlPlane, Kind, etcd_and_api_server

from graft_cli.__main__ import main

T = TypeVar("T")
Object = dict[str, Any]

NAMESPACE = "team-a"


@dataclass(frozen=True, slots=True)
class Run:
    """What one call of the plugin has said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What it has printed as JSON."""
        return json.loads(self.out)


class Cluster:
    """A control plane, and the plugin beside it."""

    def __init__(self, plane: ControlPlane, runner: asyncio.Runner) -> None:
        self.plane = plane
        self.kubeconfig = plane.kubeconfig("person")
        self._runner = runner

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)

    def request(self, method: str, path: str, body: Any = None, content_type: str = "") -> Object:
        async def send() -> Object:
            async with self.plane.client() as client:
                return await client.request(method, path, body=body, content_type=content_type)

        return self.wait_for(send())

    def put(self, kind: Kind, body: Object) -> None:
        """Create an object in place of the one that is there, with its status."""

        async def replace(client: ApiClient) -> None:
            name = body["metadata"]["name"]
            await client.delete(kind, NAMESPACE, name, now=True)
            await client.create(kind, NAMESPACE, {key: value for key, value in body.items() if key != "status"})
            if "status" in body:
                await client.patch(kind, NAMESPACE, name, {"status": body["status"]}, subresource="status")

        async def run() -> None:
            async with self.plane.client() as client:
                await replace(client)

        self.wait_for(run())

    def adapter(self, name: str = "support") -> Object:
        return self.request("GET", ADAPTERS.path(NAMESPACE, name))

    def graft(self, *arguments: str, kubeconfig: Path | None = None) -> Run:
        """Call the plugin's entry point with the kubeconfig of a person."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main([*arguments, "--kubeconfig", str(kubeconfig or self.kubeconfig)])
        return Run(code, out.getvalue(), err.getvalue())

    def person(self, name: str, *rules: Object) -> Path:
        """Return the kubeconfig of somebody who has these rights in the namespace, and no others."""
        api, rbac = f"/api/v1/namespaces/{NAMESPACE}", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}"
        self.request("POST", f"{api}/serviceaccounts", {"metadata": {"name": name}})
        self.request("POST", f"{rbac}/roles", {"metadata": {"name": name}, "rules": list(rules)})
        subject = {"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        self.request(
            "POST", f"{rbac}/rolebindings", {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]}
        )
        token = self.request("POST", f"{api}/serviceaccounts/{name}/token", {"spec": {}})["status"]["token"]
        config = yaml.safe_load(self.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token}
        config["contexts"][0]["context"]["namespace"] = NAMESPACE
        path = self.plane.folder / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Cluster]:
    with asyncio.Runner() as runner:
        context = etcd_and_api_server()
        plane = runner.run(context.__aenter__())
        try:
            cluster = Cluster(plane, runner)
            config = yaml.safe_load(cluster.kubeconfig.read_text())
            config["contexts"][0]["context"] = {**config["contexts"][0]["context"], "namespace": NAMESPACE}
            cluster.kubeconfig.write_text(yaml.safe_dump(config))
            for name in (NAMESPACE, "graft-system"):
                cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
            yield cluster
        finally:
            runner.run(context.__aexit__(None, None, None))


@pytest.fixture
def empty(control_plane: Cluster) -> Cluster:
    """The control plane with nothing of what other tests have left in the namespace."""

    async def clear() -> None:
        async with control_plane.plane.client() as client:
            await client.remove_everything(NAMESPACE)

    control_plane.wait_for(clear())
    return control_plane


@pytest.fixture
def cluster(empty: Cluster) -> Cluster:
    """The control plane with nothing but base `tiny` and adapter `support`, whose version 6 of six is served."""
    from tests.unit.cli import objects

    empty.put(BASES, manifest("BaseModel", objects.base().raw))
    empty.put(ADAPTERS, manifest("LoraAdapter", objects.adapter().raw))
    return empty


def manifest(kind: str, raw: Mapping[str, Any], **metadata: Any) -> Object:
    """Return an object as people write it, with the status that the operator would have written."""
    name = {"name": raw["metadata"]["name"], "namespace": NAMESPACE, **metadata}
    return {
        "apiVersion": "graft.dev/v1alpha1",
        "kind": kind,
        "metadata": name,
        "spec": raw["spec"],
        "status": raw["status"],
    }
