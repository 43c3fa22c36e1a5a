"""An API server that answers as a test wants, and the plugin as a person calls it."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from tests.unit.cli import objects

from graft_cli.__main__ import main

NAMESPACE = "team-a"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


Script = Callable[[str, str, Any], Answer]
"""Method, path with query, and body."""


def refused(status: int, message: str = "so it is") -> Answer:
    return Answer(status, {"kind": "Status", "code": status, "reason": "Some", "message": message})


def listed(*items: Any, **metadata: Any) -> Answer:
    return Answer(200, {"metadata": {"resourceVersion": "1", **metadata}, "items": list(items)})


def settled(method: str, path: str, body: Any) -> Answer:
    """Answer as a cluster with base `tiny` and adapter `support`."""
    kind, _, rest = path.removeprefix("/apis/graft.dev/v1alpha1/namespaces/team-a/").partition("?")[0].partition("/")
    found = {"basemodels": objects.base().raw, "loraadapters": objects.adapter().raw}.get(kind)
    if found is None:
        return refused(404, "the server could not find the requested resource")
    if not rest:
        return listed(found)
    return Answer(200, found) if rest == found["metadata"]["name"] else refused(404, f"{kind} {rest} not found")


@dataclass
class ApiServer:
    script: Script
    kubeconfig: Path
    seen: list[tuple[str, str, Any]] = field(default_factory=list)

    def graft(self, *arguments: str) -> tuple[int, str, str]:
        """Call the plugin, and return its exit code, and what it has said on both streams."""
        return called(*arguments, "--kubeconfig", str(self.kubeconfig))


def called(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    return code, out.getvalue(), err.getvalue()


@contextmanager
def api_server(script: Script, folder: Path) -> Iterator[ApiServer]:
    made = ApiServer(script, folder / "kubeconfig")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            made.seen.append((self.command, self.path, json.loads(text) if text else None))
            found = made.script(*made.seen[-1])
            self.send_response(found.status)
            described = {"Content-Type": found.kind, "Content-Length": str(len(found.content)), **found.headers}
            for name, value in described.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(found.content)

        do_GET = do_PATCH = do_POST = answer  # noqa: N815 -- the names of the base class

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    made.kubeconfig.write_text(yaml.safe_dump(kubeconfig(f"http://127.0.0.1:{server.server_port}")))
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


def kubeconfig(url: str, name: str = "here", **user: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": url}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": NAMESPACE}}],
        "users": [{"name": name, "user": user or {"token": "secret"}}],
    }
