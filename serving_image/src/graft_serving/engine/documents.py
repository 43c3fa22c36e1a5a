"""What an engine answers, read so that nothing it may hold is more than an error: engines are of many makes. Pure."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

MOST_QUOTED: Final = 500
"""Bytes of an error that has no message."""

Read = TypeVar("Read")


class UnreadableAnswerError(ValueError):
    """It is not what this engine's API answers; the message names the field."""


class ModelCard(msgspec.Struct, frozen=True):
    """One entry of `/v1/models`. Adapters name their base as the parent, and their path as the root."""

    id: str
    parent: str | None = None
    root: Any = None
    max_model_len: Any = None


class Choice(msgspec.Struct, frozen=True):
    """The answer of a completion."""

    text: str
    token_ids: tuple[int, ...] | None = None
    logprobs: Any = None


class _Models(msgspec.Struct, frozen=True):
    data: list[msgspec.Raw]


class _Completion(msgspec.Struct, frozen=True):
    choices: list[Choice]


class _ErrorText(msgspec.Struct, frozen=True):
    message: str


class _Error(msgspec.Struct, frozen=True):
    error: _ErrorText


def listed_models(answer: bytes) -> tuple[ModelCard, Mapping[str, str]]:
    """The base, and name → path of the adapters.

    A card that can't be read, or an adapter without a path, is left out: it must not cost the others their engine.

    Raises:
        UnreadableAnswerError: it is no list, or has no base.
    """
    cards = [card for raw in _read(answer, _Models).data if (card := _card(raw)) is not None]
    base = next((card for card in cards if not card.parent), None)
    if base is None:
        raise UnreadableAnswerError("data: it lists no base model")
    return base, {card.id: card.root for card in cards if card.parent and isinstance(card.root, str)}


def first_choice(answer: bytes) -> Choice:
    """The first choice of a completion.

    Raises:
        UnreadableAnswerError: there is none, or it can't be read.
    """
    choices = _read(answer, _Completion).choices
    if not choices:
        raise UnreadableAnswerError("choices: there is none")
    return choices[0]


def error_message(answer: bytes) -> str:
    """The words of an OpenAI-shaped error, or the start of whatever came instead."""
    try:
        return _read(answer, _Error).error.message
    except UnreadableAnswerError:
        return answer[:MOST_QUOTED].decode("utf-8", "replace")


def whole_number(value: object) -> int | None:
    """The value, if it is a number of something; None if it is anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _card(raw: msgspec.Raw) -> ModelCard | None:
    try:
        return _read(bytes(raw), ModelCard)
    except UnreadableAnswerError:
        return None


def _read(answer: bytes, kind: type[Read]) -> Read:
    try:
        return msgspec.json.decode(answer, type=kind)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswerError(str(error)) from error
