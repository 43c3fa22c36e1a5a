"""HTTP client for the agents: short cache, one request in flight per pod, strict limits.

A pod that does not answer is a value (`Unreachable`), not an exception: pods come and go, and one of them must not
fail the reconciliation of all adapters on its base.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from pydantic import ValidationError

from graft_operator.agents.documents import AgentState
from graft_operator.telemetry import metrics

AGENT_PORT = 8090
TTL_SECONDS = 0.4
"""Adapters of one base are often reconciled together; this spares the pods the same question."""
TIMEOUT_SECONDS = 2.0
MAX_BYTES = 4 * 2**20
"""About 400 bytes per version; far above any real answer."""


@dataclass(frozen=True, slots=True)
class PodAddress:
    """A serving pod that may be asked. `ip` is `status.podIP`."""

    namespace: str
    name: str
    uid: str
    ip: str

    @property
    def host(self) -> str:
        """The address as it stands in a URL."""
        return f"[{self.ip}]" if ":" in self.ip else self.ip


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The agent gave no usable answer, for the reason in `message`."""

    message: str


Answer = AgentState | Unreachable


@dataclass(slots=True)
class _Entry:
    answer: asyncio.Task[Answer]
    asked_at: float


class Agents:
    """Asks agents for their state. For one event loop."""

    def __init__(self, session: aiohttp.ClientSession, *, port: int = AGENT_PORT, ttl: float = TTL_SECONDS) -> None:
        self._session = session
        self._port = port
        self._ttl = ttl
        self._entries: dict[PodAddress, _Entry] = {}

    @classmethod
    @asynccontextmanager
    async def connect(cls) -> "AsyncIterator[Agents]":
        """Open a connection pool, and close it and all requests at the end."""
        # trust_env stays off: pod addresses must never be asked through a proxy.
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as session:
            agents = cls(session)
            try:
                yield agents
            finally:
                await agents._cancel_all()

    async def state(self, pod: PodAddress) -> Answer:
        """Return the pod's state, at most `ttl` seconds old. Never raises for anything that the pod does."""
        loop = asyncio.get_running_loop()
        entry = self._entries.get(pod)
        if entry is None or loop.time() - entry.asked_at >= self._ttl:
            self._drop_expired()
            entry = _Entry(loop.create_task(self._ask(pod)), loop.time())
            self._entries[pod] = entry
        # Shielded, because others may wait for the same answer when this caller is cancelled.
        return await asyncio.shield(entry.answer)

    async def states(self, pods: Iterable[PodAddress]) -> dict[str, Answer]:
        """Ask all pods at once. Returns pod name → answer."""
        pods = list(pods)
        answers = await asyncio.gather(*(self.state(pod) for pod in pods))
        return {pod.name: answer for pod, answer in zip(pods, answers, strict=True)}

    def invalidate(self, namespace: str, pod_name: str) -> None:
        """Forget what the pod said, because it changed. A request in flight is not used for later callers."""
        for pod in [pod for pod in self._entries if (pod.namespace, pod.name) == (namespace, pod_name)]:
            del self._entries[pod]

    def _drop_expired(self) -> None:
        oldest = asyncio.get_running_loop().time() - self._ttl
        for pod in [p for p, entry in self._entries.items() if entry.asked_at <= oldest and entry.answer.done()]:
            del self._entries[pod]

    async def _ask(self, pod: PodAddress) -> Answer:
        answer = await self._fetch(pod)
        metrics.AGENT_REQUESTS.labels("unreachable" if isinstance(answer, Unreachable) else "success").inc()
        return answer

    async def _fetch(self, pod: PodAddress) -> Answer:
        url = f"http://{pod.host}:{self._port}/state"
        try:
            async with self._session.get(url, allow_redirects=False) as response:
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
        running = [entry.answer for entry in self._entries.values() if not entry.answer.done()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._entries.clear()


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return f"{field}: {first['msg']}" if field else str(first["msg"])
