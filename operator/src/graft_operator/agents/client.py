"""HTTP client for the agents: short cache, one request in flight per pod, strict limits.

A pod that does not answer is a value (`Unreachable`), not an exception: pods come and go, and one of them must not
fail the reconciliation of all adapters on its base.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import aiohttp
from pydantic import ValidationError

from graft_operator.agents.address import PodAddress, Unreachable
from graft_operator.agents.documents import AgentState
from graft_operator.agents.news import News, Reader
from graft_operator.telemetry import metrics

AGENT_PORT = 8090
TTL_SECONDS = 0.4
"""Adapters of one base are often reconciled together; this spares the pods the same question."""
TIMEOUT_SECONDS = 2.0
HELD_SECONDS = 20
"""How long an agent holds a request for news open. A pod that died silently is noticed soon after it."""
MAX_BYTES = 4 * 2**20
"""About 400 bytes per version; far above any real answer."""


Answer = AgentState | Unreachable


@dataclass(slots=True)
class _Entry:
    answer: asyncio.Task[Answer]
    asked_at: float
    good_until: float


@dataclass(frozen=True, slots=True)
class _Last:
    """The newest state that a pod has told."""

    pod: PodAddress
    state: AgentState


class Agents:
    """Asks agents for their state. For one event loop."""

    def __init__(self, session: aiohttp.ClientSession, *, port: int = AGENT_PORT, ttl: float = TTL_SECONDS) -> None:
        self._session = session
        self._port = port
        self._ttl = ttl
        self._entries: dict[PodAddress, _Entry] = {}
        self._last: dict[tuple[str, str], _Last] = {}
        self._news = News(self._ask_for_news)

    @classmethod
    @asynccontextmanager
    async def connect(cls) -> "AsyncIterator[Agents]":
        """Open a connection pool, and close it and all requests at the end."""
        # trust_env stays off: pod addresses must never be asked through a proxy.
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        # Without a limit, since requests for news stay open: there are never more than two per pod.
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            agents = cls(session)
            try:
                yield agents
            finally:
                await agents._cancel_all()

    async def state(self, pod: PodAddress) -> Answer:
        """Return the pod's state: at most `ttl` seconds old, or what a request under way brings.

        Never raises for anything that the pod does.
        """
        self._drop_expired()
        entry = self._entries.get(pod)
        if entry is None:
            entry = self._entries[pod] = self._entry(asyncio.get_running_loop().create_task(self._ask(pod)))
            entry.answer.add_done_callback(partial(leave_alone, entry))
        # Shielded, because others may wait for the same answer when this caller is cancelled.
        return await asyncio.shield(entry.answer)

    async def states(self, pods: Iterable[PodAddress]) -> dict[str, Answer]:
        """Ask all pods at once. Returns pod name → answer."""
        pods = list(pods)
        answers = await asyncio.gather(*(self.state(pod) for pod in pods))
        return {pod.name: answer for pod, answer in zip(pods, answers, strict=True)}

    def tell_news(self, tell: Callable[[str, Reader], None]) -> None:
        """Have `tell(namespace, reader)` called when a pod has what `expect_news` or `expect_demand` waits for."""
        self._news.tell = tell

    def expect_news(self, namespace: str, adapter: str, seen: Mapping[str, str]) -> None:
        """Wait until one of the pods says something new of the adapter. `seen`: pod name → revision that was read."""
        self._expect(namespace, Reader(adapter), seen)

    def expect_demand(self, namespace: str, base: str, seen: Mapping[str, str]) -> None:
        """Wait until one of the base's pods is asked for an adapter that doesn't answer there. `seen` as above."""
        self._expect(namespace, Reader(base, is_base=True), seen)

    def _expect(self, namespace: str, reader: Reader, seen: Mapping[str, str]) -> None:
        for name, revision in seen.items():
            if (last := self._last.get((namespace, name))) is not None:
                self._news.expect(last.pod, reader, last.state, revision)

    def invalidate(self, namespace: str, pod_name: str) -> None:
        """Forget what the pod said, because it changed. A request in flight is not used for later callers."""
        self._last.pop((namespace, pod_name), None)
        for pod in [pod for pod in self._entries if (pod.namespace, pod.name) == (namespace, pod_name)]:
            del self._entries[pod]

    def _drop_expired(self) -> None:
        now = asyncio.get_running_loop().time()
        for pod in [p for p, entry in self._entries.items() if entry.good_until <= now and entry.answer.done()]:
            del self._entries[pod]

    def _entry(self, answer: asyncio.Task[Answer]) -> _Entry:
        now = asyncio.get_running_loop().time()
        return _Entry(answer, asked_at=now, good_until=now + self._ttl)

    async def _ask_for_news(self, pod: PodAddress, revision: str) -> Answer:
        asking = asyncio.get_running_loop().create_task(
            self._ask(pod, {"since": revision, "waitSeconds": str(HELD_SECONDS)})
        )
        answer = await asking
        if isinstance(answer, AgentState):
            # Whoever is told of the news looks at once: it gets this very answer. A long wait that has failed tells
            # less than a short question, which is asked anew.
            self._entries[pod] = self._entry(asking)
        return answer

    async def _ask(self, pod: PodAddress, query: Mapping[str, str] = MappingProxyType({})) -> Answer:
        answer = await self._fetch(pod, query)
        if isinstance(answer, AgentState):
            self._last[pod.namespace, pod.name] = _Last(pod, answer)
        metrics.AGENT_REQUESTS.labels("unreachable" if isinstance(answer, Unreachable) else "success").inc()
        return answer

    async def _fetch(self, pod: PodAddress, query: Mapping[str, str]) -> Answer:
        url = f"http://{pod.host}:{self._port}/state"
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS + HELD_SECONDS) if query else self._session.timeout
        try:
            async with self._session.get(url, params=query, allow_redirects=False, timeout=timeout) as response:
                if response.status != 200:
                    return Unreachable(f"{url} answered {response.status}")
                document = await response.content.read(MAX_BYTES + 1)
                while len(document) <= MAX_BYTES and not response.content.at_eof():
                    document += await response.content.read(MAX_BYTES + 1 - len(document))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Unreachable(f"{url}: {str(error) or type(error).__name__}")
        if len(document) > MAX_BYTES:
            return Unreachable(f"{url} answered more than {MAX_BYTES} bytes")
        try:
            state = AgentState.model_validate_json(document)
        except ValidationError as error:
            return Unreachable(f"{url} answered no valid state: {_first_error(error)}")
        # A pod's address is given to another pod soon after its end.
        if state.pod != pod.name:
            return Unreachable(f"{url} answered as pod {state.pod!r}, not {pod.name!r}")
        return state

    async def _cancel_all(self) -> None:
        await self._news.close()
        running = [entry.answer for entry in self._entries.values() if not entry.answer.done()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._entries.clear()


def leave_alone(entry: _Entry, answer: asyncio.Task[Answer]) -> None:
    """Believe that a pod gave no answer for as long as it took to find out.

    A node that is gone would cost every look at every adapter of its base the whole timeout.
    """
    if not answer.cancelled() and isinstance(answer.result(), Unreachable):
        now = asyncio.get_running_loop().time()
        entry.good_until = max(entry.good_until, 2 * now - entry.asked_at)


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return f"{field}: {first['msg']}" if field else str(first["msg"])
