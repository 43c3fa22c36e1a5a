"""A Kubernetes API server reduced to what the wire tests look at: it records requests and answers from a script."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    content_type: str
    authorization: str
    body: Any


@dataclass(slots=True)
class ApiServer:
    """`respond(status, body)` queues an answer; without any, what is written is answered with itself, as if made."""

    requests: list[Request] = field(default_factory=list)
    url: str = ""
    _answers: list[web.Response] = field(default_factory=list)

    def respond(self, status: int, body: dict[str, Any] | str) -> None:
        text, kind = (body, "text/plain") if isinstance(body, str) else (json.dumps(body), "application/json")
        self._answers.append(web.Response(status=status, text=text, content_type=kind))

    def refuse(self, status: int, reason: str, message: str, **details: Any) -> None:
        """Queue an error, as a `v1/Status` object."""
        self.respond(
            status,
            {
                "apiVersion": "v1",
                "kind": "Status",
                "status": "Failure",
                "reason": reason,
                "message": message,
                "code": status,
                **({"details": details} if details else {}),
            },
        )

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.requests.append(
            Request(
                request.method,
                request.path,
                dict(request.query),
                request.headers.get("Content-Type", ""),
                request.headers.get("Authorization", ""),
                json.loads(text) if text else None,
            )
        )
        return self._answers.pop(0) if self._answers else web.json_response(_as_made(self.requests[-1].body))


def _as_made(body: Any) -> dict[str, Any]:
    """Return an object as the server stores it; nothing for what is no object."""
    if not isinstance(body, dict) or "metadata" not in body:
        return {}
    return {**body, "metadata": {"uid": "made", "resourceVersion": "1", **body["metadata"]}}


@asynccontextmanager
async def api_server() -> AsyncIterator[ApiServer]:
    server = ApiServer()
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        server.url = f"http://{host}:{port}"
        yield server
    finally:
        await runner.cleanup()
