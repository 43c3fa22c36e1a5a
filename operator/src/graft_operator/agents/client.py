"""One bounded request to an agent.

A pod that gives no usable answer is a value (`Unreachable`), not an exception: pods come and go, and one of them must
not fail the reconciliation of all adapters on its base.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import aiohttp

from graft_operator.agents.address import PodAddress, Unreachable
from graft_operator.agents.budget import NamespaceBudget
from graft_operator.agents.state_parser import MESSAGE_CHARACTERS, InvalidState
from graft_operator.telemetry import metrics

AGENT_PORT: Final = 8090
TIMEOUT_SECONDS: Final = 2.0
"""For the answer to begin, beyond the time that it may be held, and again for each part of its body."""
MAX_BYTES: Final = 4 * 2**20
SMALL_BYTES: Final = 64 * 2**10
"""Up to here a document is read at once, in about a millisecond; larger ones wait for a thread."""
LARGE_DOCUMENTS: Final = 16
"""At once, of all namespaces."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question:
    """What a pod is asked."""

    since: str = ""
    """Answer when the state has another revision than this; empty for an answer at once."""
    held_seconds: int = 0
    """Answer after this time at the latest."""
    max_bytes: int = MAX_BYTES


class AgentClient:
    """Asks agents for their state. For one event loop."""

    def __init__(self, session: aiohttp.ClientSession, threads: ThreadPoolExecutor, *, port: int = AGENT_PORT) -> None:
        self._session = session
        self._threads = threads
        self._port = port
        self._large = asyncio.Semaphore(LARGE_DOCUMENTS)

    @classmethod
    @asynccontextmanager
    async def connect(cls, *, port: int = AGENT_PORT) -> "AsyncIterator[AgentClient]":
        """Open a connection pool and threads to read in, and close them at the end."""
        session = aiohttp.ClientSession(
            # Without a limit, since requests for news stay open: there is never more than one per pod.
            connector=aiohttp.TCPConnector(limit=0),
            # What a pod sets must not be sent to whoever gets its address next.
            cookie_jar=aiohttp.DummyCookieJar(),
            # A thousandfold of what comes in would be unpacked before it could be counted.
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
            # Phases have their own limits. Pod addresses must never be asked through a proxy.
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
        )
        with ThreadPoolExecutor(max_workers=2, thread_name_prefix="agents") as threads:
            async with session:
                yield cls(session, threads, port=port)

    async def ask(
        self, pod: PodAddress, question: Question, budget: NamespaceBudget, read: Callable[[bytearray], T]
    ) -> T | Unreachable:
        """Return what `read` makes of the pod's document, in a thread if that is large.

        `read` may raise InvalidState. Never raises for anything that the pod does.
        """
        url = f"http://{pod.host}:{self._port}/state"
        try:
            answer: T | Unreachable = await self._ask(url, question, budget, read)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            what = f"answered no valid state: {error}" if isinstance(error, InvalidState) else _named(error)
            answer = Unreachable(f"{url} {what}"[:MESSAGE_CHARACTERS])
        metrics.AGENT_REQUESTS.labels("unreachable" if isinstance(answer, Unreachable) else "success").inc()
        return answer

    async def _ask(
        self, url: str, question: Question, budget: NamespaceBudget, read: Callable[[bytearray], T]
    ) -> T | Unreachable:
        query = {"since": question.since, "waitSeconds": str(question.held_seconds)} if question.since else {}
        async with asyncio.timeout(TIMEOUT_SECONDS + question.held_seconds):
            response = await self._session.get(url, params=query, allow_redirects=False)
        async with response:
            if refusal := _refusal(response, question.max_bytes):
                return Unreachable(f"{url} {refusal}")
            document = await _read_up_to(response, SMALL_BYTES)
            if response.content.at_eof() and len(document) <= SMALL_BYTES:
                budget.charge(len(document))
                return read(document)
            async with budget.documents, self._large:
                document += await _read_up_to(response, question.max_bytes - len(document))
                budget.charge(len(document))
                if len(document) > question.max_bytes:
                    return Unreachable(f"{url} answered more than {question.max_bytes} bytes")
                return await asyncio.get_running_loop().run_in_executor(self._threads, read, document)


def _refusal(response: aiohttp.ClientResponse, max_bytes: int) -> str:
    """Return why the body isn't even read; empty if it is."""
    if response.status != 200:
        return f"answered {response.status}"
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return "answered in an encoding that was not asked for"
    if (response.content_length or 0) > max_bytes:
        return f"answered more than {max_bytes} bytes"
    return ""


async def _read_up_to(response: aiohttp.ClientResponse, size: int) -> bytearray:
    """Return the next bytes: more than `size` of them, by one, only if the body goes on."""
    document = bytearray()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while len(document) <= size and not response.content.at_eof():
            document += await response.content.read(size + 1 - len(document))
    return document


def _named(error: Exception) -> str:
    return f"failed: {str(error) or type(error).__name__}"
