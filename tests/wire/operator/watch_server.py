"""A Kubernetes API server with discovery, objects and watches: what an event source needs, and no more.

It has no field management and no admission; writes replace objects and give them a new resourceVersion.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

KINDS = {
    ("", "v1"): {"pods": "Pod", "namespaces": "Namespace", "events": "Event"},
    ("batch", "v1"): {"jobs": "Job"},
    ("apps", "v1"): {"deployments": "Deployment"},
    ("coordination.k8s.io", "v1"): {"leases": "Lease"},
    ("apiextensions.k8s.io", "v1"): {"customresourcedefinitions": "CustomResourceDefinition"},
    ("graft.dev", "v1alpha1"): {"loraadapters": "LoraAdapter", "basemodels": "BaseModel"},
}
CLUSTER_SCOPED = {"namespaces", "customresourcedefinitions"}


@dataclass(slots=True)
class WatchServer:
    """Objects by (plural, namespace, name). `requests` holds (method, path, query) of everything asked."""

    url: str = ""
    objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    """Statuses that all requests are answered with whose path holds the text."""
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    discoveries: int = 0
    """How many requests for kinds were answered."""
    _log: list[tuple[str, str]] = field(default_factory=list)
    """(plural, watch event) of every write; a resourceVersion is the length of the log after it."""
    _written: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, plural: str, body: dict[str, Any]) -> dict[str, Any]:
        """Store the object and tell the watchers."""
        metadata = body["metadata"]
        key = (plural, metadata.get("namespace", ""), metadata["name"])
        event = "MODIFIED" if key in self.objects else "ADDED"
        version = str(len(self._log) + 1)
        stored = {**body, "metadata": {"uid": f"uid-{metadata['name']}", **metadata, "resourceVersion": version}}
        self.objects[key] = stored
        self._tell(plural, event, stored)
        return stored

    def remove(self, plural: str, namespace: str, name: str) -> None:
        self._tell(plural, "DELETED", self.objects.pop((plural, namespace, name)))

    def queries(self, path: str) -> list[dict[str, str]]:
        """Return the queries of all GET requests for the path."""
        return [query for method, asked, query in self.requests if (method, asked) == ("GET", path)]

    def _tell(self, plural: str, event: str, body: dict[str, Any]) -> None:
        self._log.append((plural, json.dumps({"type": event, "object": body}) + "\n"))
        self._written.set()
        self._written = asyncio.Event()

    async def is_explored(self) -> None:
        """Wait until Kopf has asked for the kinds, or for a second.

        It asks for them when it has begun, and is 5 s longer about its end where it is stopped meanwhile.
        """
        deadline, before = time.monotonic() + 1, 0
        while time.monotonic() < deadline and (self.discoveries == 0 or self.discoveries != before):
            before = self.discoveries
            await asyncio.sleep(0.05)

    async def discover(self, request: web.Request) -> web.Response:
        self.discoveries += 1
        match request.path.strip("/").split("/"):
            case ["api"]:
                return web.json_response({"versions": ["v1"]})
            case ["apis"]:
                return web.json_response({"groups": [_group(group, version) for group, version in KINDS if group]})
            case ["api", version]:
                return web.json_response(_resources("", version))
            case [_, group, version]:
                return web.json_response(_resources(group, version))
        raise web.HTTPNotFound

    async def collection(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path, dict(request.query)))
        for part, status in self.answers.items():
            if part in request.path:
                return web.json_response({"kind": "Status", "code": status, "message": "not here"}, status=status)
        plural = request.match_info["plural"]
        if request.method == "POST":
            return web.json_response(self.put(plural, await request.json()), status=201)
        if request.query.get("watch") == "true":
            return await self._watch(request, plural)
        namespace = request.match_info.get("namespace")
        items = [b for (p, ns, _), b in self.objects.items() if p == plural and namespace in (None, ns)]
        return web.json_response({"metadata": {"resourceVersion": str(len(self._log))}, "items": items})

    async def item(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.path, dict(request.query)))
        plural = request.match_info["plural"]
        found = self.objects.get((plural, request.match_info.get("namespace", ""), request.match_info["name"]))
        if found is None:
            return web.json_response({"kind": "Status", "reason": "NotFound", "message": "gone"}, status=404)
        if request.method == "PUT":
            return web.json_response(self.put(plural, await request.json()))
        return web.json_response(found)

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        seen = int(request.query["resourceVersion"])
        while True:
            written = self._written
            news, seen = self._log[seen:], len(self._log)
            for changed, event in news:
                if changed == plural:
                    await response.write(event.encode())
            await written.wait()


def _group(group: str, version: str) -> dict[str, Any]:
    entry = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [entry], "preferredVersion": entry}


def _resources(group: str, version: str) -> dict[str, Any]:
    return {
        "resources": [
            {
                "name": plural,
                "kind": kind,
                "singularName": kind.lower(),
                "namespaced": plural not in CLUSTER_SCOPED,
                "verbs": ["get", "list", "watch", "patch", "create", "update", "delete"],
            }
            for plural, kind in KINDS.get((group, version), {}).items()
        ]
    }


@asynccontextmanager
async def watch_server() -> AsyncIterator[WatchServer]:
    server = WatchServer()
    application = web.Application()
    for prefix in ("/api/{version}", "/apis/{group}/{version}"):
        for scope in ("", "/namespaces/{namespace}"):
            application.router.add_route("*", f"{prefix}{scope}/{{plural}}", server.collection)
            application.router.add_route("*", f"{prefix}{scope}/{{plural}}/{{name}}", server.item)
    application.router.add_get("/{tail:.*}", server.discover)
    # Kopf waits 5 s at its end for every task that was created after its start, the server's connections included.
    runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True, keepalive_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        server.url = f"http://{host}:{port}"
        yield server
    finally:
        await runner.cleanup()
