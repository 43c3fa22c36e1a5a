"""All series about objects, as one text that is made anew at each scrape."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from graft_operator.telemetry.objects import families as of
from graft_operator.telemetry.objects.families import FAMILIES, Family
from graft_operator.telemetry.objects.gpu_time import GpuTime, Holder
from graft_operator.telemetry.objects.samples import Sample, adapter_samples, base_samples, labels_of
from graft_operator.telemetry.objects.views import AdapterView, BaseView, PodView, View, view

SLICE_SECONDS: Final = 0.01
"""For which the event loop may be held: lease and watches go on beside a page of ten thousand adapters."""
TRAINING, SERVING, MERGED = "training", "serving", "merged"
"""Components of pods, as their labels say them."""

Objects = Callable[[], Iterable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the operator knows of the cluster: each function gives all objects of one kind."""

    adapters: Objects
    bases: Objects
    pods: Objects


@dataclass(slots=True)
class _Page:
    """One page while it is made, as bytes at once: as so many texts it would take five times the memory."""

    families: dict[Family, bytearray] = field(default_factory=dict)
    unreadable: dict[str, int] = field(default_factory=dict)

    def add(self, samples: Iterable[Sample]) -> None:
        for family, labels, value in samples:
            if (lines := self.families.get(family)) is None:
                lines = self.families[family] = bytearray(family.header.encode())
            lines += family.line(labels, value).encode()

    def parts(self) -> list[bytearray]:
        return [self.families[family] for family in FAMILIES if family in self.families]


class ObjectMetrics:
    """Makes the page. Of two scrapes at a time the second one waits: each would cost as much again."""

    def __init__(
        self, known: Known, *, clock: Callable[[], datetime], gpu_second_price: float = 0.0, per_adapter: bool = True
    ) -> None:
        """Without ``per_adapter`` bases are told alone, for clusters with more adapters than Prometheus has room."""
        self._known = known
        self._clock = clock
        self._price = gpu_second_price
        self._per_adapter = per_adapter
        self._gpu_time = GpuTime(clock())
        self._one_at_a_time = asyncio.Lock()

    async def exposed(self) -> list[bytearray]:
        """Return all series in Prometheus' text format, in parts, made without holding the event loop for long."""
        async with self._one_at_a_time:
            page, base_of = _Page(), dict[tuple[str, str], str]()
            async for adapter in self._read(page, "LoraAdapter", self._known.adapters, AdapterView):
                namespace, base, name = labels_of(adapter)
                base_of[namespace, name] = base
                if self._per_adapter:
                    page.add(adapter_samples(adapter))
            bases = set[tuple[str, str]]()
            async for model in self._read(page, "BaseModel", self._known.bases, BaseView):
                bases.add((model.metadata.namespace, model.metadata.name))
                page.add(base_samples(model))
            pods = [pod async for pod in self._read(page, "Pod", self._known.pods, PodView)]
            if not bases and not base_of:
                # Who waits for the lease knows nothing: what is held meanwhile is told by whoever has it.
                self._gpu_time = GpuTime(self._clock())
            page.add(self._gpu_samples(pods, base_of, bases))
            page.add([(of.GPU_PRICE, (), self._price)])
            page.add([(of.UNREADABLE, (kind,), count) for kind, count in page.unreadable.items()])
            return page.parts()

    async def _read(self, page: _Page, kind: str, objects: Objects, into: type[View]) -> AsyncIterator[View]:
        """Read the objects of a kind one by one, and let others go on meanwhile."""
        page.unreadable[kind] = 0
        began = time.perf_counter()
        for body in objects():
            if (found := view(body, into)) is None:
                page.unreadable[kind] += 1
            else:
                yield found
            if time.perf_counter() - began >= SLICE_SECONDS:
                await asyncio.sleep(0)
                began = time.perf_counter()

    def _gpu_samples(
        self, pods: Iterable[PodView], base_of: dict[tuple[str, str], str], bases: set[tuple[str, str]]
    ) -> Iterable[Sample]:
        """Return who holds GPUs, and for how long, of the objects that are there."""
        meter = self._gpu_time
        meter.look(pods, self._clock())
        labels = {
            Holder(component, namespace, name): (namespace, base, name)
            for (namespace, name), base in base_of.items()
            for component in ((TRAINING, MERGED) if self._per_adapter else ())
        }
        labels |= {Holder(SERVING, namespace, name): (namespace, name, "") for namespace, name in bases}
        meter.keep(labels)
        for holder, seconds in meter.seconds.items():
            trains = holder.component == TRAINING
            told = labels[holder]
            yield of.TRAINING_GPUS if trains else of.SERVING_GPUS, told, meter.gpus.get(holder, 0.0)
            yield of.TRAINING_GPU_SECONDS if trains else of.SERVING_GPU_SECONDS, told, seconds
