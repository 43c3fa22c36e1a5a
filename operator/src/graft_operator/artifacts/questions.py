"""How each question is put to the registry, and for how long its answer holds. Everything here that asks blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, Literal, TypeVar

from graft_registry.bases import BaseRegistry
from graft_registry.documents import (
    BaseDrift,
    BaseManifest,
    BaseSource,
    Progress,
    StoredVersion,
    StoreReport,
    VersionVerdict,
)
from graft_registry.errors import Forbidden, NotFound
from graft_registry.layout import AdapterLayout
from graft_registry.s3.store import ObjectStore
from graft_registry.verdicts import VerdictRegistry
from graft_registry.versions import AdapterRegistry

HISTORY: Final = 10
"""As many versions as an adapter's status keeps."""

T = TypeVar("T")
Kind = Literal["LoraAdapter", "BaseModel"]


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """Something that the registry may be asked of one object. ``ask`` returns None where there is no such thing."""

    kind: Kind
    namespace: str
    name: str
    about: str
    detail: tuple[str | int | None, ...]
    ask: Callable[[ObjectStore], T | None] = field(compare=False, repr=False)
    holds: float = field(default=math.inf, compare=False)
    """Seconds after which what was there is looked up again, if it is asked for."""
    absent_holds: float = field(default=60.0, compare=False)
    """The same of what was not there."""

    @property
    def owner(self) -> tuple[Kind, str, str]:
        """The object that it is about: kind, namespace and name."""
        return self.kind, self.namespace, self.name


def version(namespace: str, adapter: str, number: int, digest: str | None) -> Question[StoredVersion]:
    """Ask for a version. One of another digest isn't it: its number was given out anew after the bucket was lost."""

    def ask(store: ObjectStore) -> StoredVersion | None:
        try:
            stored = AdapterRegistry(store, namespace, adapter).read(number)
        except NotFound:
            return None
        return slim(stored) if digest in (None, stored.digest) else None

    return Question("LoraAdapter", namespace, adapter, "version", (number, digest), ask)


def of_recipe(namespace: str, adapter: str, recipe: str) -> Question[StoredVersion]:
    """Ask for the version that was trained from a recipe. Only a training of ours makes one: see ``forget_recipe``."""

    def ask(store: ObjectStore) -> StoredVersion | None:
        stored = AdapterRegistry(store, namespace, adapter).find(recipe)
        return slim(stored) if stored else None

    return Question("LoraAdapter", namespace, adapter, "recipe", (recipe,), ask, absent_holds=600.0)


def anything(namespace: str, adapter: str) -> Question[bool]:
    """Ask whether anything at all is stored of an adapter: one request instead of one for each other question."""

    def ask(store: ObjectStore) -> bool | None:
        is_there = any(True for _ in store.list(AdapterLayout(namespace, adapter).root))
        return True if is_there else None

    return Question("LoraAdapter", namespace, adapter, "anything", (), ask, absent_holds=600.0)


def history(namespace: str, adapter: str) -> Question[tuple[StoredVersion, ...]]:
    """Ask for the newest versions, the newest first, without those that are damaged."""

    def ask(store: ObjectStore) -> tuple[StoredVersion, ...]:
        return tuple(map(slim, AdapterRegistry(store, namespace, adapter).newest(HISTORY)))

    return Question("LoraAdapter", namespace, adapter, "history", (), ask, holds=60.0)


def verdicts(namespace: str, adapter: str) -> Question[Mapping[int, VersionVerdict]]:
    """Ask what was decided about versions last."""

    def ask(store: ObjectStore) -> Mapping[int, VersionVerdict]:
        return VerdictRegistry(store, namespace, adapter).read_all()

    return Question("LoraAdapter", namespace, adapter, "verdicts", (), ask, holds=600.0)


def progress(namespace: str, adapter: str, recipe: str) -> Question[Progress]:
    """Ask how far the run of a recipe is."""

    def ask(store: ObjectStore) -> Progress | None:
        return AdapterRegistry(store, namespace, adapter).read_progress(recipe)

    return Question("LoraAdapter", namespace, adapter, "progress", (recipe,), ask, absent_holds=3.0)


def resolved_base(namespace: str, name: str, source: BaseSource) -> Question[BaseManifest]:
    """Ask for the base that a source was resolved to. One whose manifest is gone was not: it is imported again."""

    def ask(store: ObjectStore) -> BaseManifest | None:
        manifest = BaseRegistry(store, namespace, name).resolved(source)
        return slim_base(manifest) if manifest else None

    return Question("BaseModel", namespace, name, "resolved_base", (source.digest(),), ask, holds=600.0)


def base(namespace: str, name: str, digest: str) -> Question[BaseManifest]:
    """Ask for a base by its base digest."""

    def ask(store: ObjectStore) -> BaseManifest | None:
        try:
            return slim_base(BaseRegistry(store, namespace, name).read(digest))
        except NotFound:
            return None

    return Question("BaseModel", namespace, name, "base", (digest,), ask, holds=600.0)


def base_drift(namespace: str, name: str, digest: str, previous: str) -> Question[BaseDrift]:
    """Ask how far a base is from the one before: written by the import, so either by now or never."""

    def ask(store: ObjectStore) -> BaseDrift | None:
        return BaseRegistry(store, namespace, name).drift(digest, previous)

    return Question("BaseModel", namespace, name, "base_drift", (digest, previous), ask, absent_holds=600.0)


def store_report() -> Question[StoreReport]:
    """Ask what the store can do. None: this process could not try."""

    def ask(store: ObjectStore) -> StoreReport | None:
        try:
            return store.examine()
        except Forbidden:
            return None

    return Question("BaseModel", "", "", "store_report", (), ask, absent_holds=math.inf)


def slim(stored: StoredVersion) -> StoredVersion:
    """Return a version without what no decision reads, and what makes up nearly all of a manifest's size."""
    left_out: dict[str, object] = {"golden": (), "probes": (), "files": (), "hyperparameters": {}, "libraries": {}}
    return StoredVersion(stored.manifest.model_copy(update=left_out), stored.digest)


def slim_base(manifest: BaseManifest) -> BaseManifest:
    """Return a base without its list of files, which no decision reads."""
    return manifest.model_copy(update={"files": ()})
