"""A node whose pods answer behind forwarded ports: the kubelet's side of it, and agents as far as clients see them."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

HOST = "127.0.0.1"
PROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = b"\x00", b"\x01"


@dataclass
class AgentPod:
    """A pod of a base: what it has loaded, and what it was asked."""

    base: str = "tiny"
    loaded: tuple[str, ...] = ()
    key: str = ""
    answers_as: dict[str, str] = field(default_factory=dict)
    """What X-Graft-Version says instead of the model that was asked."""
    instead: Any = None
    """An answer of another kind: (status, body)."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0
    is_listening: bool = True

    def application(self) -> web.Application:
        app = web.Application()
        for path in ("/v1/chat/completions", "/v1/completions"):
            app.router.add_post(path, self.answer)
        return app

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append({"path": request.path, **body})
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return refusal(401, "The request has no valid API key.")
        model = body["model"]
        label = self.answers_as.get(model, f"{model}@base" if model == self.base else model)
        if self.instead is not None:
            return web.Response(status=self.instead[0], text=self.instead[1], headers=version(label))
        if model != self.base and model not in self.loaded:
            return refusal(404, f"The model {model!r} is not loaded. Loaded versions: {', '.join(self.loaded)}.")
        said = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        text = f"{model} heard {said}"
        choice = {"text": text} if "prompt" in body else {"message": {"role": "assistant", "content": text}}
        answer = {"choices": [choice | {"finish_reason": "stop"}], "usage": {"completion_tokens": 3}}
        return web.json_response(answer, headers=version(label))


def version(label: str) -> dict[str, str]:
    return {"X-Graft-Version": label}


def refusal(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status, headers=version("none"))


class Node:
    """The kubelet's port forwarding, to agents of this process."""

    def __init__(self, pods: dict[str, AgentPod]) -> None:
        self.pods = pods
        self.port = 0
        self._stop = asyncio.Event()

    async def forward(self, request: web.Request) -> web.StreamResponse:
        channel = web.WebSocketResponse(protocols=(PROTOCOL,))
        await channel.prepare(request)
        port = int(request.query["port"])
        assert port == 8000
        for number in (DATA, ERROR):
            await channel.send_bytes(number + port.to_bytes(2, "little"))
        pod = self.pods[request.match_info["pod"]]
        if not pod.is_listening:
            await channel.send_bytes(ERROR + b"connection refused in the pod")
            await channel.close()
            return channel
        reader, writer = await asyncio.open_connection(HOST, pod.port)
        back = asyncio.create_task(send_back(reader, channel))
        async for message in channel:
            if message.type is WSMsgType.BINARY and message.data[:1] == DATA:
                writer.write(message.data[1:])
                await writer.drain()
        back.cancel()
        writer.close()
        return channel

    async def serve(self, context: ssl.SSLContext, ready: threading.Event) -> None:
        runners: list[web.AppRunner] = []
        for pod in self.pods.values():
            pod.port = await self._listen(pod.application(), None, runners)
        app = web.Application()
        app.router.add_route("*", "/portForward/{namespace}/{pod}", self.forward)
        self.port = await self._listen(app, context, runners)
        ready.set()
        await self._stop.wait()
        for runner in runners:
            await runner.cleanup()

    async def _listen(self, app: web.Application, context: ssl.SSLContext | None, runners: list[web.AppRunner]) -> int:
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, HOST, 0, ssl_context=context).start()
        return int(runner.addresses[0][1])

    def stop(self) -> None:
        self._stop.set()


async def send_back(reader: asyncio.StreamReader, channel: web.WebSocketResponse) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            await channel.send_bytes(DATA + data)
        await channel.close()


@contextmanager
def serving_node(folder: Path, pods: dict[str, AgentPod]) -> Iterator[Node]:
    """Run the node beside the test, on a loop of its own."""
    key, certificate = folder / "node.key", folder / "node.crt"
    subject = ("-subj", "/CN=kubelet", "-days", "1", "-nodes", "-newkey", "rsa:2048")
    command = ["openssl", "req", "-x509", *subject, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    node, ready, loop = Node(pods), threading.Event(), asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(node.serve(context, ready)), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield node
    finally:
        loop.call_soon_threadsafe(node.stop)
        thread.join(10)
        loop.close()


def asked(pod: AgentPod) -> list[str]:
    """The models that a pod was asked."""
    return [str(request["model"]) for request in pod.requests]
