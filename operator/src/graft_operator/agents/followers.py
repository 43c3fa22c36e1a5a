"""One follower per serving pod keeps the newest state of each, and tells who should look at what is new.

A follower asks for the state, then for the next one: the agent holds that request open until something other than
counters has changed. So a pod costs one request in twenty seconds while nothing happens, and news arrive at once.
Whoever decides reads what is known and never waits for a pod.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Protocol, TypeVar

from graft_operator.agents.address import PodAddress, Unreachable
from graft_operator.agents.budget import BYTES_PER_ADAPTER, NamespaceBudget
from graft_operator.agents.client import AGENT_PORT, MAX_BYTES, AgentClient, Question
from graft_operator.agents.state import AgentState
from graft_operator.agents.state_diff import NOTHING, AgentNews, news_between
from graft_operator.agents.state_parser import MAX_ADAPTERS, InvalidState, read_state
from graft_operator.controller_runtime.backoff import Backoff

log = logging.getLogger(__name__)

HELD_SECONDS: Final = 20
"""How long an agent holds a request open. A pod that died silently is noticed soon after it."""
SHORTEST_INTERVAL_SECONDS: Final = 1.0
"""The shortest time between two requests to one pod, however often it has news."""
POLL_SECONDS: Final = 2.0
"""Time between two requests to an agent that tells no revision, and so holds no request open."""
KEPT_SECONDS: Final = 10.0
"""How long the last state stands for a pod that can't be asked any more. A restart of its agent takes a few seconds."""
MEASURED_SECONDS: Final = 30.0
"""How long counters are watched after each call of `measure`."""
BYTES_EXPECTED: Final = (256 * 2**10, 4 * 2**10)
"""What a document may take at least, and what each adapter that the pod may know of adds to it."""
ADAPTERS_EXPECTED: Final = (64, 2)
"""The same for how many adapters it may name: some that are gone may still be draining there."""

Answer = AgentState | Unreachable
OnNews = Callable[[str, str, AgentNews], None]
T = TypeVar("T")


class StateClient(Protocol):
    """What asks a pod for its state: an `AgentClient`, or a stand-in of tests."""

    async def ask(
        self, pod: PodAddress, question: Question, budget: NamespaceBudget, read: Callable[[bytearray], T]
    ) -> T | Unreachable:
        """Return what `read` makes of the pod's document."""


class Agents:
    """The newest states of all serving pods. For one event loop."""

    def __init__(self, client: StateClient, *, adapters_on: Callable[[PodAddress], int] | None = None) -> None:
        """`adapters_on`: how many adapters a pod may know of. A document that tells of many more is refused early."""
        self.on_news: OnNews = lambda namespace, pod, news: None
        """Called with namespace, pod and what is new there. It must be quick, and look up what it is told of."""
        self._client = client
        self._adapters_on = adapters_on
        self._followers: dict[tuple[str, str], _Follower] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._budgets: dict[str, NamespaceBudget] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, *, port: int = AGENT_PORT, adapters_on: Callable[[PodAddress], int] | None = None
    ) -> AsyncIterator[Agents]:
        """Open a connection pool; at the end unfollow every pod and close it."""
        async with AgentClient.connect(port=port) as client:
            agents = cls(client, adapters_on=adapters_on)
            try:
                yield agents
            finally:
                await agents.close()

    def follow(self, pod: PodAddress) -> None:
        """Keep the pod's newest state from now on. Another address or uid under the same name replaces the former."""
        key = pod.namespace, pod.name
        former = self._followers.get(key)
        if former is not None and former.pod == pod:
            return
        budget = self._budgets.get(pod.namespace) or NamespaceBudget()
        self.unfollow(*key)
        self._budgets[pod.namespace] = budget
        follower = self._followers[key] = _Follower(pod, self._client, budget, self._tell, self._adapters_on)
        self._tasks[key] = asyncio.get_running_loop().create_task(
            follower.run(), name=f"agent {pod.namespace}/{pod.name}"
        )

    def unfollow(self, namespace: str, name: str) -> None:
        """Forget the pod, which has ended, and what it said. Tells no news: whoever calls knows of its end."""
        key = namespace, name
        if self._followers.pop(key, None) is None:
            return
        task = self._tasks.pop(key)
        task.cancel()
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        if all(other != namespace for other, _ in self._followers):
            del self._budgets[namespace]

    def state(self, namespace: str, name: str) -> Answer | None:
        """Return what the pod last said, or why it can't be asked; None before its first answer, or unfollowed.

        A state stands for up to `KEPT_SECONDS` and the time of one request after the pod has stopped to answer.
        """
        follower = self._followers.get((namespace, name))
        return follower.answer if follower else None

    def measure(self, namespace: str, name: str, *, adapter: str, seconds: float = 2.0) -> None:
        """Watch the adapter's counters on the pod: ask each `seconds` (≥ 1), and tell the adapter when they move.

        They change no revision, so nobody would hear of them otherwise. Ends by itself 30 s after the last call.
        """
        if follower := self._followers.get((namespace, name)):
            follower.measure(adapter, seconds)

    async def close(self) -> None:
        """Unfollow every pod and wait until nothing is asked any more."""
        for key in list(self._followers):
            self.unfollow(*key)
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _tell(self, pod: PodAddress, news: AgentNews) -> None:
        try:
            self.on_news(pod.namespace, pod.name, news)
        except Exception:
            log.exception("news of a pod are lost", extra={"namespace": pod.namespace, "pod": pod.name})


