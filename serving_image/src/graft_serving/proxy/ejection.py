"""Pods that failed a moment ago are asked last for a while (Envoy's passive outlier detection)."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from graft_serving.proxy.attempts import Outcome

FIRST_SECONDS: Final = 5.0
LONGEST_SECONDS: Final = 60.0
MOST_DOUBLINGS: Final = 5
FAILURES: Final = frozenset({Outcome.UNREACHABLE, Outcome.LOST, Outcome.DIED})
"""Of the pod that was asked. One that leaves a request to others, or takes longer than a request may, has neither
failed nor shown that it answers."""


@dataclass(slots=True)
class _Failures:
    count: int
    until: float


class Ejections:
    """Which pods to ask last, by name. A pod that answers is forgiven; one that fails again waits for longer."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with none."""
        self._clock = clock
        self._failures: dict[str, _Failures] = {}

    @property
    def names(self) -> Collection[str]:
        """The pods that are asked last right now."""
        now = self._clock()
        return {name for name, failures in self._failures.items() if failures.until > now}

    def tried(self, name: str, outcome: Outcome) -> None:
        """A pod was asked, and this is how it ended."""
        if outcome in FAILURES:
            self._failed(name)
        elif outcome is Outcome.ANSWERED:
            self._failures.pop(name, None)

    def keep(self, names: Collection[str]) -> None:
        """Forget all other pods."""
        for name in self._failures.keys() - set(names):
            del self._failures[name]

    def _failed(self, name: str) -> None:
        now = self._clock()
        known = self._failures.get(name)
        if known is not None and known.until > now:
            # One that fails several requests at the same time has failed once.
            return
        count = 0 if known is None else known.count + 1
        seconds = min(FIRST_SECONDS * 2 ** min(count, MOST_DOUBLINGS), LONGEST_SECONDS)
        self._failures[name] = _Failures(count, now + seconds)
