"""Waits for pods to say something new: of adapters that are on their way to them, or of who is asked and not loaded.

One request per pod, held open by its agent until its state changes, instead of asking every pod again and again for
each adapter. Nothing is decided here and nothing depends on it: whoever waits also looks again by the clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from graft_operator.agents.address import PodAddress, Unreachable
from graft_operator.agents.documents import AgentState

Said = object
"""What one pod says, as far as whoever waits depends on it."""

SETTLED = ("Proven", "Refused", "Failing")


def said_of(state: AgentState, adapter: str) -> Said:
    """Return what the pod says of the adapter, without counters and without the steps of a load under way."""
    found = next((item for item in state.adapters if item.name == adapter), None)
    if found is None:
        return None
    settled = [(item.number, item.state, item.reason) for item in found.versions if item.state in SETTLED]
    return found.active, settled


def asked_in_vain(state: AgentState) -> Said:
    """Return which adapters that don't answer on the pod have been asked there, and when."""
    return {(item.name, item.last_asked) for item in state.adapters if item.last_asked is not None and not item.active}


@dataclass(frozen=True, slots=True)
class Reader:
    """Whoever waits for news: an adapter for what becomes of its versions, or a base for who is asked in vain."""

    name: str
    is_base: bool = False

    def said_in(self, state: AgentState) -> Said:
        """Return what the pod says to this reader."""
        return asked_in_vain(state) if self.is_base else said_of(state, self.name)


class News:
    """Follows pods while somebody waits for them. For one event loop."""

    def __init__(self, ask: Callable[[PodAddress, str], Awaitable[AgentState | Unreachable]]) -> None:
        """`ask(pod, revision)` answers once the pod's state is another one than that revision, or after a while."""
        self._ask = ask
        self._awaited: dict[PodAddress, dict[Reader, Said]] = {}
        self._tasks: dict[PodAddress, asyncio.Task[None]] = {}
        self.tell: Callable[[str, Reader], None] = lambda namespace, reader: None
        """Called with namespace and reader when a pod has news for it."""

    def expect(self, pod: PodAddress, reader: Reader, newest: AgentState, revision: str) -> None:
        """Tell once, as soon as the pod says something new to the reader.

        `newest` is its newest state, `revision` that of the state which whoever waits has seen: with another one the
        news may be there already. It is empty where there was none to see.
        """
        if not newest.revision or not revision:
            return  # an agent of an earlier release, which does not hold requests open, or one that could not be asked
        if newest.revision != revision:
            self.tell(pod.namespace, reader)
            return
        self._awaited.setdefault(pod, {})[reader] = reader.said_in(newest)
        if pod not in self._tasks:
            self._tasks[pod] = asyncio.get_running_loop().create_task(self._follow(pod, revision))

    async def close(self) -> None:
        """Stop waiting."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, pod: PodAddress, revision: str) -> None:
        awaited = self._awaited[pod]
        try:
            while awaited:
                answer = await self._ask(pod, revision)
                if isinstance(answer, Unreachable) or not answer.revision:
                    return
                revision = answer.revision
                for reader in [one for one, said in awaited.items() if one.said_in(answer) != said]:
                    del awaited[reader]
                    self.tell(pod.namespace, reader)
        finally:
            del self._tasks[pod], self._awaited[pod]
