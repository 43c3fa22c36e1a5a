"""The way of one version from the registry to proven. Every step may be killed and done again."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from graft_registry.digests import sha256_digest
from graft_registry.documents import GoldenPrompt, VersionManifest
from graft_serving.adapters.asking import ProofPrompts, all_ended
from graft_serving.adapters.base_answers import BaseAnswers, SharedExclusiveLock
from graft_serving.adapters.cache import CachedVersion, VersionsOnDisk
from graft_serving.adapters.proof import askable, fewest_to_ask, proof_failure
from graft_serving.adapters.records import VersionRecord
from graft_serving.engine.client import Generation
from graft_serving.engine.monitor import EngineMonitor
from graft_serving.errors import (
    EngineRejectedError,
    EngineUnreachableError,
    RefusedError,
    RetryableError,
    shortened,
)
from graft_serving.versions import VersionKey, VersionState

logger = logging.getLogger(__name__)

PROOFS_AT_ONCE = 4
PROMPT_WITHOUT_GOLDEN = (1,)
"""A version without golden prompts must at least generate a token; any token id serves as its prompt."""
MOST_BROKEN_PROOFS = 3
"""After so many proofs in a row that ended with an error of an engine whose base answers, the version is the cause."""

SALT = b"graft sessions "

Check = Callable[[Path, VersionManifest], None]
"""Raises RefusedError for a version that must not be loaded here."""


class LoadObserver(Protocol):
    """Told about what the agent does to the engine."""

    def loaded(self, key: VersionKey, seconds: float) -> None:
        """A version was loaded in so many seconds, the proof not counted."""

    def refused(self, key: VersionKey, reason: str) -> None:
        """A version was refused, for this reason."""


class BringUpSequence:
    """Fetch, check, load, prove, and see that the base still answers as before.

    Loads and proofs at the same time are bounded, so that a hundred new adapters don't starve the requests that the
    engine serves.
    """

    def __init__(
        self,
        *,
        cache: VersionsOnDisk,
        check: Check,
        prompts: ProofPrompts,
        monitor: EngineMonitor,
        base_answers: BaseAnswers | None,
        observer: LoadObserver,
        loads_at_once: int,
    ) -> None:
        """Compose the sequence of its parts; the engine is asked for up to `loads_at_once` loads at the same time.

        Without `base_answers` the base is not asked: the pod doesn't serve it.
        """
        self._cache = cache
        self._check = check
        self._prompts = prompts
        self._monitor = monitor
        self._base_answers = base_answers
        self._observer = observer
        self._turns = SharedExclusiveLock()
        self._loads = asyncio.Semaphore(loads_at_once)
        self._proofs = asyncio.Semaphore(PROOFS_AT_ONCE)

    async def run(self, record: VersionRecord) -> None:
        """Bring the version up and leave its record Proven, Refused or Failing, never anything else."""
        record.refused_by_start = None
        try:
            cached = await self._fetch(record)
            record.state = VersionState.LOADING
            await self._monitor.wait_until_ready()
            told = await self._bring_into_engine(record, cached)
        except RefusedError as error:
            if error.by_engine:
                record.refused_by_start = self._monitor.starts
            _settle(record, VersionState.REFUSED, error.reason, str(error))
            self._observer.refused(record.key, error.reason)
        except RetryableError as error:
            _settle(record, VersionState.FAILING, error.reason, str(error))
        except EngineUnreachableError as error:
            self._monitor.suspect()
            _settle(record, VersionState.FAILING, "EngineUnreachable", str(error))
        except Exception as error:
            logger.exception("bringing up failed unexpectedly version=%s", record.key.label)
            _settle(record, VersionState.FAILING, "Unexpected", shortened(f"{type(error).__name__}: {error}"))
        else:
            record.broken_proofs = 0
            _settle(record, VersionState.PROVEN, "", told)

    async def _fetch(self, record: VersionRecord) -> CachedVersion:
        record.state = VersionState.FETCHING
        cached = await self._cache.ensure(record.key)
        await asyncio.to_thread(self._check, cached.path, cached.manifest)
        # Of the manifest's content, which nothing tells to clients; they know its digest.
        record.salt = sha256_digest(SALT + cached.manifest.to_bytes())
        return cached

    async def _bring_into_engine(self, record: VersionRecord, cached: CachedVersion) -> str:
        """Load and prove the version, and ask the base; what is to be told of the proof, if anything."""
        if (base := self._base_answers) is None:
            await self._load(record, cached)
            return await self._prove(record, cached)
        golden = askable(cached.manifest.golden, self._monitor.max_model_length)
        async with self._turns.shared():
            await base.record_if_due()
            await self._load(record, cached)
            told = await self._prove(record, cached)
            async with self._proofs:
                suspected = await base.failure(golden)
        if suspected is not None:
            logger.warning("version=%s is loaded once more, alone: %s", record.key.label, suspected)
            await self._load_alone(record, cached, base, golden)
        return told

    async def _load_alone(
        self, record: VersionRecord, cached: CachedVersion, base: BaseAnswers, golden: Sequence[GoldenPrompt]
    ) -> None:
        """Find out whether it is this version that changes the base's answers, and not one that came meanwhile."""

        async def load() -> None:
            await self._load(record, cached)
            # What an engine does with an adapter may show only once that has answered.
            await self._proof_failure(record, ())

        async with self._turns.exclusive():
            starts = self._monitor.starts
            changed = await base.change_by(
                golden, load=load, unload=partial(self._monitor.unload, record.key.engine_name)
            )
            if changed is not None and (self._monitor.starts != starts or not self._monitor.is_ready):
                raise RetryableError("EngineBroken", f"the engine came and went meanwhile: {changed}")
        if changed is not None:
            raise RefusedError("BaseAnswersChanged", changed, by_engine=True)

    async def _load(self, record: VersionRecord, cached: CachedVersion) -> None:
        name, path = record.key.engine_name, str(cached.path)
        async with self._loads:
            if self._monitor.loaded.get(name) == path:
                return
            started = time.perf_counter()
            try:
                await self._monitor.load(name, path)
            except EngineRejectedError as error:
                if error.status == 404:
                    raise RetryableError(
                        "PathNotVisible", f"{error}; mount the adapters' volume into the engine at the agent's path"
                    ) from error
                await self._blame_engine_if_broken(error)
                raise RefusedError("EngineRefused", str(error), by_engine=True) from error
            record.load_seconds = time.perf_counter() - started
            self._observer.loaded(record.key, record.load_seconds)

    async def _blame_engine_if_broken(self, error: EngineRejectedError) -> None:
        """Tell an adapter that the engine won't have from an engine that is breaking down."""
        try:
            await self._monitor.confirm()
        except (EngineRejectedError, EngineUnreachableError) as broken:
            self._monitor.suspect()
            raise RetryableError("EngineBroken", f"{error}; then its base failed too: {broken}") from error

    async def _prove(self, record: VersionRecord, cached: CachedVersion) -> str:
        """Have the version proven; what is to be told of the proof, if anything.

        One proof that fails may be the engine's fault as well. A second one, after another load, decides.
        """
        name, golden = record.key.engine_name, cached.manifest.golden
        prompts = askable(golden, self._monitor.max_model_length)
        async with self._proofs:
            record.state = VersionState.PROVING
            starts = self._monitor.starts
            failure = await self._proof_failure(record, prompts)
            if failure is not None:
                logger.warning("version=%s is proven once more: %s", record.key.label, failure)
                await self._monitor.unload(name)
                await self._load(record, cached)
                failure = await self._proof_failure(record, prompts)
            if failure is not None:
                await self._monitor.unload(name)
                if self._monitor.starts != starts or not self._monitor.is_ready:
                    raise RetryableError("EngineBroken", f"the engine came and went during the proof: {failure}")
                raise RefusedError("ProofFailed", failure)
        if golden and not prompts:
            return f"loaded without a proof: none of its {len(golden)} golden prompts fits this engine's length"
        return ""

    async def _proof_failure(self, record: VersionRecord, prompts: tuple[GoldenPrompt, ...]) -> str | None:
        name = record.key.engine_name
        try:
            if not prompts:
                await self._prompts.generate(name, PROMPT_WITHOUT_GOLDEN, 1)
                return None
            few = fewest_to_ask(prompts)
            answers = await self._answers(name, prompts[:few])
            # What is not asked is spared the pod's clients.
            if proof_failure(prompts, answers) is not None:
                answers += await self._answers(name, prompts[few:])
            return proof_failure(prompts, answers)
        except EngineRejectedError as error:
            await self._blame_engine_if_broken(error)
            record.broken_proofs += 1
            if error.is_final or record.broken_proofs >= MOST_BROKEN_PROOFS:
                record.broken_proofs = 0
                raise RefusedError("ProofFailed", str(error), by_engine=True) from error
            raise RetryableError("ProofBroken", f"{error}; its base answers, so the proof is tried again") from error

    async def _answers(self, name: str, prompts: Sequence[GoldenPrompt]) -> list[Generation]:
        return await all_ended(
            self._prompts.generate(name, golden.prompt_token_ids, max(1, len(golden.answer_token_ids)))
            for golden in prompts
        )


def _settle(record: VersionRecord, state: VersionState, reason: str, message: str) -> None:
    record.state, record.reason, record.message = state, reason, message
    log = logger.info if state is VersionState.PROVEN else logger.warning
    log("version=%s state=%s reason=%s %s", record.key.label, state, reason, message)