class _Follower:
    """StateClient one pod, again and again."""

    def __init__(
        self,
        pod: PodAddress,
        client: StateClient,
        budget: NamespaceBudget,
        tell: Callable[[PodAddress, AgentNews], None],
        adapters_on: Callable[[PodAddress], int] | None,
    ) -> None:
        self.pod = pod
        self.answer: Answer | None = None
        self._client = client
        self._budget = budget
        self._tell = tell
        self._adapters_on = adapters_on
        self._backoff = Backoff(base_seconds=2.0, cap_seconds=20.0)
        self._failures = 0
        self._failing_since = 0.0
        self._asked_at = 0.0
        self._measured: dict[str, tuple[float, float]] = {}  # adapter → until when, each how many seconds
        self._holding: asyncio.Timeout | None = None

    async def run(self) -> None:
        """Follow the pod until cancelled."""
        while True:
            try:
                await self._turn()
            except Exception as error:
                log.exception("a pod's answer could not be taken in", extra={"pod": self.pod.name})
                self._take_failure(Unreachable(f"unexpected {type(error).__name__}: the operator's log has more"))
            await asyncio.sleep(self._pause())

    def measure(self, adapter: str, seconds: float) -> None:
        """Watch the adapter's counters for a while."""
        began = self._interval() is None
        self._measured[adapter] = _now() + MEASURED_SECONDS, max(seconds, SHORTEST_INTERVAL_SECONDS)
        if began and self._holding is not None:
            self._holding.reschedule(_now())  # the request that is held open would show none

    async def _turn(self) -> None:
        await self._budget.paid()
        async with self._budget.places:
            max_bytes, max_adapters = self._expected()
            question, self._asked_at = self._question(max_bytes), _now()
            holding = asyncio.timeout(None)
            try:
                async with holding:
                    self._holding = holding if question.since else None
                    answer = await self._client.ask(self.pod, question, self._budget, self._reader(max_adapters))
            except TimeoutError:
                if not holding.expired():
                    raise
                return
            finally:
                self._holding = None
        if isinstance(answer, Unreachable):
            self._take_failure(answer)
        else:
            self._take(*answer)

    def _expected(self) -> tuple[int, int]:
        """Return how many bytes a document may take, and how many adapters it may name."""
        if self._adapters_on is None:
            return MAX_BYTES, MAX_ADAPTERS
        there = self._adapters_on(self.pod)
        # What was taken before is taken again: many adapters may be deleted at once.
        before = len(self.answer.adapters) if isinstance(self.answer, AgentState) else 0
        (bytes_least, bytes_each), (least, each) = BYTES_EXPECTED, ADAPTERS_EXPECTED
        return (
            min(MAX_BYTES, bytes_least + bytes_each * max(there, before)),
            min(MAX_ADAPTERS, max(least + each * there, before)),
        )

    def _question(self, max_bytes: int) -> Question:
        known = self.answer
        if self._failures or not isinstance(known, AgentState) or not known.revision:
            return Question(max_bytes=max_bytes)
        held = min(HELD_SECONDS, math.ceil(self._interval() or HELD_SECONDS))
        return Question(known.revision, 1 if self._budget.crowded else held, max_bytes)

    def _reader(self, max_adapters: int) -> Callable[[bytearray], tuple[AgentState, AgentNews]]:
        before = self.answer if isinstance(self.answer, AgentState) else None
        return partial(_read, self.pod.name, before, frozenset(self._measured), max_adapters)

    def _take(self, state: AgentState, news: AgentNews) -> None:
        self._budget.charge(BYTES_PER_ADAPTER * len(state.adapters))
        self._failures = 0
        self.answer = state
        if news != NOTHING:
            self._tell(self.pod, news)

    def _take_failure(self, why: Unreachable) -> None:
        if not self._failures:
            self._failing_since = self._asked_at
        self._failures += 1
        known = self.answer
        if isinstance(known, AgentState):
            if _now() < self._failing_since + KEPT_SECONDS:
                return
            self._tell_and_set(why, news_between(known, None))
        else:
            self._tell_and_set(why, AgentNews(frozenset(), base=known is None))

    def _tell_and_set(self, why: Unreachable, news: AgentNews) -> None:
        self.answer = why
        if news != NOTHING:
            self._tell(self.pod, news)

    def _pause(self) -> float:
        """Return the seconds until the pod may be asked again."""
        now, due = _now(), self._asked_at + SHORTEST_INTERVAL_SECONDS
        if self._failures:
            due = max(due, now + self._backoff.delay(self._failures))
            if isinstance(self.answer, AgentState):  # its time ends
                due = min(due, max(self._asked_at + SHORTEST_INTERVAL_SECONDS, self._failing_since + KEPT_SECONDS))
        elif isinstance(self.answer, AgentState) and not self.answer.revision:
            due = self._asked_at + (self._interval() or POLL_SECONDS)
        return max(0.0, due - now)

    def _interval(self) -> float | None:
        """Return the seconds between two looks at counters; None where none are watched."""
        now = _now()
        self._measured = {adapter: wish for adapter, wish in self._measured.items() if wish[0] > now}
        return min((seconds for _, seconds in self._measured.values()), default=None)


def _read(
    pod: str, before: AgentState | None, measured: frozenset[str], max_adapters: int, document: bytearray
) -> tuple[AgentState, AgentNews]:
    """Return the state and what is new in it. Runs in another thread where the document is large."""
    state = read_state(document, max_adapters)
    # A pod's address is given to another pod soon after its end.
    if state.pod != pod:
        raise InvalidState(f"it is that of pod {state.pod!r}, not of {pod!r}")
    return state, news_between(before, state, measured)


def _now() -> float:
    return asyncio.get_running_loop().time()
