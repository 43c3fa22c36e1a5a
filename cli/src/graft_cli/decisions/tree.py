"""The tree of ``kubectl graft status``: each base, its adapters, and what each of them waits for.

Everything comes from spec, status and conditions; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from graft_cli.client.objects import Adapter, Base
from graft_cli.decisions.findings import Finding, findings_of_adapter, findings_of_base
from graft_operator.api.adapter_status import LoraAdapterStatus, TrainingProgress
from graft_operator.api.base_model import AdapterCounts, ResolvedBase, ServingRevision
from graft_operator.api.conditions import Condition, find
from graft_operator.plan.rollout import canary


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A version that takes a part of the requests."""

    target: int
    weight: int
    previous: int | None
    step_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterNode:
    """An adapter in the tree."""

    namespace: str
    name: str
    ready: str
    """True, False or Unknown; empty where the operator has not said so yet."""
    up_to_date: str
    served: int | None
    candidate: int | None
    desired: int
    loaded: int
    training: TrainingProgress | None
    canary: Canary | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseNode:
    """A base in the tree; of one that does not exist, only names are known."""

    namespace: str
    name: str
    exists: bool = True
    ready: str = ""
    resolved: ResolvedBase | None = None
    serving: tuple[ServingRevision, ...] = ()
    counts: AdapterCounts = field(default_factory=AdapterCounts)
    findings: tuple[Finding, ...] = ()
    adapters: tuple[AdapterNode, ...] = ()


def status_tree(bases: Iterable[Base], adapters: Iterable[Adapter], *, unseen: str = "") -> tuple[BaseNode, ...]:
    """Return all bases with their adapters; a base that adapters name and that is not there is one, too.

    ``unseen`` says why one of the two was not listed, which each base tells then: nothing is missing for that.
    """
    hidden = (Finding("Unseen", "Forbidden", unseen, "busy"),) if unseen else ()
    by_base: dict[tuple[str, str], list[Adapter]] = {}
    for adapter in adapters:
        by_base.setdefault((adapter.metadata.namespace, adapter.base_name), []).append(adapter)
    nodes = [base_node(base, by_base.pop((base.metadata.namespace, base.metadata.name), [])) for base in bases]
    for (namespace, name), orphans in by_base.items():
        own = adapter_nodes(orphans)
        nodes.append(BaseNode(namespace=namespace, name=name, exists=bool(unseen), adapters=own))
    if unseen:
        nodes = [replace(node, findings=(*hidden, *node.findings)) for node in nodes]
    return tuple(sorted(nodes, key=lambda node: (node.namespace, node.name)))


def narrowed_to(tree: Iterable[BaseNode], names: Collection[str]) -> tuple[BaseNode, ...]:
    """Return the part of the tree that is named: bases with all their adapters, and adapters below their bases."""
    found = []
    for base in tree:
        own = tuple(adapter for adapter in base.adapters if adapter.name in names)
        if base.name in names and base.exists:
            found.append(base)
        elif own:
            found.append(replace(base, adapters=own))
    return tuple(found)


def missing_names(tree: Iterable[BaseNode], names: Iterable[str]) -> tuple[str, ...]:
    """Return those of ``names`` that no base and no adapter has."""
    known = known_names(tree)
    return tuple(name for name in names if name not in known)


def known_names(tree: Iterable[BaseNode]) -> frozenset[str]:
    """Return the names of all bases and adapters that are there."""
    nodes = tuple(tree)
    return frozenset(
        {base.name for base in nodes if base.exists} | {one.name for base in nodes for one in base.adapters}
    )


def with_advice_of(tree: Iterable[BaseNode], names: Collection[str]) -> tuple[BaseNode, ...]:
    """Return the tree with advice on the adapters that ``names`` name, and on no others.

    Advice on a spec stays the same for as long as the spec, so it is left out where many adapters are shown. Advice on
    a version, which has a reason, is new, and is always shown.
    """
    return tuple(
        replace(base, adapters=tuple(one if one.name in names else _without_advice(one) for one in base.adapters))
        for base in tree
    )


def _without_advice(adapter: AdapterNode) -> AdapterNode:
    kept = tuple(found for found in adapter.findings if found.kind != "Advice" or found.reason)
    return replace(adapter, findings=kept)


def base_node(base: Base, adapters: Iterable[Adapter]) -> BaseNode:
    """Return a base with its adapters."""
    status = base.status
    return BaseNode(
        namespace=base.metadata.namespace,
        name=base.metadata.name,
        ready=condition_status(status.conditions, "Ready"),
        resolved=status.resolved,
        serving=status.serving,
        counts=status.adapters,
        findings=findings_of_base(base),
        adapters=adapter_nodes(adapters),
    )


def adapter_nodes(adapters: Iterable[Adapter]) -> tuple[AdapterNode, ...]:
    """Return adapters by name."""
    return tuple(adapter_node(adapter) for adapter in sorted(adapters, key=lambda item: item.metadata.name))


def adapter_node(adapter: Adapter) -> AdapterNode:
    """Return one adapter."""
    status = adapter.status
    return AdapterNode(
        namespace=adapter.metadata.namespace,
        name=adapter.metadata.name,
        ready=condition_status(status.conditions, "Ready"),
        up_to_date=condition_status(status.conditions, "UpToDate"),
        served=status.served_version,
        candidate=status.candidate_version,
        desired=status.serving.desired,
        loaded=status.serving.loaded,
        training=status.training,
        canary=canary_of(status),
        findings=findings_of_adapter(adapter),
    )


def canary_of(status: LoraAdapterStatus) -> Canary | None:
    """Return the canary under way; a version that answers everything is none."""
    serving = status.serving
    if serving.target is None or serving.rollout is None or serving.rollout.weight >= canary.ALL:
        return None
    return Canary(
        target=serving.target.number,
        weight=serving.rollout.weight,
        previous=serving.previous.number if serving.previous else None,
        step_time=serving.rollout.step_time,
    )


def condition_status(conditions: Iterable[Condition], kind: str) -> str:
    """Return a condition's status; empty where it was never set."""
    found = find(conditions, kind)
    return found.status if found is not None else ""
