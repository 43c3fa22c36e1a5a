"""An engine that replays an answer of vLLM's in the blink of an eye, so that what is measured is the router.

Run as a process: `python -m tests.bench.router.recorded_engine PORT`.
"""

import asyncio
import json
import sys
from typing import Any, Final, cast

import uvloop

BASE_MODEL: Final = "engine-base"
HEAD: Final = "HTTP/1.1 {status}\r\ndate: Tue, 24 Nov 2026 11:00:00 GMT\r\nserver: uvicorn\r\n"
EVENTS: Final = 16
TEXT: Final = "The quick brown fox jumps over the lazy dog and is not seen again that day."


def whole_answer(model: str) -> bytes:
    """A completion as vLLM 0.32 words it."""
    choice = {
        "index": 0,
        "text": TEXT,
        "logprobs": None,
        "finish_reason": "length",
        "stop_reason": None,
        "token_ids": None,
        "prompt_logprobs": None,
        "prompt_token_ids": None,
    }
    usage = {"prompt_tokens": 24, "total_tokens": 40, "completion_tokens": EVENTS, "prompt_tokens_details": None}
    document = {
        "id": "cmpl-8f3b7a5c1d2e4f60",
        "object": "text_completion",
        "created": 1764000000,
        "model": model,
        "choices": [choice],
        "service_tier": None,
        "system_fingerprint": None,
        "usage": usage,
        "kv_transfer_params": None,
    }
    return _http(json.dumps(document, separators=(",", ":")).encode())


def streamed_answer(model: str) -> bytes:
    """The same, as server-sent events."""
    chunks = b"".join(_chunk(_event(model, word)) for word in (TEXT.split() * 2)[:EVENTS])
    head = HEAD.format(status="200 OK") + "content-type: text/event-stream; charset=utf-8\r\n"
    head += "transfer-encoding: chunked\r\n\r\n"
    return head.encode() + chunks + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def _event(model: str, word: str) -> bytes:
    choice = {"index": 0, "text": f" {word}", "logprobs": None, "finish_reason": None, "stop_reason": None}
    document = {"id": "cmpl-8f3b7a5c1d2e4f60", "object": "text_completion", "created": 1764000000, "model": model}
    return b"data: " + json.dumps({**document, "choices": [choice]}, separators=(",", ":")).encode() + b"\n\n"


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _http(body: bytes, kind: str = "application/json") -> bytes:
    head = HEAD.format(status="200 OK") + f"content-length: {len(body)}\r\ncontent-type: {kind}\r\n\r\n"
    return head.encode() + body


class RecordedEngine(asyncio.Protocol):
    """One connection. Speaks as much HTTP/1.1 as its two clients need."""

    adapters: dict[str, str] = {}  # noqa: RUF012 - of the process: all connections share it

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].decode().lower()
            length = int(head.partition("content-length:")[2].split("\r\n")[0] or 0)
            if len(self._received) < end + 4 + length:
                return
            body = self._received[end + 4 : end + 4 + length]
            self._received = self._received[end + 4 + length :]
            self._transport.write(self._answer(head.split(" ", 2)[1], json.loads(body or b"{}")))

    def _answer(self, path: str, body: dict[str, Any]) -> bytes:
        match path:
            case "/health":
                return _http(b"")
            case "/v1/models":
                cards = [{"id": BASE_MODEL, "root": "/base", "parent": None}]
                cards += [{"id": name, "root": root, "parent": BASE_MODEL} for name, root in self.adapters.items()]
                return _http(json.dumps({"object": "list", "data": cards}).encode())
            case "/v1/load_lora_adapter":
                self.adapters[body["lora_name"]] = body["lora_path"]
                return _http(b"Success", "text/plain")
        if "model" not in body:  # other routers ask for more than Graft's agent does
            return HEAD.format(status="404 Not Found").encode() + b"content-length: 0\r\n\r\n"
        return streamed_answer(body["model"]) if body.get("stream") else whole_answer(body["model"])


async def serve(port: int) -> None:
    """Serve on loopback until the process is killed."""
    server = await asyncio.get_running_loop().create_server(RecordedEngine, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
