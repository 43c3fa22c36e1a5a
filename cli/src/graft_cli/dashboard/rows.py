"""The rows of the page's lists, and which of them have changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from graft_cli.client.objects import Adapter, Base
from graft_cli.decisions.findings import Finding, Mood
from graft_cli.decisions.tree import AdapterNode, BaseNode, adapter_node, base_node
from graft_operator.api.base_model import ReadaptationStatus

GRAVITY: Final[Mapping[Mood, int]] = {"bad": 3, "busy": 2, "good": 1, "plain": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterRow:
    """An adapter, as the lists show it."""

    key: str
    mood: Mood
    """Whether a person has to act (bad), something is under way (busy), or all is well (good)."""
    base: str
    mode: str
    pinned: int | None
    suspended: bool
    failed: int
    """Pods that refuse the version."""
    node: AdapterNode


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRow:
    """A base, as the lists show it."""

    key: str
    mood: Mood
    node: BaseNode
    endpoint: str = ""
    readaptation: ReadaptationStatus | None = None


def key_of(namespace: str, name: str) -> str:
    """Return what tells an object from all others of its kind."""
    return f"{namespace}/{name}"


def adapter_row(adapter: Adapter) -> AdapterRow:
    """Return the row of an adapter."""
    node, serving = adapter_node(adapter), adapter.status.serving
    return AdapterRow(
        key=key_of(node.namespace, node.name),
        mood=mood_of(node.findings, node.ready),
        base=adapter.base_name,
        mode=serving.mode_in_force if serving.target is not None else "",
        pinned=adapter.pinned,
        suspended=bool(adapter.spec.get("suspend")),
        failed=serving.failed,
        node=node,
    )


def base_row(base: Base) -> BaseRow:
    """Return the row of a base, without its adapters."""
    node = base_node(base, ())
    return BaseRow(
        key=key_of(node.namespace, node.name),
        mood=mood_of(node.findings, node.ready),
        node=replace(node, resolved=node.resolved and node.resolved.model_copy(update={"shape": None})),
        endpoint=base.status.endpoint or "",
        readaptation=base.status.readaptation,
    )


def missing_bases(bases: Iterable[BaseRow], adapters: Iterable[AdapterRow]) -> tuple[BaseRow, ...]:
    """Return a row for each base that adapters name and that is not there."""
    there = {row.key for row in bases}
    named = {(row.node.namespace, row.base) for row in adapters if key_of(row.node.namespace, row.base) not in there}
    return tuple(
        BaseRow(key=key_of(namespace, name), mood="bad", node=BaseNode(namespace=namespace, name=name, exists=False))
        for namespace, name in sorted(named)
    )


def mood_of(findings: Iterable[Finding], ready: str) -> Mood:
    """Return the gravest that is to be known of an object."""
    own: Mood = "good" if ready == "True" else "busy"
    return max((own, *(finding.mood for finding in findings)), key=GRAVITY.__getitem__)


@dataclass(frozen=True, slots=True)
class Changes:
    """What has to be told to whoever knows an earlier state: rows as JSON, and keys of what is gone."""

    rows: tuple[str, ...]
    removed: tuple[str, ...]


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> Changes:
    """Return how rows, as JSON by their keys, have changed."""
    rows = tuple(text for key, text in now.items() if before.get(key) != text)
    return Changes(rows, tuple(key for key in before if key not in now))
