"""In which order waiting keys run: by priority, then in turn by namespace, then first come, first served. Pure.

Two rules keep it fair. A namespace is passed over while it has as many runs as it may have, so that one tenant whose
runs hang never holds every worker. And a part of all runs goes to whoever has waited too long, so that a flood of
urgent keys makes the others slow and never stops them.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from enum import IntEnum
from typing import Final, Generic, Protocol, TypeVar

PATIENCE_SECONDS: Final = 30.0
"""A key that has waited this long no longer waits for every key of a higher priority."""
PATIENT_SHARE: Final = 4
"""Each fourth run goes to whoever has waited longest, if that is longer than ``PATIENCE_SECONDS``."""


class Priority(IntEnum):
    """How urgent a run is. The lower number runs first."""

    URGENT = 0
    """A new spec, a rollback, a pod that is down: users are waiting, or are served wrongly."""
    PROGRESS = 1
    """Something that is under way has moved."""
    ROUTINE = 2
    """Nothing is known to have changed: the resync."""


_BY_URGENCY: Final = tuple(Priority)


class QueueKey(Hashable, Protocol):
    """What is to be run. Equal keys are one."""

    @property
    def namespace(self) -> str:
        """Whose it is."""


K = TypeVar("K", bound=QueueKey)


class _Band(Generic[K]):
    """The keys that wait at one priority. Every method takes O(1), but for namespaces that are passed over."""

    def __init__(self) -> None:
        self._since: OrderedDict[K, float] = OrderedDict()  # the longest waiting first
        self._turns: OrderedDict[str, OrderedDict[K, None]] = OrderedDict()  # the namespace whose turn it is first

    def __len__(self) -> int:
        return len(self._since)

    def put(self, key: K, now: float) -> None:
        self._since[key] = now
        self._turns.setdefault(key.namespace, OrderedDict())[key] = None

    def remove(self, key: K) -> float:
        """Take one key out. Returns since when it has waited."""
        keys = self._turns[key.namespace]
        del keys[key]
        if not keys:
            del self._turns[key.namespace]
        return self._since.pop(key)

    def next(self, may_run: Callable[[str], bool]) -> K | None:
        """Return the first key of the first namespace that may run one, and end that namespace's turn."""
        for namespace, keys in self._turns.items():
            if may_run(namespace):
                self._turns.move_to_end(namespace)
                return next(iter(keys))
        return None

    def longest_wait(self, now: float) -> float:
        """Return the seconds that the longest waiting key has waited; 0 where none waits."""
        return now - next(iter(self._since.values())) if self._since else 0.0


class FairOrder(Generic[K]):
    """The waiting keys, and how many of each namespace run. Times are those of any monotonic clock, in seconds."""

    def __init__(self, *, limit: int | None = None) -> None:
        """``limit``: how many runs one namespace may have at once; None for any number."""
        self._limit = limit
        self._bands = {priority: _Band[K]() for priority in Priority}
        self._priorities: dict[K, Priority] = {}
        self._running: Counter[str] = Counter()
        self._runs = 0

    def __len__(self) -> int:
        return len(self._priorities)

    def __contains__(self, key: K) -> bool:
        return key in self._priorities

    def waiting(self, priority: Priority) -> int:
        """Return how many keys wait at the priority."""
        return len(self._bands[priority])

    def put(self, key: K, priority: Priority, now: float) -> None:
        """Let the key wait. One that waits already is only raised, never lowered."""
        present = self._priorities.get(key)
        if present is not None:
            if present <= priority:
                return
            self._bands[present].remove(key)
        self._priorities[key] = priority
        self._bands[priority].put(key, now)

    def take(self, now: float) -> tuple[K, Priority, float] | None:
        """Begin the next run: return its key, priority and the seconds it has waited there; None if none may run."""
        for priority in self._ranking(now):
            key = self._bands[priority].next(self._may_run)
            if key is not None:
                since = self._bands[priority].remove(key)
                del self._priorities[key]
                self._running[key.namespace] += 1
                self._runs += 1
                return key, priority, now - since
        return None

    def end(self, key: K) -> None:
        """End a run that `take` has begun."""
        self._running[key.namespace] -= 1
        if not self._running[key.namespace]:
            del self._running[key.namespace]

    def _may_run(self, namespace: str) -> bool:
        return self._limit is None or self._running[namespace] < self._limit

    def _ranking(self, now: float) -> tuple[Priority, ...]:
        """Return the priorities in the order in which the next run is looked for."""
        if self._runs % PATIENT_SHARE == PATIENT_SHARE - 1:
            waits = {priority: band.longest_wait(now) for priority, band in self._bands.items()}
            if max(waits.values()) >= PATIENCE_SECONDS:
                return tuple(sorted(waits, key=lambda priority: -waits[priority]))
        return _BY_URGENCY
