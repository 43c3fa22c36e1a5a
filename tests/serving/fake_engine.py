"""A stand-in for vLLM's OpenAI server with its manners, good and bad, as far as they are known from real runs.

Answers depend on the bytes of the adapter that is loaded, so a test can tell which version really answered.
"""

import asyncio
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from tests.doors import Door

WORDS = ("alpha", "bravo", "carbon", "delta", "ember", "fjord", "gamma", "harbor")
BASE_WEIGHTS = b"the base"
OTHER_PATHS = (
    *("/v1/responses", "/v1/messages", "/v1/messages/count_tokens", "/v1/embeddings", "/v1/score", "/v1/rerank"),
    *("/score", "/rerank", "/tokenize", "/detokenize"),
)


def answer_token_ids(weights: bytes, prompt: object, length: int) -> list[int]:
    """The greedy answer of a model with these weights."""
    seed = hashlib.sha256(weights + json.dumps(prompt).encode()).digest()
    return [seed[position % len(seed)] % len(WORDS) for position in range(length)]


def answer_text(token_ids: list[int]) -> str:
    return " ".join(WORDS[token] for token in token_ids)


class FakeEngine:
    """One engine on one port; `crash` and `start` as often as a test likes."""

    def __init__(self, port: int, *, base_model: str = "tiny", weights: bytes = BASE_WEIGHTS) -> None:
        self.port = port
        self.base_model = base_model
        self.weights = weights
        self.adapters: dict[str, str] = {}
        self.refuses: set[str] = set()
        """Adapter names (before `--`) whose load gets the engine's 500."""
        self.refusal = "Call to add_lora method failed: does not yet support DoRA."
        """What it says of them."""
        self.load_doors: defaultdict[str, Door] = defaultdict(Door)
        """By adapter: what its loads wait before."""
        self.loading = 0
        self.most_loading = 0
        """The most loads that were ever under way at the same time."""
        self.ignores: set[str] = set()
        """Adapter names that load with 200 but are answered by the base's weights."""
        self.leaks: set[str] = set()
        """Adapter names whose weights answer for the base as well, while they are loaded."""
        self.gives_logprobs = True
        self.margin = 2.0
        """In nats, between the best and the second-best token of every answer."""
        self.seconds_per_token = 0.0
        self.answers = Door()
        """What answers in one piece wait before at their end."""
        self.streams = Door()
        """What streams wait before after their first token."""
        self.lists = Door()
        """What lists of models wait before."""
        self.odd_cards: list[object] = []
        """What else they hold."""
        self.list_instead: bytes | None = None
        """A test's own list of models."""
        self.deaths: list[str] = []
        self.max_model_length: int | None = None
        self.evicts: set[str] = set()
        """Adapter names whose weights have left the engine's cache: newer versions answer 500 to their unload."""
        self.loads: list[str] = []
        self.unloads: list[str] = []
        self.generations: Counter[str] = Counter()
        """Answers begun, by model."""
        self.generating: Counter[str] = Counter()
        """Answers under way, by model, but for streams."""
        self.most_generating = 0
        """The most of them that were ever under way at the same time."""
        self.cut_off: list[str] = []
        """Models that were unloaded while they answered."""
        self.disconnected = 0
        self.metrics = ""
        """What it tells Prometheus."""
        self.scrapes = 0
        self.last_body: dict[str, Any] = {}
        """Of the last request on one of the other routes."""
        self.last_headers: dict[str, str] = {}
        """Of the last request for a generation."""
        self.instead: Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse | None]] | None = None
        """A test's own way to answer a generation; None leaves it to the engine."""
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        return self._runner is not None

    async def start(self) -> None:
        self.adapters = {}
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/metrics", self._show_metrics)
        app.router.add_post("/v1/load_lora_adapter", self._load)
        app.router.add_post("/v1/unload_lora_adapter", self._unload)
        for path in ("/v1/completions", "/v1/chat/completions"):
            app.router.add_post(path, self._generate)
        for path in OTHER_PATHS:
            app.router.add_post(path, self._answer_otherwise)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def crash(self) -> None:
        """Go away without a word; loaded adapters are lost."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            assert runner.server is not None
            for connection in list(runner.server.connections):
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()

    async def _models(self, _: web.Request) -> web.Response:
        await self.lists.pass_through()
        if self.list_instead is not None:
            return web.Response(body=self.list_instead, content_type="application/json")
        base = {"id": self.base_model, "object": "model", "root": "/base", "parent": None}
        cards: list[dict[str, Any]] = [base | {"max_model_len": self.max_model_length}]
        cards += [
            {"id": name, "object": "model", "root": path, "parent": self.base_model}
            for name, path in self.adapters.items()
        ]
        return web.json_response({"object": "list", "data": [*self.odd_cards, *cards]})

    async def _show_metrics(self, _: web.Request) -> web.Response:
        self.scrapes += 1
        return web.Response(text=self.metrics, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _load(self, request: web.Request) -> web.Response:
        body = await request.json()
        name, path = body["lora_name"], body["lora_path"]
        assert not body.get("load_inplace"), "load_inplace tears generations that are under way"
        adapter = name.split("--")[0]
        self.loads.append(name)
        self.loading += 1
        self.most_loading = max(self.loading, self.most_loading)
        try:
            await self.load_doors[adapter].pass_through()
        finally:
            self.loading -= 1
        if name in self.adapters or name == self.base_model:
            return _error(400, "InvalidUserInput", f"The lora adapter '{name}' has already been loaded.")
        if not await asyncio.to_thread(Path(path).is_dir):
            return _error(404, "NotFoundError", f"No adapter found for {path}")
        if adapter in self.refuses:
            return _error(500, "InternalServerError", self.refusal)
        self.adapters[name] = path
        return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        self.unloads.append(name)
        self.cut_off += [name] * bool(self.generating[name])
        if name not in self.adapters:
            return _error(404, "NotFoundError", f"The lora adapter '{name}' cannot be found.")
        path = self.adapters.pop(name)
        if name.split("--")[0] in self.evicts:
            return _error(500, "InternalServerError", f"Failed to remove LoRA adapter '{name}'.")
        if not await asyncio.to_thread(Path(path).is_dir):
            self.deaths.append(f"the files of {name} were deleted before it was unloaded")
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")

    def _weights(self, model: str) -> bytes | None:
        if model == self.base_model:
            model = next((name for name in self.adapters if name.split("--")[0] in self.leaks), model)
        if model == self.base_model:
            return self.weights
        if model not in self.adapters:
            return None
        if model.split("--")[0] in self.ignores:
            return BASE_WEIGHTS
        return (Path(self.adapters[model]) / "adapter_model.safetensors").read_bytes()

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        self.last_headers = dict(request.headers)
        body = await request.json()
        model = body["model"]
        if self.instead is not None and (answer := await self.instead(request, body)) is not None:
            return answer
        try:
            weights = self._weights(model)
        except FileNotFoundError:
            self.deaths.append(f"the files of {model} vanished while it was registered")
            return _error(500, "InternalServerError", "EngineCore encountered an issue.")
        if weights is None:
            return _error(404, "NotFoundError", f"The model `{model}` does not exist.")
        if "logprobs" in body and not self.gives_logprobs:
            return _error(
                400, "BadRequestError", "Requested sample logprobs of 2, which is greater than max allowed: 0"
            )
        prompt = body.get("prompt", body.get("messages"))
        token_ids = answer_token_ids(weights, prompt, body.get("max_tokens", 4))
        if body.get("stream"):
            return await self._stream(request, model, token_ids)
        await self._take_time(model, len(token_ids))
        text = answer_text(token_ids)
        choice: dict[str, Any] = {"index": 0, "text": text, "token_ids": token_ids}
        choice["message"] = {"role": "assistant", "content": text}
        if "logprobs" in body:
            best = [{f"token_id:{token}": -0.1, "token_id:9": -0.1 - self.margin} for token in token_ids]
            choice["logprobs"] = {"top_logprobs": best}
        usage = {"prompt_tokens": 3, "total_tokens": 3 + len(token_ids), "completion_tokens": len(token_ids)}
        return _compact({"id": "cmpl-1", "model": model, "choices": [choice], "usage": usage})

    async def _answer_otherwise(self, request: web.Request) -> web.StreamResponse:
        """The other routes, in the shapes of OpenAI, Anthropic and vLLM."""
        self.last_headers = dict(request.headers)
        body = self.last_body = await request.json()
        model = body["model"]
        if (weights := self._weights(model)) is None:
            return _error(404, "NotFoundError", f"The model `{model}` does not exist.")
        text = answer_text(answer_token_ids(weights, body.get("input", body.get("messages")), 3))
        if body.get("stream"):
            events = stream_of_messages if request.path == "/v1/messages" else stream_of_responses
            return await self._stream_events(request, events(model, text))
        answers: dict[str, dict[str, object]] = {
            "/v1/responses": response_document(model, text, "completed"),
            "/v1/messages": message_document(model, text),
            "/v1/messages/count_tokens": {"input_tokens": 7},
            "/v1/embeddings": {
                "object": "list",
                "model": model,
                "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}],
                "usage": {"prompt_tokens": 3, "total_tokens": 3},
            },
            "/tokenize": {"count": 3, "max_model_len": 64, "tokens": [1, 2, 3]},
            "/detokenize": {"prompt": "alpha"},
        }
        scores = {"id": "s-1", "model": model, "data": [{"index": 0, "score": 0.5}], "usage": {"prompt_tokens": 3}}
        return _compact(answers.get(request.path, scores))

    async def _stream_events(self, request: web.Request, events: list[dict[str, Any]]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
            await asyncio.sleep(self.seconds_per_token)
        return response

    async def _take_time(self, model: str, tokens: int) -> None:
        self.generations[model] += 1
        self.generating[model] += 1
        self.most_generating = max(self.generating.total(), self.most_generating)
        try:
            await asyncio.sleep(self.seconds_per_token * tokens)
            await self.answers.pass_through()
        finally:
            self.generating[model] -= 1

    async def _stream(self, request: web.Request, model: str, token_ids: list[int]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        try:
            for token in token_ids:
                event = {"id": "cmpl-1", "model": model, "choices": [{"index": 0, "text": WORDS[token] + " "}]}
                await response.write(f"data: {json.dumps(event, separators=(',', ':'))}\n\n".encode())
                await asyncio.sleep(self.seconds_per_token)
                await self.streams.pass_through()
            await response.write(b"data: [DONE]\n\n")
        except (asyncio.CancelledError, ConnectionResetError):
            self.disconnected += 1
            raise
        return response


def message_document(model: str, text: str) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 5},
    }


def stream_of_messages(model: str, text: str) -> list[dict[str, Any]]:
    begun = message_document(model, "") | {"content": [], "stop_reason": None, "usage": usage_of_anthropic(0)}
    return [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]


def usage_of_anthropic(output: int) -> dict[str, int]:
    return {"input_tokens": 3, "output_tokens": output}


def response_document(model: str, text: str, status: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    message = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": content}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 0,
        "model": model,
        "status": status,
        "output": [message] if status == "completed" else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 3,
            "output_tokens": 5,
            "total_tokens": 8,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


def stream_of_responses(model: str, text: str) -> list[dict[str, Any]]:
    delta = {"item_id": "m", "output_index": 0, "content_index": 0, "delta": text, "logprobs": []}
    return [
        {"type": "response.created", "sequence_number": 0, "response": response_document(model, "", "in_progress")},
        {"type": "response.output_text.delta", "sequence_number": 1, **delta},
        {"type": "response.completed", "sequence_number": 2, "response": response_document(model, text, "completed")},
    ]


def _compact(document: dict[str, object]) -> web.Response:
    return web.Response(body=json.dumps(document, separators=(",", ":")).encode(), content_type="application/json")


def _error(status: int, kind: str, message: str) -> web.Response:
    document = {"error": {"message": message, "type": kind, "param": None, "code": status}}
    return web.json_response(document, status=status)
