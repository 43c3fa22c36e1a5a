"""The adapters and bases of a measurement."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from tests.control_plane import ADAPTERS, BASES, ApiClient
from tests.control_plane.client import APPLY, Kind
from tests.simulator import World

from graft_registry.digests import sha256_digest
from graft_registry.documents import RecipePointer, StoredVersion
from graft_registry.layout import AdapterLayout

Object = dict[str, Any]
API_VERSION: Final = "graft.dev/v1alpha1"
TENANTS: Final = 10
AT_A_TIME: Final = 16
"""Requests of the measurement itself under way at once."""
PARALLEL: Final = 4
"""`maxParallel` of every base."""
OPERATOR: Final = "graft-operator"
"""The field manager that the operator writes with: a status that another one owned would never lose a field again."""


@dataclass(frozen=True, slots=True)
class Base:
    """One base and how many adapters it is to have."""

    number: int
    size: int

    @property
    def name(self) -> str:
        return f"base-{self.number:03d}"

    @property
    def namespace(self) -> str:
        return f"tenant-{self.number % TENANTS}"

    def adapter(self, number: int) -> str:
        """Return the name of one of its adapters; all names are equally long, so none is a part of another."""
        return f"a-{self.number:03d}-{number:05d}"


@dataclass(frozen=True, slots=True)
class Fleet:
    """``adapters`` over ``bases``: the first base has 200 of them and the second 50, as far as there are so many."""

    bases: tuple[Base, ...]

    @classmethod
    def of(cls, adapters: int, bases: int) -> Fleet:
        """Share the adapters out. Raises ValueError where a base would get none."""
        first, second = min(200, adapters // 4), min(50, adapters // 10)
        rest, others = adapters - first - second, bases - 2
        if others < 1 or rest < others or second < 1:
            raise ValueError("there must be three bases or more, and an adapter for each")
        sizes = [first, second, *(rest // others + (number < rest % others) for number in range(others))]
        return cls(tuple(Base(number, size) for number, size in enumerate(sizes)))

    @property
    def size(self) -> int:
        return sum(base.size for base in self.bases)

    def names(self) -> Iterator[tuple[Base, int]]:
        """Yield every adapter as base and number, base after base by turns: what is applied last is spread over all."""
        for number in range(max(base.size for base in self.bases)):
            for base in self.bases:
                if number < base.size:
                    yield base, number


def base_manifest(name: str, *, source: str = "v1", places: int, replicas: int = 1) -> Object:
    """Return a BaseModel."""
    return {
        "apiVersion": API_VERSION,
        "kind": "BaseModel",
        "metadata": {"name": name},
        "spec": {
            "source": {"s3": {"uri": f"s3://models/{name}/{source}"}},
            "serving": {"replicas": replicas, "maxLoadedAdapters": places},
            "readaptation": {"maxParallel": PARALLEL},
        },
    }


def adapter_manifest(name: str, base: str) -> Object:
    """Return a LoraAdapter. All of one base learn from the same rows: one status fits all, but for its digests."""
    return {
        "apiVersion": API_VERSION,
        "kind": "LoraAdapter",
        "metadata": {"name": name},
        "spec": {
            "baseModelRef": {"name": base},
            "dataset": {"s3": {"uri": f"s3://data/{base}/train.jsonl"}},
            "lora": {"rank": 16},
            "training": {"epochs": 3},
        },
    }


async def at_a_time(work: Iterable[Awaitable[Any]]) -> None:
    """Await everything, a few at a time and without holding all of it in memory."""
    waiting = iter(work)

    async def take() -> None:
        for item in waiting:
            await item

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_A_TIME):
            tasks.create_task(take())


class Copies:
    """Writes copies of adapters that the operator has settled, while no operator runs."""

    def __init__(self, world: World) -> None:
        self._client = world.client
        self._publisher = world.simulator.publisher
        self._bucket = world.folder / world.registry.bucket

    async def make(self, base: Base, numbers: Iterable[int]) -> None:
        """Write adapters of a base as its first one is: object, status, version."""
        name = base.adapter(0)
        model = await self._client.get(ADAPTERS, base.namespace, name)
        stored = await asyncio.to_thread(self._publisher.stored, base.namespace, name)
        if model is None or not stored:
            raise RuntimeError(f"{base.namespace}/{name} is not settled")
        await at_a_time(self._copy(base, model, stored[max(stored)], base.adapter(number)) for number in numbers)

    async def _copy(self, base: Base, model: Object, version: StoredVersion, name: str) -> None:
        body = adapter_manifest(name, base.name)
        body["metadata"]["finalizers"] = model["metadata"].get("finalizers", [])
        live = await self._client.create(ADAPTERS, base.namespace, body)
        manifest = version.manifest.model_copy(update={"adapter": name, "uid": live["metadata"]["uid"]})
        data = manifest.to_bytes()
        digest = sha256_digest(data)
        self._store(AdapterLayout(base.namespace, name), version.manifest.recipe, manifest.number, data, digest)
        text = json.dumps(model["status"]).replace(version.digest, digest).replace(model["metadata"]["name"], name)
        await apply_status(self._client, ADAPTERS, base.namespace, live, json.loads(text))

    def _store(self, layout: AdapterLayout, recipe: str, number: int, manifest: bytes, digest: str) -> None:
        # As files of the server's folder: 10,000 uploads would take longer than all that is measured.
        pointer = RecipePointer(recipe=recipe, number=number, manifest_digest=digest).to_bytes()
        for key, data in ((layout.manifest(number), manifest), (layout.pointer(recipe), pointer)):
            path = self._bucket / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


async def apply_status(client: ApiClient, kind: Kind, namespace: str, live: Object, status: Object) -> None:
    """Write a status as the operator does."""
    name = live["metadata"]["name"]
    body = {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {"name": name, "uid": live["metadata"]["uid"]},
        "status": status,
    }
    await client.request(
        "PATCH",
        kind.path(namespace, name, "status"),
        query={"fieldManager": OPERATOR, "force": "true"},
        body=body,
        content_type=APPLY,
    )


async def create_bases(client: ApiClient, fleet: Fleet, places: int) -> None:
    """Create the tenants' namespaces and the bases, each with its first adapter."""
    for tenant in sorted({base.namespace for base in fleet.bases}):
        await client.ensure_namespace(tenant)
    for base in fleet.bases:
        await client.create(BASES, base.namespace, base_manifest(base.name, places=places))
        await client.create(ADAPTERS, base.namespace, adapter_manifest(base.adapter(0), base.name))
