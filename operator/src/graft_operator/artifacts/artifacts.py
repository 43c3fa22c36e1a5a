"""What is known of bases and versions, without ever waiting for the registry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from typing import Any, Final, Self

from graft_operator.artifacts import questions
from graft_operator.artifacts.answers import AnswerCache, unknown
from graft_operator.artifacts.audit import Audit, Served
from graft_operator.artifacts.lookups import Lookups, RegistryUnavailable, Stopped, ThreadedLookups
from graft_operator.plan.known import Known, Unknown
from graft_registry.config import RegistryConfig
from graft_registry.documents import (
    BaseDrift,
    BaseManifest,
    BaseSource,
    Progress,
    StoredVersion,
    StoreReport,
    VersionVerdict,
)
from graft_registry.errors import Corrupt, NotFound, Unavailable
from graft_registry.s3.store import ObjectStore, Patience
from graft_registry.verdicts import VerdictRegistry
from graft_registry.versions import AdapterRegistry

AUDIT_SECONDS: Final = 2.0
"""Between two looks at what is served: half a request a second, and each of 10,000 versions three times a day."""
WRITE_SECONDS: Final = 20.0
DELETE_SECONDS: Final = 20.0
"""For one try, within one pass. The next goes on where it ended."""
_PATIENCE: Final = Patience(connect_seconds=5, read_seconds=10, attempts=2)
"""A request is over soon after the lookup that it belongs to was given up; lookups are tried again by themselves."""


class Artifacts:
    """What the registry holds, as far as it is known. For one event loop; all getters return at once and never raise.

    ``Known(None)`` is a thing that was looked for and is not there; ``Unknown`` says why nothing can be concluded. What
    is unknown, or was looked up too long ago, is looked up by itself, and ``on_news`` is called when an answer changes.
    What was found stays known while the store is away.

    Versions come without golden prompts, probes, files, libraries and hyperparameters, and bases without files.
    """

    def __init__(
        self, store: ObjectStore, *, lookups: Lookups | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.on_news: Callable[[str, str, str], None] = lambda kind, namespace, name: None
        """Called with kind (LoraAdapter, BaseModel), namespace and name of an object whose answers have changed."""
        self._writing: Callable[[], AbstractContextManager[None]] = nullcontext
        self._may_write: Callable[[], bool] = lambda: True
        self._store = store
        self._lookups = lookups or ThreadedLookups()
        self._answers = AnswerCache(store, self._lookups, clock, lambda *owner: self.on_news(*owner))
        self._audit = Audit()

    @classmethod
    @asynccontextmanager
    async def connect(cls, config: RegistryConfig) -> AsyncIterator[Self]:
        """Open the registry, and look after what is served until the end of the context; then give up whatever runs."""
        artifacts = cls(ObjectStore(config, patience=_PATIENCE))
        auditing = asyncio.create_task(artifacts._audit_forever(), name="audit of the registry")
        try:
            yield artifacts
        finally:
            auditing.cancel()
            with suppress(asyncio.CancelledError):
                await auditing
            artifacts.close()

    def fence_by(self, writing: Callable[[], AbstractContextManager[None]], may_write: Callable[[], bool]) -> None:
        """Begin writes inside of `writing` only, and send each further request of one only while `may_write`."""
        self._writing, self._may_write = writing, may_write

    def close(self) -> None:
        """Give up whatever runs."""
        self._lookups.close()

    # Versions

    def version(
        self, namespace: str, adapter: str, number: int, digest: str | None = None
    ) -> Known[StoredVersion] | Unknown:
        """Return a version by its number. One with another digest than the one asked for is not there."""
        known = self._answers.ask(questions.version(namespace, adapter, number, digest))
        return self._shared(known) if digest is None else known

    def of_recipe(self, namespace: str, adapter: str, recipe: str) -> Known[StoredVersion] | Unknown:
        """Return the version that was trained from a recipe. That there is none holds until ``forget_recipe``."""
        there = self._answers.ask(questions.anything(namespace, adapter))
        if isinstance(there, Unknown) or there.value is None:
            return there if isinstance(there, Unknown) else Known(None)
        return self._shared(self._answers.ask(questions.of_recipe(namespace, adapter, recipe)))

    def history(self, namespace: str, adapter: str) -> Known[tuple[StoredVersion, ...]] | Unknown:
        """Return the newest versions, at most ten, the newest first. Damaged ones are left out."""
        question = questions.history(namespace, adapter)
        there = self._answers.ask(questions.anything(namespace, adapter))
        if isinstance(there, Unknown):
            return there
        if there.value is None:
            self._answers.prime(question, Known(()))  # what a Job of ours will publish is known by its recipe
        return self._answers.ask(question)

    def verdicts(self, namespace: str, adapter: str) -> Known[Mapping[int, VersionVerdict]] | Unknown:
        """Return what was decided about versions last, by number. Each is about the manifest digest that it names."""
        return self._answers.ask(questions.verdicts(namespace, adapter))

    def progress(self, namespace: str, adapter: str, recipe: str) -> Progress | None:
        """Return the newest that is known of a run, None for nothing. It is followed for a minute after each call."""
        known = self._answers.ask(questions.progress(namespace, adapter, recipe))
        return known.value if isinstance(known, Known) else None

    def forget_recipe(self, namespace: str, adapter: str, recipe: str) -> None:
        """Look again for what a Job of this recipe may have published: it has ended."""
        owner = ("LoraAdapter", namespace, adapter)
        self._answers.forget(owner, "recipe", "progress", only=lambda question, _: question.detail == (recipe,))
        self._answers.forget(owner, "anything")
        self._answers.prime(questions.anything(namespace, adapter), Known(value=True))
        self._answers.forget(owner, "history", only=lambda _, value: value != Known(()))
        self._answers.forget(owner, "version", only=lambda _, value: value == Known(None))

    def forget_adapter(self, namespace: str, name: str) -> None:
        """Drop all that is known of an adapter."""
        self._answers.forget(("LoraAdapter", namespace, name))
        self._audit.forget(namespace, name)

    # Bases

    def resolved_base(self, namespace: str, name: str, source: BaseSource) -> Known[BaseManifest] | Unknown:
        """Return the base that a source was resolved to. One whose manifest is gone is not there: import it again."""
        known = self._answers.ask(questions.resolved_base(namespace, name, source))
        if isinstance(known, Known) and known.value is not None:
            self._answers.prime(questions.base(namespace, name, known.value.digest), known)
        return known

    def base(self, namespace: str, name: str, digest: str) -> Known[BaseManifest] | Unknown:
        """Return a base by its base digest."""
        return self._answers.ask(questions.base(namespace, name, digest))

    def base_drift(self, namespace: str, name: str, digest: str, previous: str) -> Known[BaseDrift] | Unknown:
        """Return how far a base is from the one before. Not there: it was not measured."""
        return self._answers.ask(questions.base_drift(namespace, name, digest, previous))

    def forget_source(self, namespace: str, name: str) -> None:
        """Look again for what an import may have brought: its Job has ended."""
        self._answers.forget(("BaseModel", namespace, name), "resolved_base", "base", "base_drift")

    def forget_base(self, namespace: str, name: str) -> None:
        """Drop all that is known of a base."""
        self._answers.forget(("BaseModel", namespace, name))

    def store_report(self) -> Known[StoreReport] | Unknown:
        """Return what the store and the operator's key can do; that it could not be tried is ``Known(None)``.

        Some 25 requests below ``.probe/``, once in the life of the process: a bucket does not learn it while in use.
        """
        return self._answers.ask(questions.store_report())

    # Writes

    async def record_verdict(self, namespace: str, adapter: str, verdict: VersionVerdict) -> None:
        """Store what was decided about a version, in place of what was decided before.

        Raises:
            RegistryUnavailable: the store is away; nothing is known of the outcome.
            RegistryError: it refuses.
        """

        def record(stopped: Stopped) -> None:
            VerdictRegistry(self._store.until(stopped), namespace, adapter).record(verdict)

        await self._write(namespace, "record_verdict", record, WRITE_SECONDS)
        question = questions.verdicts(namespace, adapter)
        known = self._answers.peek(question)
        # What is being looked up may be from before this write.
        self._answers.forget(question.owner, question.about)
        if isinstance(known, Known):
            self._answers.prime(question, Known({**(known.value or {}), verdict.number: verdict}))

    async def delete_adapter(self, namespace: str, adapter: str) -> None:
        """Delete everything of an adapter: versions, files, runs. Whoever is cancelled meanwhile ends it.

        Raises:
            RegistryUnavailable: the store is away, or the time was not enough; call it again.
            RegistryError: it refuses.
        """

        def delete(stopped: Stopped) -> None:
            AdapterRegistry(self._store.until(stopped), namespace, adapter).delete_all()

        await self._write(namespace, "delete_adapter", delete, DELETE_SECONDS)
        self.forget_adapter(namespace, adapter)

    async def _write(self, namespace: str, operation: str, work: Callable[[Stopped], None], seconds: float) -> None:
        def fenced(stopped: Stopped) -> None:
            with self._writing():
                work(lambda: stopped() or not self._may_write())

        try:
            await self._lookups.run(namespace, operation, fenced, seconds)
        except Unavailable as error:
            raise RegistryUnavailable(f"registry: {error}") from error

    # The audit

    def audit(self, namespace: str, adapter: str, number: int, digest: str) -> None:
        """Look after a version that is served, from now on: that it has vanished, or is damaged, becomes known."""
        self._audit.register(namespace, adapter, number, digest)

    def is_lost(self, namespace: str, adapter: str, number: int, digest: str) -> bool:
        """Whether a served version is known to have vanished, or to be damaged. Looks nothing up."""
        known = self._answers.peek(questions.version(namespace, adapter, number, digest))
        return known == Known(None) or (isinstance(known, Unknown) and not known.is_transient)

    def audit_next(self) -> None:
        """Look up the served version whose turn it is."""
        served = self._audit.next()
        if served is None:
            return

        def work(stopped: Stopped) -> object:
            return inspected(self._store.until(stopped), served)

        self._lookups.submit(served.namespace, "audit", work, lambda outcome: self._audited(served, outcome))

    def _audited(self, served: Served, outcome: object) -> None:
        question = questions.version(served.namespace, served.adapter, served.number, served.digest)
        before = self._answers.peek(question)
        if outcome is True:
            if before == Known(None) or (isinstance(before, Unknown) and before.reason == "RegistryCorrupt"):
                self._answers.forget(question.owner, "version", "recipe", "history")
                self.on_news(*question.owner)
            return
        if isinstance(outcome, Exception) and not isinstance(outcome, Corrupt):
            return  # the store is away, which says nothing of the version
        self._answers.forget(
            question.owner, only=lambda other, value: other != question and names(value, served.digest)
        )
        self._answers.put(question, unknown(outcome) if isinstance(outcome, Corrupt) else Known(None))

    async def _audit_forever(self) -> None:
        while True:
            await asyncio.sleep(AUDIT_SECONDS)
            self.audit_next()

    def _shared(self, known: Known[StoredVersion] | Unknown) -> Known[StoredVersion] | Unknown:
        """Let a version that was found in another way also be known by its number and digest."""
        if isinstance(known, Known) and (stored := known.value) is not None:
            manifest = stored.manifest
            self._answers.prime(
                questions.version(manifest.namespace, manifest.adapter, manifest.number, stored.digest), known
            )
        return known


def inspected(store: ObjectStore, served: Served) -> object:
    """Return True where a served version is as it was, None where it is gone. Raises Corrupt where it is damaged."""
    registry = AdapterRegistry(store, served.namespace, served.adapter)
    with suppress(NotFound):
        if registry.digest(served.number) == served.digest:
            return True
        registry.read(served.number)  # another version has its number, or nothing that is one
    return None


def names(value: Known[Any] | Unknown, digest: str) -> bool:
    """Whether an answer holds the version of this manifest digest."""
    found = value.value if isinstance(value, Known) else None
    versions = found if isinstance(found, tuple) else (found,)
    return any(isinstance(item, StoredVersion) and item.digest == digest for item in versions)
