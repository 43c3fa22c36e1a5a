"""Which adapters of a base may be trained anew now that the base has changed.

The base decides it for all of its adapters, in one place, and writes it into its status; each adapter reads there
whether its own turn has come. So a limit holds for all of them together, however they are served, and whichever of
them is looked at first.

Whoever has a grant keeps it until it wants none any more: its training has ended in a version that is served or
published, or in a stall, or a person has suspended, pinned or deleted it. Of those that wait each of :data:`RULES`
lets some pass, in their order. A budget, a maintenance window, an approval, or a cutover of all at once is one more
rule.
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
from graft_operator.plan.snapshot import AdapterOfBase, BaseSnapshot
from graft_operator.plan.training.versions import home_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleContext:
    """What a rule depends on besides those that wait."""

    base: BaseModel
    holders: tuple[AdapterOfBase, ...]
    """The adapters that have a grant, and keep it."""
    now: datetime


Rule = Callable[[RuleContext, Sequence[AdapterOfBase]], Sequence[AdapterOfBase]]
"""Returns those of the waiting adapters that may begin, in the order in which they were given."""


def base_stays(granted: RuleContext, waiting: Sequence[AdapterOfBase]) -> Sequence[AdapterOfBase]:
    """Begin nothing on a base that is about to go."""
    return () if granted.base.metadata.is_deleting else waiting


def within_max_parallel(granted: RuleContext, waiting: Sequence[AdapterOfBase]) -> Sequence[AdapterOfBase]:
    """Let as many be trained at once as ``readaptation.maxParallel`` says; a lowered limit takes no grant away."""
    return waiting[: max(0, granted.base.spec.readaptation.max_parallel - len(granted.holders))]


RULES: Final[tuple[Rule, ...]] = (
    base_stays,
    within_max_parallel,  # last: it counts those that all others let pass
)


def decide_grants(seen: BaseSnapshot, now: datetime, rules: Sequence[Rule] = RULES) -> ReadaptationStatus:
    """Return who may be trained anew, and how many wait for it.

    First come, first served. A base that changes makes all of its adapters come at the same moment: they go in an order
    that is another one with each base, so that none is always the last.
    """
    held = set(seen.base.status.readaptation.granted)
    asking = sorted(
        (item for item in seen.adapters if wants_or_holds_grant(item)), key=lambda item: queue_position(seen.base, item)
    )
    holders = tuple(item for item in asking if item.readapting or item.name in held)
    allowed: Sequence[AdapterOfBase] = [item for item in asking if item not in holders]
    for rule in rules:
        allowed = rule(RuleContext(base=seen.base, holders=holders, now=now), allowed)
    granted = [item.name for item in (*holders, *allowed)][:PLACES_TO_READAPT]
    return ReadaptationStatus(granted=tuple(granted), queued=len(asking) - len(granted))


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
    conditions = adapter.status.conditions
    accepted = find(conditions, "Accepted")
    is_refused = accepted is not None and accepted.status != "True"
    # After a base that has changed back, a version of it may be current that is not the newest one.
    return not is_refused and not is_true(conditions, "Stalled") and not is_true(conditions, "UpToDate")


def behind_since(adapter: LoraAdapter) -> datetime | None:
    """Return since when the adapter has not been up to date; None where it is, or that was never told."""
    condition = find(adapter.status.conditions, "UpToDate")
    return None if condition is None or condition.status == "True" else condition.last_transition_time
