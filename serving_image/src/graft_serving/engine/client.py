"""Client of the engine's own API (vLLM's OpenAI server). Knows HTTP and the engine's manners, decides nothing.

The engine answers 400 for a name that is already loaded, 404 for a path or a name that it can't find, and 500 for an
adapter that it will never accept (DoRA, a rank above its limit, a corrupt file).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from graft_serving.engine import documents
from graft_serving.engine.documents import UnreadableAnswerError
from graft_serving.errors import EngineRejectedError, EngineTimeoutError, EngineUnreachableError

LIST_TIMEOUT_SECONDS = 5.0
METRICS_TIMEOUT_SECONDS = 2.0
"""Endpoint pickers wait a second for them; what comes later is there for their next question."""
NOT_THERE_ANY_MORE: Final = "Failed to remove"

GREEDY: Final[Mapping[str, Any]] = {
    "n": 1,
    "temperature": 0,
    "top_p": 1,
    "top_k": -1,
    "min_p": 0,
    "repetition_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "min_tokens": 0,
    "ignore_eos": False,
    "stop": [],
    "logit_bias": None,
    "skip_special_tokens": True,
}
"""Everything that decides which token comes next, said in full: what is left out would come from the base's
`generation_config.json` or from the engine's arguments, and the trainer has neither."""


@dataclass(frozen=True, slots=True)
class EngineModels:
    """What `/v1/models` lists: the name of the base, and name → path of every loaded adapter."""

    base: str
    adapters: Mapping[str, str]
    max_model_length: int | None = None
    """Tokens of prompt and answer together; None where the engine does not tell it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What the engine generated. `token_ids` is None where the engine doesn't tell them."""

    text: str
    token_ids: tuple[int, ...] | None
    margins: tuple[float, ...] | None = None
    """The gap in nats between best and second-best token at each position; None where they weren't asked for."""


class EngineClient:
    """Talks to one engine. Every call has a timeout; every failure is one of three errors.

    Raises, from every coroutine:
        EngineUnreachableError: nobody listens, or the connection broke.
        EngineTimeoutError: no answer in time.
        EngineRejectedError: an answer with an error status.
    """

    def __init__(
        self, session: aiohttp.ClientSession, url: str, *, load_timeout: float, generate_timeout: float
    ) -> None:
        """Use `session` to reach the engine at `url`; timeouts in seconds."""
        self._session = session
        self._url = url.rstrip("/")
        self._load_timeout = load_timeout
        self._generate_timeout = generate_timeout

    async def models(self) -> EngineModels:
        """List what the engine has."""
        answer = await self._answer("GET", "/v1/models", seconds=LIST_TIMEOUT_SECONDS)
        try:
            base, adapters = documents.listed_models(answer)
        except UnreadableAnswerError as error:
            raise EngineRejectedError(200, f"its /v1/models can't be read: {error}") from error
        return EngineModels(base.id, adapters, documents.whole_number(base.max_model_len))

    async def metrics(self) -> str:
        """The engine's own metrics, in Prometheus' text format."""
        answer = await self._answer("GET", "/metrics", seconds=METRICS_TIMEOUT_SECONDS)
        return answer.decode("utf-8", "replace")

    async def load(self, name: str, path: str) -> None:
        """Load the adapter at `path` under `name`. Never in place: a name means the same bytes for ever."""
        body = {"lora_name": name, "lora_path": path}
        await self._answer("POST", "/v1/load_lora_adapter", seconds=self._load_timeout, body=body)

    async def unload(self, name: str) -> None:
        """Make the engine forget `name`. Success also if it doesn't know the name."""
        try:
            body = {"lora_name": name}
            await self._answer("POST", "/v1/unload_lora_adapter", seconds=self._load_timeout, body=body)
        except EngineRejectedError as error:
            # Newer versions of vLLM answer 500 where the name is known, but the weights have left their cache.
            if error.status != 404 and not (error.status == 500 and NOT_THERE_ANY_MORE in str(error)):
                raise

    async def generate(
        self, model: str, prompt: str | Sequence[int], max_tokens: int, *, with_margins: bool = False
    ) -> Generation:
        """Let `model` continue the prompt, text or token ids, greedily by up to `max_tokens` tokens."""
        body = {
            "model": model,
            "prompt": prompt if isinstance(prompt, str) else list(prompt),
            "max_tokens": max_tokens,
            "return_token_ids": True,
            **GREEDY,
        }
        if with_margins:
            # Else two tokens of the same text are one key of the answer.
            body |= {"logprobs": 2, "return_tokens_as_token_ids": True}
        answer = await self._answer("POST", "/v1/completions", seconds=self._generate_timeout, body=body)
        try:
            choice = documents.first_choice(answer)
        except UnreadableAnswerError as error:
            raise EngineRejectedError(200, f"its completion can't be read: {error}") from error
        margins = _margins(choice.logprobs) if with_margins else None
        return Generation(text=choice.text, token_ids=choice.token_ids, margins=margins)

    async def _answer(self, method: str, path: str, *, seconds: float, body: Mapping[str, Any] | None = None) -> bytes:
        limit = aiohttp.ClientTimeout(total=seconds)
        try:
            # What it would send its agent to is no engine, and need be no URL.
            async with self._session.request(
                method, self._url + path, json=body, timeout=limit, allow_redirects=False
            ) as response:
                answer = await response.read()
                if response.status >= 300:
                    raise EngineRejectedError(response.status, documents.error_message(answer))
                return answer
        except TimeoutError as error:
            raise EngineTimeoutError(f"the engine did not answer {path} within {seconds:g} s") from error
        except aiohttp.ClientError as error:
            raise EngineUnreachableError(f"the engine can't be reached at {self._url}: {error}") from error


def _margins(logprobs: Any) -> tuple[float, ...] | None:
    """The gap between the two best tokens at each position; None if the engine tells no two of them."""
    try:
        best = [sorted(position.values(), reverse=True)[:2] for position in logprobs["top_logprobs"]]
        return tuple(float(first - second) for first, second in best)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
