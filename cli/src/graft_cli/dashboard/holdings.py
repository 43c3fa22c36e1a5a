"""Which adapters a serving pod holds, from its agent's state document (``graft.dev/agent/v1``).

The document comes from a pod that others may own: a word of the wrong kind is left out, and long ones are cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from graft_operator.plan.engine_start import loading_message

ADAPTERS_READ: Final = 8192
"""Of one pod; as many as the operator reads."""
VERSIONS_READ: Final = 16
TEXT_LIMIT: Final = 1024
NAME_LIMIT: Final = 253


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldVersion:
    """A version of an adapter on a pod."""

    number: int
    state: str
    """Pending, Fetching, Loading, Proving, Proven, Refused, Failing or Draining."""
    weight: int
    """Percent of the adapter's requests that it answers on this pod."""
    reason: str = ""
    message: str = ""
    requests: int = 0
    errors: int = 0
    inflight: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldAdapter:
    """An adapter on a pod; without versions it is known there, and not loaded."""

    name: str
    versions: tuple[HeldVersion, ...] = ()
    last_asked: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What one pod holds."""

    pod: str
    node: str = ""
    phase: str = ""
    ready: bool = False
    base_digest: str = ""
    engine: str = ""
    message: str = ""
    """What the agent says of itself or of its engine."""
    problem: str = ""
    """Why the pod's state is not known."""
    adapters: tuple[HeldAdapter, ...] = ()


def holding(pod: str, node: str, phase: str, document: Any) -> Holding:
    """Return what an agent tells of its pod."""
    if not isinstance(document, Mapping) or document.get("schema") != "graft.dev/agent/v1":
        problem = "the pod answers with something else than graft.dev/agent/v1; is it an agent of this release?"
        return Holding(pod=pod, node=node, phase=phase, problem=problem)
    engine = _mapping(document.get("engine"))
    return Holding(
        pod=pod,
        node=node,
        phase=phase,
        ready=document.get("ready") is True,
        base_digest=_text(_mapping(document.get("base")).get("digest"), NAME_LIMIT),
        engine=_text(engine.get("state"), NAME_LIMIT),
        message=_text(document.get("message")) or _engine_message(engine),
        adapters=tuple(_adapters(document.get("adapters"))),
    )


def _engine_message(engine: Mapping[str, Any]) -> str:
    """Return what the agent says of its engine. While that starts nothing listens on its port, which is no fault."""
    said = _text(engine.get("message"))
    return _text(loading_message("the engine", said)) if engine.get("state") == "Starting" else said


def _adapters(items: Any) -> Iterator[HeldAdapter]:
    for item in _mappings(items, ADAPTERS_READ):
        if name := _text(item.get("name"), NAME_LIMIT):
            versions = tuple(_versions(item))
            yield HeldAdapter(name=name, versions=versions, last_asked=_text(item.get("lastAsked"), NAME_LIMIT))


def _versions(adapter: Mapping[str, Any]) -> Iterator[HeldVersion]:
    active = _mappings(adapter.get("active"), VERSIONS_READ)
    weights = {_count(item.get("number")): _count(item.get("weight")) for item in active}
    for item in _mappings(adapter.get("versions"), VERSIONS_READ):
        number = _count(item.get("number"))
        yield HeldVersion(
            number=number,
            state=_text(item.get("state"), NAME_LIMIT),
            weight=weights.get(number, 0),
            reason=_text(item.get("reason"), NAME_LIMIT),
            message=_text(item.get("message")),
            requests=_count(item.get("requests")),
            errors=_count(item.get("errors")),
            inflight=_count(item.get("inflight")),
        )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any, most: int) -> list[Mapping[str, Any]]:
    return [item for item in value[:most] if isinstance(item, Mapping)] if isinstance(value, list) else []


def _text(value: Any, limit: int = TEXT_LIMIT) -> str:
    return value[:limit] if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
