"""What is new in a pod's answer, and for whom. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from graft_operator.agents.state import AdapterState, AgentState

Comparable = object
"""A part of what a pod says. Two are equal where no decision depends on the difference."""

STEPS: Final = frozenset(("Pending", "Fetching", "Loading", "Proving", "Draining"))
"""States on the way to another one, on which no decision depends."""


@dataclass(frozen=True, slots=True)
class AgentNews:
    """Who should look at what a pod says."""

    adapters: frozenset[str]
    """Names of the adapters of which it says something else than before. The pod has chosen them: any may not exist."""
    base: bool
    """Whether what concerns the base has changed: readiness, engine, wanted set, who answers, who is asked in vain."""


NOTHING: Final = AgentNews(frozenset(), base=False)


def news_between(before: AgentState | None, after: AgentState | None, measured: Collection[str] = ()) -> AgentNews:
    """Return what is new. None stands for a pod that tells nothing.

    Of the ``measured`` adapters it is also news that their counters have moved.
    """
    if before is None or after is None:
        known = before or after
        return AgentNews(frozenset(item.name for item in known.adapters), base=True) if known else NOTHING
    old = {item.name: item for item in before.adapters}
    adapters = set(old)
    for item in after.adapters:
        former = old.get(item.name)
        if former is not None and (former == item or comparable(former, measured) == comparable(item, measured)):
            adapters.remove(item.name)
        elif former is None:
            adapters.add(item.name)
    return AgentNews(frozenset(adapters), _of_base(before) != _of_base(after) or bool(_asked(after) - _asked(before)))


def comparable(adapter: AdapterState, measured: Collection[str]) -> Comparable:
    """Return what decisions about an adapter depend on: no steps of a load, and counters only if it is ``measured``."""
    settled = [(item.number, item.state, item.reason) for item in adapter.versions if item.state not in STEPS]
    counters = adapter.name in measured and [(item.measured, item.probes) for item in adapter.versions]
    return adapter.active, adapter.decision, settled, counters


def _of_base(state: AgentState) -> Comparable:
    answering = {item.name for item in state.adapters if item.active}
    engine = (state.engine.state, state.engine.message)
    return state.ready, engine, state.wanted_digest, state.message, state.base, answering


def _asked(state: AgentState) -> set[Comparable]:
    """Return which adapters that don't answer on the pod have been asked there, and when."""
    return {(item.name, item.last_asked) for item in state.adapters if item.last_asked is not None and not item.active}
