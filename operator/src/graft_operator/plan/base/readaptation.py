"""Which adapters of a base may be trained anew now that the base has changed.

The base decides it for all of its adapters, in one place, and writes it into its status; each adapter reads there
whether its own turn has come. So a limit holds for all of them together, however they are served, and whichever of
them is looked at first.

Whoever has a grant keeps it until it wants none any more: its training has ended in a version that is served or
published, or in a stall, or a person has suspended, pinned or deleted it. Of those that wait each of :data:`RULES`
lets some pass, in their order, and says what the others wait for and when it is to be asked again. A budget, a
maintenance window, an approval, or a cutover of all at once is one more rule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from graft_operator.api.base_model import PLACES_TO_READAPT, BaseModel, BaseModelStatus, ReadaptationStatus
from graft_operator.api.conditions import find, is_true
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.plan.imports.origin import is_bound
from graft_operator.plan.snapshot import AdapterOfBase, BaseSnapshot
from graft_operator.plan.training.versions import home_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleContext:
    """What a rule depends on besides those that wait."""

    base: BaseModel
    holders: tuple[AdapterOfBase, ...]
    """The adapters that have a grant, and keep it."""
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What one rule has decided about those that wait."""

    allowed: Sequence[AdapterOfBase]
    """Those that may begin as far as it is concerned, in the order in which they were given."""
    why: str = ""
    """What the others wait for, in words for people."""
    ask_again: datetime | None = None
    """When it may decide otherwise although nothing has happened; None for a rule that no time changes."""


Rule = Callable[[RuleContext, Sequence[AdapterOfBase]], Ruling]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """What all rules have decided."""

    status: ReadaptationStatus
    ask_again: datetime | None = None
    """When somebody may get a grant although nothing has happened."""


def base_stays(context: RuleContext, waiting: Sequence[AdapterOfBase]) -> Ruling:
    """Begin nothing on a base that is about to go."""
    is_going = context.base.metadata.is_deleting
    return Ruling(allowed=() if is_going else waiting, why="the base is being deleted")


def within_max_parallel(context: RuleContext, waiting: Sequence[AdapterOfBase]) -> Ruling:
    """Let as many be trained at once as ``readaptation.maxParallel`` says; a lowered limit takes no grant away."""
    limit = context.base.spec.readaptation.max_parallel
    return Ruling(
        allowed=waiting[: max(0, limit - len(context.holders))],
        why=f"{limit} adapters of this base are re-adapted at the same time (readaptation.maxParallel)",
    )


RULES: Final[tuple[Rule, ...]] = (
    base_stays,
    within_max_parallel,  # last: it counts those that all others let pass
)


def decide_grants(seen: BaseSnapshot, now: datetime, rules: Sequence[Rule] = RULES) -> Grants:
    """Return who may be trained anew, how many wait for it, and what for: the first rule's words that holds one back.

    First come, first served. A base that changes makes all of its adapters come at the same moment: they go in an order
    that is another one with each base, so that none is always the last.
    """
    held = set(seen.base.status.readaptation.granted)
    asking = sorted(
        (item for item in seen.adapters if wants_or_holds_grant(item)), key=lambda item: queue_position(seen.base, item)
    )
    holders = tuple(item for item in asking if item.readapting or item.name in held)
    context = RuleContext(base=seen.base, holders=holders, now=now)
    allowed: Sequence[AdapterOfBase] = [item for item in asking if item not in holders]
    holding_back: list[Ruling] = []
    for rule in rules:
        ruling = rule(context, allowed)
        if len(ruling.allowed) < len(allowed):
            holding_back.append(ruling)
        allowed = ruling.allowed
    granted = tuple(item.name for item in (*holders, *allowed))[:PLACES_TO_READAPT]
    why = next((ruling.why for ruling in holding_back), None)
    return Grants(
        status=ReadaptationStatus(granted=granted, queued=len(asking) - len(granted), waiting_for=why),
        ask_again=min((item.ask_again for item in holding_back if item.ask_again is not None), default=None),
    )


def wants_or_holds_grant(adapter: AdapterOfBase) -> bool:
    """Whether the adapter wants a grant, or uses one."""
    return adapter.readapting or (adapter.wants_readaptation and not adapter.deleting)


def queue_position(base: BaseModel, adapter: AdapterOfBase) -> tuple[float, bytes]:
    """Return a sort key: who is behind for longer comes first."""
    since = adapter.behind_since.timestamp() if adapter.behind_since else float("inf")
    resolved = base.status.resolved.digest if base.status.resolved else ""
    return since, hashlib.sha256(f"{resolved}\0{adapter.name}".encode()).digest()


def may_readapt(base: BaseModelStatus, adapter: str) -> bool:
    """Whether the base has granted the adapter of that name that it is trained anew."""
    return adapter in base.readaptation.granted


def wants_readaptation(adapter: LoraAdapter, base: BaseModel) -> bool:
    """Whether the adapter is to be trained anew because its base has changed, and may begin as far as it is concerned.

    One that waits for a person, or for something else that may never come, asks for nothing: it would keep others from
    their turn.
    """
    resolved, home = base.status.resolved, home_digest(adapter.status, ())
    if resolved is None or home in (None, resolved.digest) or base.spec.readaptation.policy == "Never":
        return False
    if adapter.spec.suspend or adapter.spec.version is not None or adapter.metadata.is_deleting:
        return False
    if is_bound(adapter, resolved.digest):
        return False  # it stays where it is, and the base goes on serving the one that it was imported for
    conditions = adapter.status.conditions
    accepted = find(conditions, "Accepted")
    is_refused = accepted is not None and accepted.status != "True"
    # After a base that has changed back, a version of it may be current that is not the newest one.
    return not is_refused and not is_true(conditions, "Stalled") and not is_true(conditions, "UpToDate")


def behind_since(adapter: LoraAdapter) -> datetime | None:
    """Return since when the adapter has not been up to date; None where it is, or that was never told."""
    condition = find(adapter.status.conditions, "UpToDate")
    return None if condition is None or condition.status == "True" else condition.last_transition_time
