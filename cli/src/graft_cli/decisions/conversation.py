"""Whom a chat asks, by which request, and whether a reply is an answer of the version that was asked. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from graft_cli.client.objects import Adapter
from graft_cli.decisions.tree import canary_of
from graft_cli.errors import Refused

CHAT_PATH, RAW_PATH = "/v1/chat/completions", "/v1/completions"
VERSION_HEADER: Final = "X-Graft-Version"
NO_VERSION: Final = "none"
BASE: Final = "base"
_VERSION = re.compile(r"v?([1-9][0-9]{0,7})")
_UPGRADE: Final = "serving pods of earlier releases do not know a version's name: update them"
_TEMPLATE_IS_MISSING = re.compile(r"chat.?template", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Respondent:
    """Whoever is asked: the base, or one version."""

    title: str
    """What people call it: ``base``, ``v6``."""
    model: str
    """What a request names."""
    label: str
    """What its answers say of themselves in X-Graft-Version."""
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How answers are made."""

    system: str = ""
    max_tokens: int = 256
    temperature: float = 0.0
    raw: bool = False
    """Whether prompts go to the model as they stand, without a chat template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back: the status, the version that the answer names, and the body."""

    status: int
    version: str
    body: bytes
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one of them said, or why it said nothing."""

    title: str
    model: str
    version: str = ""
    """X-Graft-Version."""
    text: str = ""
    finish_reason: str = ""
    tokens: int | None = None
    seconds: float = 0.0
    problem: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One prompt and the answers to it, in the order of those who were asked."""

    prompt: str
    answers: tuple[Answer, ...]


@dataclass(slots=True)
class Conversation:
    """What was said so far, to one of them and by it."""

    messages: list[dict[str, str]] = field(default_factory=list)

    def keep(self, prompt: str, answer: Answer) -> None:
        """Remember a turn, unless it came to nothing."""
        if not answer.problem:
            self.messages += [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer.text}]


def of_adapter(adapter: Adapter, chosen: Sequence[str]) -> tuple[Respondent, ...]:
    """Return the base and the versions that are chosen, or else those that answer now. Raises Refused, ValueError."""
    name, base = adapter.metadata.name, adapter.base_name
    if chosen:
        wanted = [None if item == BASE else number_of(item) for item in chosen]
    else:
        canary = canary_of(adapter.status)
        answering = {adapter.status.served_version, canary.target if canary else None} - {None}
        if not answering:
            fix = f"`kubectl graft status {name}` tells what it waits for; `--versions base` asks its base alone"
            raise Refused(f"{name} serves no version yet", fix=fix)
        wanted = [None, *sorted(number for number in answering if number is not None)]
    return tuple(of_base(base) if number is None else of_version(name, number) for number in dict.fromkeys(wanted))


def of_version(adapter: str, number: int) -> Respondent:
    """Return one version of an adapter."""
    name = f"{adapter}@v{number}"
    return Respondent(f"v{number}", name, name, number)


def of_base(base: str) -> Respondent:
    """Return a base alone."""
    return Respondent(BASE, base, f"{base}@{BASE}")


def number_of(text: str) -> int:
    """Return the number of ``v7`` or ``7``. Raises ValueError for anything else."""
    match = _VERSION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is neither a version, such as v7, nor {BASE!r}")
    return int(match[1])


def request_of(who: Respondent, prompt: str, said: Conversation, how: Sampling) -> tuple[str, bytes]:
    """Return the path and the body of a request."""
    common = {"model": who.model, "max_tokens": how.max_tokens, "temperature": how.temperature}
    if how.raw:
        return RAW_PATH, json.dumps(common | {"prompt": prompt}).encode()
    system = [{"role": "system", "content": how.system}] if how.system else []
    messages = [*system, *said.messages, {"role": "user", "content": prompt}]
    return CHAT_PATH, json.dumps(common | {"messages": messages}).encode()


def answer_of(who: Respondent, reply: Reply) -> Answer:
    """Return the answer in a reply. A reply of another version than the one asked counts as a failure."""
    version = "" if reply.version == NO_VERSION else reply.version
    about = Answer(title=who.title, model=who.model, version=version, seconds=reply.seconds)
    try:
        body = json.loads(reply.body)
    except (ValueError, RecursionError):
        body = None
    if reply.status != 200:
        return failed(about, *_refusal(who, reply.status, body, reply.body))
    if reply.version != who.label:
        said = version or "whoever does not say it"
        return failed(about, f"{said} has answered, not {who.label}, so the answer is not shown", _UPGRADE)
    return _said(about, body)


def failed(about: Answer, problem: str, fix: str = "") -> Answer:
    """Return an answer that says why there is none, and what to do."""
    return replace(about, problem=problem, fix=fix)


def is_elsewhere(reply: Reply) -> bool:
    """Whether another pod may answer: this one does not have what was asked, or can't answer now."""
    return reply.status in (404, 421, 502, 503) and reply.version in ("", NO_VERSION)


def _said(about: Answer, body: Any) -> Answer:
    try:
        choice = body["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        usage = body.get("usage") or {}
        tokens = usage.get("completion_tokens")
        return replace(
            about,
            text=str(text or ""),
            finish_reason=str(choice.get("finish_reason") or ""),
            tokens=tokens if isinstance(tokens, int) else None,
        )
    except (LookupError, TypeError, AttributeError):
        return failed(about, "the answer is none of the OpenAI API", "see whether --endpoint is the base's address")


def _refusal(who: Respondent, status: int, body: Any, raw: bytes) -> tuple[str, str]:
    """Return what is told of an error, and the way out."""
    error = body.get("error") if isinstance(body, Mapping) else None
    told = error.get("message") if isinstance(error, Mapping) else error
    message = str(told or raw[:300].decode(errors="replace") or "no message")
    if status == 401:
        return message, "give a key of the base: --key, or better GRAFT_API_KEY"
    if status == 404 and who.number is not None:
        return f"{who.label} is not loaded: {message}", _not_loaded(who)
    if status == 404:
        return message, "`kubectl graft status` tells what is served; a base whose adapters are all merged is not"
    if status == 503:
        return message, "try again; `kubectl graft status` tells what is loaded"
    if status == 400 and _TEMPLATE_IS_MISSING.search(message):
        return message, "a base without a chat template is asked with --raw"
    return f"status {status}: {message}", ""


def _not_loaded(who: Respondent) -> str:
    adapter = who.model.partition("@")[0]
    return (
        f"`kubectl graft pin {adapter} {who.number}` serves it; `kubectl graft diff` shows what the trainer's model "
        "answered"
    )
