"""Asks an engine the prompts of proofs, without its clients feeling it."""

import asyncio
from collections.abc import Sequence
from typing import Final

from graft_serving.engine.client import EngineClient, Generation
from graft_serving.engine.monitor import EngineMonitor

MOST_BESIDE_CLIENTS: Final = 2
"""Prompts in the engine at the same time while clients wait for its answers: each one makes every step of theirs
longer. Their 99th percentile was 1.3 times the quiet one with all at once or 30 ms apart, 1.04 times with two
(docs/figures.md)."""
MOST_ALONE: Final = 32
"""While nobody waits, as in a pod that starts with a hundred versions to prove: what an engine batches well."""


class ProofPrompts:
    """Generates as the engine does, for all proofs of the pod, with few prompts in the engine at the same time."""

    def __init__(self, engine: EngineClient, monitor: EngineMonitor) -> None:
        """Ask `engine`; `monitor` knows whether clients do so, too."""
        self._engine = engine
        self._monitor = monitor
        self._beside_clients = asyncio.Semaphore(MOST_BESIDE_CLIENTS)
        self._alone = asyncio.Semaphore(MOST_ALONE)

    async def generate(
        self, model: str, prompt: str | Sequence[int], max_tokens: int, *, with_margins: bool = False
    ) -> Generation:
        """As :meth:`graft_serving.engine.client.EngineClient.generate`, when it is this prompt's turn."""
        async with self._beside_clients if self._monitor.is_asked_by_clients else self._alone:
            return await self._engine.generate(model, prompt, max_tokens, with_margins=with_margins)
