"""Remembers which children the API server has refused, and lets each rest for longer and longer.

Nothing of it is stored: an operator that starts anew tries everything at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from graft_operator.cluster.errors import AlreadyExists, ClusterError, NotFound
from graft_operator.controller_runtime.backoff import Backoff
from graft_operator.controller_runtime.controller import Result, TransientError
from graft_operator.plan.actions import Action, Plan
from graft_operator.plan.rejections import Rejection, component_of
from graft_registry.digests import digest_of

log = logging.getLogger(__name__)

REMEMBERED: Final = 1024
"""From so many on, what is long overdue is looked for and dropped."""
OVERDUE_SECONDS: Final = 600.0

Content = Mapping[str, Any]
Key = tuple[str, str, str]
"""Kind, namespace and name."""


@dataclass(frozen=True, slots=True)
class _Resting:
    rejection: Rejection
    digest: str
    failures: int
    until: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of a list of actions."""

    rejections: tuple[Rejection, ...] = ()
    requeue_after: float | None = None
    """Seconds until a Job that was made, or a child that was refused, is due to be looked at again."""
    problem: TransientError | None = None
    """What ended it before its end, and passes by itself."""
    put_off: tuple[Action, ...] = ()
    """The action that has failed by it, and those after."""

    def raise_problem(self) -> None:
        """Raise what ended it, if anything did."""
        if self.problem is not None:
            raise self.problem


def result_of(plan: Plan, *outcomes: Outcome) -> Result:
    """Return when the owner is due again: as planned, or as its children ask for."""
    delays = [plan.requeue_after, *(outcome.requeue_after for outcome in outcomes)]
    return Result(
        requeue_after=min((delay for delay in delays if delay is not None), default=None),
        refused=any(outcome.rejections for outcome in outcomes),
    )


def is_rejection(error: ClusterError) -> bool:
    """Whether the API server has looked at the object and said no, so that only this object is concerned."""
    return not isinstance(error, TransientError | NotFound | AlreadyExists)


class Rejections:
    """The refused children of all objects. ``content`` is the child's manifest; empty for a deletion."""

    def __init__(self, clock: Callable[[], float], backoff: Backoff | None = None) -> None:
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._resting: dict[Key, _Resting] = {}

    def resting(self, key: Key, content: Content) -> Rejection | None:
        """Return why the child need not be tried now: it was refused lately, and is still the same."""
        known = self._resting.get(key)
        if known is None or known.until <= self._clock() or known.digest != digest_of(content):
            return None
        return known.rejection

    def remember(self, key: Key, content: Content, error: ClusterError) -> Rejection:
        """Let a child rest that was just refused; one that has changed since it was refused before rests shortly."""
        kind, namespace, name = key
        rejection = Rejection(
            kind=kind,
            name=name,
            component=component_of(content) if content else "",
            message=str(error),
            is_deletion=not content,
        )
        if len(self._resting) >= REMEMBERED:
            self._drop_overdue()
        digest, known = digest_of(content), self._resting.get(key)
        failures = known.failures + 1 if known is not None and known.digest == digest else 1
        delay = self._backoff.delay(failures)
        self._resting[key] = _Resting(rejection, digest, failures, self._clock() + delay)
        fields = {"child": f"{kind} {namespace}/{name}", "error": str(error), "retry_in": round(delay, 1)}
        log.warning("refused by the API server", extra=fields)
        return rejection

    def _drop_overdue(self) -> None:
        """Drop what nobody has tried again although it was due: its owner is gone, or wants it no more."""
        due = self._clock() - OVERDUE_SECONDS
        self._resting = {key: known for key, known in self._resting.items() if known.until > due}

    def forget(self, key: Key) -> None:
        """Forget a child that was taken."""
        self._resting.pop(key, None)

    def seconds_left(self, key: Key) -> float:
        """Return for how long a refused child rests."""
        known = self._resting.get(key)
        return max(0.0, known.until - self._clock()) if known is not None else 0.0
