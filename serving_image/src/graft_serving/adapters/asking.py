"""Asks an engine the prompts of proofs, without its clients feeling it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from typing import Final, TypeVar

from graft_serving.engine.activity import ClientActivity
from graft_serving.engine.client import EngineClient, Generation

Answer = TypeVar("Answer")

MOST_BESIDE_CLIENTS: Final = 2
"""Prompts in the engine at the same time while clients wait for its answers: each one makes every step of theirs
longer. Their 99th percentile was 1.3 times the quiet one with all at once or 30 ms apart, 1.04 times with two
(docs/figures.md)."""
MOST_ALONE: Final = 32
"""While nobody waits, as in a pod that starts with a hundred versions to prove: what an engine batches well."""
SECONDS_UNTIL_ONE_MORE: Final = 1 / MOST_BESIDE_CLIENTS
"""After which, at the latest, there is room for another prompt, if no client comes."""


def prompts_at_once(seconds_unasked: float) -> int:
    """How many prompts may be in the engine together, when no client has waited for it for so many seconds.

    The number grows in proportion to the pause: clients who ask every ten seconds meet ten times the prompts, a tenth
    as often. So what a proof costs clients in all is no more than beside one who asks each second, and a single
    question does not slow down the proofs of all the next seconds.
    """
    return int(min(max(1.0, seconds_unasked) * MOST_BESIDE_CLIENTS, MOST_ALONE))


async def all_ended(questions: Iterable[Awaitable[Answer]]) -> list[Answer]:
    """The answers to all of them; the first error is raised when none is under way any more."""
    ended = await asyncio.gather(*questions, return_exceptions=True)
    if failed := next((answer for answer in ended if isinstance(answer, BaseException)), None):
        raise failed
    return [answer for answer in ended if not isinstance(answer, BaseException)]


class ProofPrompts:
    """Generates as the engine does, for all proofs of the pod, with few prompts in the engine at the same time."""

    def __init__(self, engine: EngineClient, clients: ClientActivity) -> None:
        """Ask `engine`; `clients` tells whether others do so, too."""
        self._engine = engine
        self._clients = clients
        self._next = asyncio.Lock()
        self._one_left = asyncio.Event()
        self._under_way = 0

    async def generate(
        self, model: str, prompt: str | Sequence[int], max_tokens: int, *, with_margins: bool = False
    ) -> Generation:
        """As :meth:`graft_serving.engine.client.EngineClient.generate`, when it is this prompt's turn."""
        async with self._turn():
            return await self._engine.generate(model, prompt, max_tokens, with_margins=with_margins)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Be one of the prompts in the engine.

        How many there may be is decided when one enters. A client who comes later finds those that are in there
        already, and no more enter beside it than it bears.
        """
        # In the order in which they came, so that only one at a time looks for room.
        async with self._next:
            while self._under_way >= prompts_at_once(self._clients.seconds_unasked):
                self._one_left.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SECONDS_UNTIL_ONE_MORE):
                        await self._one_left.wait()
            self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._one_left.set()
