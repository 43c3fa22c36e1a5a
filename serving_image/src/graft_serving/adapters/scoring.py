"""Has the versions of a rollout answer the new one's probes on this engine, for the operator to compare their scores.

The gate has judged a version with the trainer's model. Its users get the answers of an engine that may calculate in
fewer bits and with other kernels, so its score there, beside that of the version before, is what counts.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from graft_registry.documents import Probe
from graft_serving.adapters.cache import AdapterCache
from graft_serving.adapters.lifecycle import Lifecycle
from graft_serving.adapters.records import ProbeScore, VersionRecord
from graft_serving.engine.client import EngineClient
from graft_serving.engine.monitor import EngineMonitor
from graft_serving.errors import AgentError, EngineRejectedError, EngineUnreachableError
from graft_serving.versions import VersionKey, VersionState

logger = logging.getLogger(__name__)

Pair = tuple[VersionKey, VersionKey]
"""The candidate, whose probes are asked, and the stable version."""


class Scoring:
    """Asks one probe at a time on the whole pod, so that users lose next to nothing of their engine.

    What it asks is none of the versions' traffic, except that a version is not unloaded while it answers.
    """

    def __init__(
        self,
        *,
        lifecycle: Lifecycle,
        cache: AdapterCache,
        engine: EngineClient,
        monitor: EngineMonitor,
        retry_seconds: float,
        on_scored: Callable[[], None],
    ) -> None:
        """Compose the scoring of its parts; `on_scored` is called when both versions of a pair have their scores."""
        self._lifecycle = lifecycle
        self._cache = cache
        self._engine = engine
        self._monitor = monitor
        self._retry_seconds = retry_seconds
        self._on_scored = on_scored
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look again: the lifecycle has taken its steps."""
        self._wake.set()

    async def run(self) -> None:
        """Score whatever is due, for ever."""
        while True:
            while (pair := self._next_due()) is not None:
                try:
                    await self._score(pair)
                except AgentError as error:
                    logger.warning("probes of version=%s can't be asked yet: %s", pair[0].label, error)
                    await asyncio.sleep(self._retry_seconds)
            await self._wake.wait()
            self._wake.clear()

    def _next_due(self) -> Pair | None:
        return next((pair for pair in self._wanted_pairs() if self._is_due(pair)), None)

    def _wanted_pairs(self) -> list[Pair]:
        wanted = self._lifecycle.wanted
        pairs = (adapter.scored_versions for adapter in (wanted.adapters if wanted else ()))
        return [pair for pair in pairs if pair is not None]

    def _is_due(self, pair: Pair) -> bool:
        records = self._answering(pair)
        return records is not None and not all(_is_scored(record, by=pair[0]) for record in records)

    def _answering(self, pair: Pair) -> tuple[VersionRecord, ...] | None:
        """The records of both versions; None while one of them can't answer."""
        records = [self._lifecycle.records.get(key) for key in pair]
        proven = tuple(record for record in records if record is not None and record.state is VersionState.PROVEN)
        return proven if len(proven) == len(pair) and self._monitor.is_ready else None

    async def _score(self, pair: Pair) -> None:
        candidate, _ = pair
        probes = (await self._cache.ensure(candidate)).manifest.probes
        records = self._answering(pair)
        if records is None:
            return
        scores = [ProbeScore(of=candidate.manifest_digest, total=len(probes)) for _ in records]
        for record, score in zip(records, scores, strict=True):
            record.score = score
        # One version after the other: an engine has few places for adapters on the GPU.
        for record, score in zip(records, scores, strict=True):
            for probe in probes:
                if not self._is_wanted(pair):
                    return
                score.count(right=await self._is_right(record, probe))
        told = ", ".join(f"{record.key.label} {score.right}" for record, score in zip(records, scores, strict=True))
        logger.info("answers of %d probes that are right: %s", len(probes), told)
        self._on_scored()

    def _is_wanted(self, pair: Pair) -> bool:
        return pair in self._wanted_pairs() and self._answering(pair) is not None

    async def _is_right(self, record: VersionRecord, probe: Probe) -> bool:
        try:
            with record.traffic.under_way(partial(self._lifecycle.went_idle, record.key)):
                generated = await self._engine.generate(
                    record.key.engine_name, probe.prompt_token_ids, probe.max_tokens
                )
        except EngineRejectedError as error:
            logger.info("version=%s rejects a probe: %s", record.key.label, error)
            return False
        except EngineUnreachableError:
            self._monitor.suspect()
            raise
        return generated.text.strip() == probe.expected.strip()


def _is_scored(record: VersionRecord, *, by: VersionKey) -> bool:
    score = record.score
    return score is not None and score.of == by.manifest_digest and score.complete
