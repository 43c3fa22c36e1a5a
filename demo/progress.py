"""Following adapters to a goal: a line whenever the status of one says something new."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from demo.cluster import Cluster, Object, condition
from demo.display import duration, say

ADAPTERS = "loraadapters.graft.dev"
QUIET_SECONDS = 5.0
"""The least time between two lines about the steps of one training."""


def told(adapter: Object) -> tuple[str, str]:
    """Return (what an adapter does, how far it is), both in words. The second changes often, the first seldom."""
    status = adapter.get("status", {})
    training = status.get("training")
    if training:
        return f"training: {training['state'].lower()}", training_detail(training)
    for kind in ("Stalled", "Reconciling"):
        entry = condition(adapter, kind)
        if entry["status"] == "True":
            return entry["reason"], entry.get("message", "")
    ready = condition(adapter, "Ready")
    return ready.get("reason", "waiting for the operator"), ready.get("message", "")


def training_detail(training: Object) -> str:
    """Return step, loss and time left of a training, as far as they are known."""
    parts = []
    if training.get("totalRows"):
        parts.append(f"{training.get('rows', 0)} of {training['totalRows']} rows")
    if training.get("maxSteps"):
        parts.append(f"step {training['step']} of {training['maxSteps']}")
    if training.get("loss"):
        parts.append(f"loss {training['loss']}")
    if training.get("etaSeconds") is not None:
        parts.append(f"{duration(training['etaSeconds'])} left")
    return ", ".join(parts)


class Narrator:
    """Prints what adapters do, but never the same twice and never too often."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, str, float]] = {}

    def hear(self, name: str, adapter: Object) -> None:
        """Print a line if there is something new to say of this adapter."""
        state, detail = told(adapter)
        old_state, old_detail, when = self._last.get(name, ("", "", 0.0))
        now = time.monotonic()
        if state == old_state and (detail == old_detail or now - when < QUIET_SECONDS):
            return
        self._last[name] = (state, detail, now)
        say(f"    {name:<10} {state:<22} {detail}".rstrip())


def follow(
    cluster: Cluster,
    namespace: str,
    goal: Callable[[Object], bool],
    names: tuple[str, ...],
    *,
    what: str,
    timeout: float,
) -> Mapping[str, Object]:
    """Narrate until every named adapter has reached the goal; return them.

    Raises:
        WaitTimedOutError: it took too long.
        AdapterStalledError: an adapter says that a person has to act.
    """
    narrator = Narrator()

    def reached(adapters: Mapping[str, Object]) -> bool:
        for name, adapter in sorted(adapters.items()):
            if name in names:
                narrator.hear(name, adapter)
                refuse_stalled(name, adapter)
        return all(name in adapters and goal(adapters[name]) for name in names)

    return cluster.wait_for(ADAPTERS, namespace, reached, what=what, timeout=timeout)


class AdapterStalledError(Exception):
    """An adapter can't go on; the message is its own."""


def refuse_stalled(name: str, adapter: Object) -> None:
    """Raise AdapterStalledError if the adapter says that nothing will change until a person acts."""
    stalled = condition(adapter, "Stalled")
    if stalled["status"] == "True" and stalled.get("observedGeneration") == adapter["metadata"]["generation"]:
        raise AdapterStalledError(f"adapter {name} is stalled: {stalled['reason']}: {stalled.get('message', '')}")
