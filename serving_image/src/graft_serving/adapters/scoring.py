"""Has the versions of a rollout answer the new one's probes on this engine, for the operator to compare their scores.

The gate has judged a version with the trainer's model. Its users get the answers of an engine that may calculate in
fewer bits and with other kernels, so its score there, beside that of the version before, is what counts.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from functools import partial

from graft_registry.documents import Probe
from graft_serving.adapters.cache import VersionsOnDisk
from graft_serving.adapters.lifecycle import Lifecycle
from graft_serving.adapters.proof import MOST_PROMPT_TOKENS
from graft_serving.adapters.records import ProbeScore, VersionRecord, is_live
from graft_serving.engine.client import EngineClient
from graft_serving.engine.monitor import EngineMonitor
from graft_serving.errors import AgentError, EngineRejectedError, EngineUnreachableError
from graft_serving.versions import VersionKey

logger = logging.getLogger(__name__)

TRIES = 3
"""Of one probe, while the engine fails: that says nothing of the version, unless it goes on."""
MOST_PROBES = 32
MOST_TOKENS = 256
"""Bounds of what is asked, whatever a manifest says. Trainers write 32 probes of up to 72 tokens."""

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
        cache: VersionsOnDisk,
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
        live = tuple(record for record in records if record is not None and is_live(record, self._monitor))
        return live if len(live) == len(pair) else None

    async def _score(self, pair: Pair) -> None:
        candidate, _ = pair
        manifest = (await self._cache.ensure(candidate)).manifest
        probes = askable_probes(manifest.probes, self._monitor.max_model_length)
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
        for tries_left in reversed(range(TRIES)):
            try:
                with record.traffic.under_way(partial(self._lifecycle.went_idle, record.key)):
                    generated = await self._engine.generate(
                        record.key.engine_name, probe.prompt_token_ids, probe.max_tokens
                    )
            except EngineRejectedError as error:
                logger.info("version=%s rejects a probe: %s", record.key.label, error)
                if error.is_final or not tries_left:
                    return False
                self._monitor.suspect()
                await asyncio.sleep(self._retry_seconds)
                await self._monitor.wait_until_ready()
            except EngineUnreachableError:
                self._monitor.suspect()
                raise
            else:
                return generated.text.strip() == probe.expected.strip()
        raise AssertionError("unreachable: the last try returns or raises")


def askable_probes(probes: Sequence[Probe], max_model_length: int | None) -> tuple[Probe, ...]:
    """The probes that are asked: so few, so short, and with room for their answers in the engine's length."""
    longest = max_model_length or MOST_PROMPT_TOKENS + MOST_TOKENS
    fitting = (
        probe
        for probe in probes
        if 0 < len(probe.prompt_token_ids) <= MOST_PROMPT_TOKENS
        and probe.max_tokens <= MOST_TOKENS
        and len(probe.prompt_token_ids) + probe.max_tokens <= longest
    )
    return tuple(itertools.islice(fitting, MOST_PROBES))


def _is_scored(record: VersionRecord, *, by: VersionKey) -> bool:
    score = record.score
    return score is not None and score.of == by.manifest_digest and score.complete
