"""Keeps what the registry has answered, looks up what is missing or too old, and tells where an answer has changed."""

from __future__ import annotations

import logging
import random
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from graft_operator.artifacts.lookups import Lookups, Stopped
from graft_operator.artifacts.questions import Question
from graft_operator.plan.known import BEING_LOOKED_UP, Known, Unknown
from graft_operator.plan.training.progress import seconds_between_looks
from graft_registry.documents import BaseManifest, StoredVersion
from graft_registry.errors import Corrupt, RegistryError, Unavailable
from graft_registry.s3.store import ObjectStore

log = logging.getLogger(__name__)

VERSIONS_KEPT: Final = 2048
"""Most answers that hold versions, of 8 KiB each."""
MODULES_KEPT: Final = 100_000
"""Linear modules of the bases of one namespace that are kept, of 0.2 KiB each: an ordinary base has some hundred, one
with hundreds of experts 50,000. The base that was asked for last is always kept."""
ANSWERS_KEPT: Final = 16384
"""Most of all other answers, of half a KiB each: that something is not there, or can't be told."""
_OTHERS: Final = "others"
LONGEST_BACKOFF: Final = 60.0
ASKED_LATELY: Final = 900.0
"""Seconds for which a lookup that fails is tried again by itself. After that it waits until it is asked for again."""
WATCHED_SECONDS: Final = 60.0
"""For so long after it was asked for, the progress of a run is followed."""

T = TypeVar("T")
Owner = tuple[str, str, str]
News = Callable[[str, str, str], None]
Answer = Known[Any] | Unknown


@dataclass(slots=True, eq=False)
class _Entry:
    question: Question[Any]
    value: Answer
    asked: float
    due: float
    failures: int = 0
    running: bool = False
    segment: str = _OTHERS
    weight: int = 1
    cancel: Callable[[], None] | None = None
    """Calls off the next lookup."""


class _Segment:
    """A part of the cache with a capacity of its own. The entry that was asked for last is at the end."""

    def __init__(self) -> None:
        self.entries: OrderedDict[Question[Any], None] = OrderedDict()
        self.weight = 0

    def put(self, question: Question[Any], weight: int) -> None:
        self.entries[question] = None
        self.weight += weight

    def take(self, question: Question[Any], weight: int) -> None:
        del self.entries[question]
        self.weight -= weight


class AnswerCache:
    """The newest answer to each question, evicted least recently asked first. For one event loop."""

    def __init__(self, store: ObjectStore, lookups: Lookups, clock: Callable[[], float], news: News) -> None:
        self._store = store
        self._lookups = lookups
        self._clock = clock
        self._news = news
        self._entries: dict[Question[Any], _Entry] = {}
        self._of: dict[Owner, set[Question[Any]]] = {}
        self._segments: defaultdict[str, _Segment] = defaultdict(_Segment)
        self._asking: _Entry | None = None

    def ask(self, question: Question[T]) -> Known[T] | Unknown:
        """Return what is known. What is unknown, or was looked up too long ago, is looked up in the background."""
        now = self._clock()
        entry = self._entries.get(question) or self._add(question, BEING_LOOKED_UP, due=now)
        entry.asked = now
        self._segments[entry.segment].entries.move_to_end(question)
        if entry.due <= now and not entry.running:
            # An answer that is there at once is no news: whoever asks gets it.
            self._asking = entry
            try:
                self._look_up(entry)
            finally:
                self._asking = None
        return entry.value

    def peek(self, question: Question[T]) -> Known[T] | Unknown | None:
        """Return what is known, None where nobody has asked; ask nothing."""
        entry = self._entries.get(question)
        return entry.value if entry else None

    def prime(self, question: Question[T], value: Known[T]) -> None:
        """Take over what the answer to another question tells as well, where nobody has asked yet. That is no news."""
        if question not in self._entries:
            self._asking = self._add(question, BEING_LOOKED_UP, due=self._clock())
            self._take(self._asking, value, failures=0)
            self._asking = None

    def put(self, question: Question[T], value: Known[T] | Unknown) -> None:
        """Take over what has become known in another way, and tell of it if it is new."""
        entry = self._entries.get(question) or self._add(question, BEING_LOOKED_UP, due=self._clock())
        self._take(entry, value, failures=0)

    def forget(self, owner: Owner, *abouts: str, only: Callable[[Question[Any], Answer], bool] | None = None) -> None:
        """Drop the answers on one object, those about the given matters or all, and what is under way for them."""
        for question in list(self._of.get(owner, ())):
            value = self._entries[question].value
            if (not abouts or question.about in abouts) and (only is None or only(question, value)):
                self._drop(question)

    def owners(self, kind: str) -> Iterable[Owner]:
        """Return the objects of a kind that something is known of."""
        return [owner for owner in self._of if owner[0] == kind]

    def __len__(self) -> int:
        return len(self._entries)

    def _add(self, question: Question[Any], value: Answer, *, due: float) -> _Entry:
        entry = _Entry(question, value, asked=self._clock(), due=due)
        self._entries[question] = entry
        self._of.setdefault(question.owner, set()).add(question)
        self._segments[_OTHERS].put(question, 1)
        self._evict(_OTHERS)
        return entry

    def _drop(self, question: Question[Any]) -> None:
        entry = self._entries.pop(question)
        self._leave_segment(entry)
        if entry.cancel is not None:
            entry.cancel()
        of_owner = self._of[question.owner]
        of_owner.discard(question)
        if not of_owner:
            del self._of[question.owner]

    def _evict(self, name: str) -> None:
        segment, most = self._segments[name], _capacity_of(name)
        while segment.weight > most and len(segment.entries) > 1:
            oldest = self._entries[next(iter(segment.entries))]
            if oldest.running:  # somebody waits for it
                segment.entries.move_to_end(oldest.question)
                return
            self._drop(oldest.question)

    def _leave_segment(self, entry: _Entry) -> None:
        segment = self._segments[entry.segment]
        segment.take(entry.question, entry.weight)
        if not segment.entries:
            del self._segments[entry.segment]

    def _look_up(self, entry: _Entry) -> None:
        question = entry.question
        entry.running = True
        if entry.cancel is not None:
            entry.cancel()
            entry.cancel = None

        def work(stopped: Stopped) -> Any:
            return question.ask(self._store.until(stopped))

        self._lookups.submit(question.namespace, question.about, work, lambda outcome: self._answered(entry, outcome))

    def _answered(self, entry: _Entry, outcome: object) -> None:
        if self._entries.get(entry.question) is not entry:
            return  # it was forgotten meanwhile, so that this answer may be too old
        entry.running = False
        if not isinstance(outcome, Exception):
            self._take(entry, Known(outcome), failures=0)
            return
        trouble = unknown(outcome)
        kept = isinstance(entry.value, Known) and entry.value.value is not None
        self._take(entry, entry.value if kept else trouble, failures=entry.failures + 1, trouble=trouble)

    def _take(self, entry: _Entry, value: Answer, *, failures: int, trouble: Unknown | None = None) -> None:
        before, now = entry.value, self._clock()
        entry.value, entry.failures = value, failures
        trouble = trouble or (value if isinstance(value, Unknown) else None)
        holds = pause_after(trouble, failures) if trouble else _holds(entry.question, value)
        entry.due = now + holds
        self._move_to_segment(entry)
        if trouble is not None or entry.question.about == "progress":
            if entry.cancel is not None:
                entry.cancel()
            entry.cancel = self._lookups.later(holds, lambda: self._again(entry))
        if entry is not self._asking and is_news(before, value):
            self._tell(entry.question)

    def _move_to_segment(self, entry: _Entry) -> None:
        self._leave_segment(entry)
        entry.segment, entry.weight = _segment_of(entry)
        self._segments[entry.segment].put(entry.question, entry.weight)
        self._evict(entry.segment)

    def _again(self, entry: _Entry) -> None:
        """Look something up without being asked, if it was asked for not long ago."""
        entry.cancel = None
        cares = WATCHED_SECONDS if entry.question.about == "progress" else ASKED_LATELY
        is_current = self._entries.get(entry.question) is entry and not entry.running
        if is_current and self._clock() - entry.asked <= cares:
            self._look_up(entry)

    def _tell(self, question: Question[Any]) -> None:
        owners = [question.owner] if question.name else self.owners(question.kind)
        for kind, namespace, name in owners:
            if name:
                self._news(kind, namespace, name)


