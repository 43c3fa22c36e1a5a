"""What one version, or the bare base, has answered: counted for the operator's judgement of it."""

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from graft_serving.telemetry.answered import Answered, Caller

BUCKETS_PER_DOUBLING = 8
"""OpenTelemetry's exponential histogram of scale 3: each bucket is 9 % wide, and buckets of several pods add up."""
SHORTEST_SECONDS = 1e-4
"""A shorter time, or none, counts as this: zero has no logarithm."""
MOST_CLIENTS: Final = 1024
"""That are told apart; all further ones count as one."""
MOST_SESSIONS: Final = 16_384
"""That are told apart; no further one is measured."""


def latency_bucket(seconds: float) -> int:
    """The number i of the bucket, with 2^(i/8) < seconds <= 2^((i+1)/8)."""
    return math.ceil(math.log2(max(seconds, SHORTEST_SECONDS)) * BUCKETS_PER_DOUBLING) - 1


@dataclass(slots=True)
class Measured:
    """The answers since the alias's present route came into force, as a judgement may use them.

    A client that finds sessions which stay with one version could ask that version alone for what is slow, so each
    session counts with its first answer, for which nothing but the weights has chosen.
    """

    requests: int = 0
    latency: Counter[int] = field(default_factory=Counter)
    """Bucket → number of complete 2xx answers."""
    _sessions: set[int] = field(default_factory=set)
    _asked_by: Counter[str] = field(default_factory=Counter)
    _failed_by: Counter[str] = field(default_factory=Counter)

    @property
    def errors(self) -> int:
        """Failed answers. Of a client beside others they count as one more than those of all the others at most.

        So what one client provokes decides nothing, and what fails for everybody counts in full. A client that has
        asked more than half of all is no exception among others: its errors count in full, too.
        """
        total = self._failed_by.total()
        if total == 0:
            return 0
        client, most = self._failed_by.most_common(1)[0]
        if 2 * self._asked_by[client] > self.requests:
            return total
        others = total - most
        return others + min(most, others + 1)

    def count(self, caller: Caller, answered: Answered | None) -> None:
        """Take an answer into account; None if the engine lost the request before the first byte."""
        if caller.session is not None and not self._is_new(caller.session):
            return
        client = caller.client if caller.client in self._asked_by or len(self._asked_by) < MOST_CLIENTS else ""
        self.requests += 1
        self._asked_by[client] += 1
        if answered is None or answered.failed:
            self._failed_by[client] += 1
        elif answered.status // 100 == 2:
            self.latency[latency_bucket(answered.seconds)] += 1

    def _is_new(self, session: str) -> bool:
        known = hash(session)
        if known in self._sessions or len(self._sessions) >= MOST_SESSIONS:
            return False
        self._sessions.add(known)
        return True


@dataclass(slots=True)
class Traffic:
    """The answers under way, those since the version is known here, and those since the last change of its route."""

    inflight: int = 0
    requests: int = 0
    errors: int = 0
    measured: Measured = field(default_factory=Measured)

    @contextlib.contextmanager
    def under_way(self, on_idle: Callable[[], None]) -> Iterator[None]:
        """Count a request for as long as it is under way; `on_idle` is called at the end of the last one."""
        self.inflight += 1
        try:
            yield
        finally:
            self.inflight -= 1
            if self.inflight == 0:
                on_idle()

    def count(self, caller: Caller, answered: Answered | None, *, is_measured: bool = True) -> None:
        """Count an answer that has ended; None if the engine lost the request before the first byte.

        Args:
            caller: whoever asked.
            answered: what the answer was like.
            is_measured: whether nothing but the weights has chosen the version; else it is in the plain counts alone.
        """
        self.requests += 1
        self.errors += answered is None or answered.failed
        if is_measured:
            self.measured.count(caller, answered)

    def measure_anew(self) -> None:
        """Forget what was measured: from now on another route is in force."""
        self.measured = Measured()