def unknown(error: Exception) -> Unknown:
    """Return why an answer is unknown, from the error of its lookup. Pure, but for a log line of unexpected errors."""
    if isinstance(error, Unavailable):
        return Unknown("RegistryUnavailable", f"registry: {error}", is_transient=True)
    if isinstance(error, Corrupt):
        what_to_do = "restore it from a copy of the bucket, or delete it so that it is made again"
        return Unknown("RegistryCorrupt", f"registry: {error}; {what_to_do}", is_transient=False)
    if isinstance(error, RegistryError):
        name = type(error).__name__.removeprefix("Registry")
        return Unknown(f"Registry{name}", f"registry: {error}", is_transient=False)
    log.error("a lookup failed", exc_info=error)
    return Unknown("RegistryError", f"registry: {error!r}", is_transient=False)


def pause_after(trouble: Unknown, failures: int) -> float:
    """Return the seconds until a lookup that has failed so often is tried again: 1 to 60, or 60 where it won't pass.

    Spread over a fifth, so that what has failed together is not tried again together.
    """
    longest = LONGEST_BACKOFF if not trouble.is_transient else min(LONGEST_BACKOFF, 2.0 ** min(failures - 1, 10))
    return longest * random.uniform(0.8, 1.0)  # noqa: S311


def is_news(before: Answer, now: Answer) -> bool:
    """Whether an answer says something else than the one before it; words of one and the same trouble don't count."""
    if isinstance(before, Unknown) and isinstance(now, Unknown):
        return before.reason != now.reason
    return before != now


def _holds(question: Question[Any], value: Answer) -> float:
    found = value.value if isinstance(value, Known) else None
    if question.about == "progress":
        return seconds_between_looks(found.eta_seconds if found else None)
    return question.absent_holds if found is None else question.holds


def _segment_of(entry: _Entry) -> tuple[str, int]:
    """Return the segment that an answer belongs to, and its weight there."""
    found = entry.value.value if isinstance(entry.value, Known) else None
    if isinstance(found, BaseManifest):
        return f"bases of {entry.question.namespace}", 1 + len(found.linear_modules)
    if isinstance(found, StoredVersion):
        return "versions", 1
    if isinstance(found, tuple) and found:
        return "versions", len(found)
    return _OTHERS, 1


def _capacity_of(segment: str) -> int:
    return {_OTHERS: ANSWERS_KEPT, "versions": VERSIONS_KEPT}.get(segment, MODULES_KEPT)
