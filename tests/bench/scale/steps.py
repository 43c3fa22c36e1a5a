"""The steps of a measurement, in their order."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.scale.fleet import Base, Copies, Fleet, adapter_manifest, at_a_time, create_bases
from tests.bench.scale.measuring import JobTimes, Meter, most_frequent, per_second, until_at_rest
from tests.chaos.s3_proxy import S3Proxy
from tests.control_plane import ADAPTERS, BASES, BINARIES, until
from tests.simulator import OperatorProcess, World, operator_environment

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured, and for how long."""

    adapters: int = 1000
    bases: int = 50
    applied: int = 1000
    """Adapters that are applied while the operator runs; the others are there already."""
    places: int = 256
    """`maxLoadedAdapters` of every base."""
    idle_seconds: float = 60.0
    resync_seconds: int = 30
    neighbours: int = 100
    """Adapters that are applied on healthy bases beside a noisy tenant."""
    noisy: int = 200
    """Adapters of the broken base."""
    patience: float = 900.0


@dataclass(frozen=True, slots=True)
class Bench:
    """A world, the way to S3 that is counted, and what is measured in them."""

    world: World
    proxy: S3Proxy
    s3_url: str
    fleet: Fleet
    options: Options
    log: Path

    @asynccontextmanager
    async def operator(self, **settings: str) -> AsyncIterator[tuple[OperatorProcess, Meter]]:
        """Run an operator until the block ends; the meter counts from its start."""
        registry = self.world.registry.model_copy(update={"endpoint": self.s3_url})
        environment = operator_environment(self.world.plane.kubeconfig(), registry, **settings)
        async with OperatorProcess.start(environment, self.log) as running:
            meter = Meter(self.world, running, self.proxy)
            await meter.start()
            yield running, meter

    async def prepare(self) -> Figures:
        """Have the bases and one adapter of each settled by the operator, and copy the rest."""
        client, count = self.world.client, self.fleet.size - self.options.applied
        await create_bases(client, self.fleet, self.options.places)
        async with self.operator() as (running, _):
            await rested(running, passes=2 * len(self.fleet.bases), patience=self.options.patience)
        began = time.monotonic()
        copies = Copies(self.world)
        there = list(self.fleet.names())[: max(count, len(self.fleet.bases))]
        for base in self.fleet.bases:
            await copies.make(base, [number for owner, number in there if owner == base and number > 0])
        copied = time.monotonic() - began
        async with self.operator() as (running, meter):
            # The wanted sets have to take the copies up: once, and not what is measured.
            seconds = await rested(running, passes=len(there), patience=self.options.patience)
            used = await meter.read()
        return {"there": len(there), "copied_s": copied, "first_rest_s": seconds, "api": used.api_total}

    async def apply(self) -> Figures:
        """Apply the rest while the operator runs."""
        rest = list(self.fleet.names())[max(self.fleet.size - self.options.applied, len(self.fleet.bases)) :]
        async with self.operator() as (running, meter):
            await rested(running, passes=self.fleet.size - len(rest), patience=self.options.patience)
            await meter.start()
            figures = await self.apply_with_kubectl(rest)
            during = await meter.read()
            figures["operator_cores"] = during.cpu_seconds / during.seconds
            figures["server_cores"] = during.server_cpu_seconds / during.seconds
            figures["request_ms"] = during.request_ms
            figures["rest_after_s"] = await until_at_rest(running, patience=self.options.patience)
            used = await meter.read()
        return figures | {
            "api_per_adapter": used.api_total / max(len(rest), 1),
            "s3_per_adapter": used.s3 / max(len(rest), 1),
            "peak_rss_mib": used.peak_rss_mib,
            "cpu_seconds": used.cpu_seconds,
            "api": most_frequent(used.api),
        }

    async def apply_with_kubectl(self, adapters: Sequence[tuple[Base, int]]) -> Figures:
        """Apply adapters as people do, by one ``kubectl apply -f`` of a folder, and return how long they wait for Jobs.

        Each begins to wait when kubectl says that it was created.
        """
        times, began = JobTimes(self.world), time.monotonic()
        namespaces = {base.adapter(number): base.namespace for base, number in adapters}
        with tempfile.TemporaryDirectory(prefix="graft-adapters-") as folder:
            for position, (base, number) in enumerate(adapters):
                name = base.adapter(number)
                manifest = adapter_manifest(name, base.name)
                manifest["metadata"]["namespace"] = base.namespace
                (Path(folder) / f"{position:05d}.json").write_text(json.dumps(manifest))
            kubectl = await asyncio.create_subprocess_exec(
                BINARIES / "kubectl",
                f"--kubeconfig={self.world.plane.kubeconfig('kubectl')}",
                "apply",
                f"--filename={folder}",
                stdout=asyncio.subprocess.PIPE,
            )
            if kubectl.stdout is None:
                raise RuntimeError("kubectl says nothing")
            async for line in kubectl.stdout:
                name = line.decode().partition("/")[2].partition(" ")[0]
                times.applied(namespaces[name], name)
            if await kubectl.wait() != 0:
                raise RuntimeError(f"kubectl apply ended with {kubectl.returncode}")
        applied = time.monotonic() - began
        await times.all_seen(self.options.patience)
        return times.summary() | {"applied_per_s": len(adapters) / applied}

    async def apply_and_time(self, adapters: Sequence[tuple[Base, int]], rate: float) -> Figures:
        """Apply adapters at an even pace, and return how long they wait for their Jobs."""
        times, client, began = JobTimes(self.world), self.world.client, time.monotonic()

        async def apply(position: int, base: Base, number: int) -> None:
            await asyncio.sleep(max(0.0, began + position / rate - time.monotonic()))
            name = base.adapter(number)
            times.applied(base.namespace, name)
            await client.create(ADAPTERS, base.namespace, adapter_manifest(name, base.name))

        await at_a_time(apply(position, *adapter) for position, adapter in enumerate(adapters))
        await times.all_seen(self.options.patience)
        return times.summary()

    async def restart(self) -> Figures:
        """Start the operator on a settled fleet and leave it alone."""
        async with self.operator() as (running, meter):
            seconds = await until_at_rest(running, passes=self.fleet.size, patience=self.options.patience)
            start = await meter.read()
            await meter.start()
            await asyncio.sleep(self.options.idle_seconds)
            idle = await meter.read()
            rss = running.rss_kib() / 1024
        return {
            "rest_s": seconds,
            "peak_rss_mib": start.peak_rss_mib,
            "cpu_seconds": start.cpu_seconds,
            "api": start.api_total,
            "s3": start.s3,
            "idle_rss_mib": rss,
            "idle_cpu_seconds": idle.cpu_seconds,
            "idle_api": most_frequent(idle.api),
        } | {f"idle_{name}_per_s": rate for name, rate in per_second(idle).items()}

    async def resync(self) -> Figures:
        """Watch two resyncs and more."""
        async with self.operator(resync_seconds=str(self.options.resync_seconds)) as (running, meter):
            await passed(running, self.fleet.size, self.options.patience)
            await meter.start()
            await asyncio.sleep(2.5 * self.options.resync_seconds)
            used = await meter.read()
        rates = {f"{name}_per_s": rate for name, rate in per_second(used).items()}
        return {"peak_rss_mib": used.peak_rss_mib, "cpu_seconds": used.cpu_seconds, "passes": used.passes} | rates

    async def bumps(self) -> Figures:
        """Bump the second base and then the first, which has four times as many adapters."""
        figures: Figures = {}
        async with self.operator() as (running, meter):
            await rested(running, passes=self.fleet.size, patience=self.options.patience)
            for label, base in (("small", self.fleet.bases[1]), ("large", self.fleet.bases[0])):
                await meter.start()
                figures[label] = await self.bump(running, meter, base)
        large, small = figures["large"], figures["small"]
        return figures | {"growth": large["api_per_adapter"] / small["api_per_adapter"]}

    async def bump(self, running: OperatorProcess, meter: Meter, base: Base) -> Figures:
        """Give a base another source and wait until all its adapters are on it."""
        before = await self.resolved(base)
        source = {"s3": {"uri": f"s3://models/{base.name}/v2"}}
        await self.world.client.patch(BASES, base.namespace, base.name, {"spec": {"source": source}})
        began = time.monotonic()
        done = await until(partial(self.is_up_to_date, base, before), self.options.patience)
        seconds = time.monotonic() - began
        await until_at_rest(running, patience=120)
        used = await meter.read()
        return {
            "adapters": base.size,
            "seconds": seconds,
            "done": done,
            "api_per_adapter": used.api_total / base.size,
            "s3_per_adapter": used.s3 / base.size,
            "api": most_frequent(used.api),
        }

    async def resolved(self, base: Base) -> str:
        """Return the digest that the base's source was last resolved to."""
        live = await self.world.client.get(BASES, base.namespace, base.name) or {}
        return str(live.get("status", {}).get("resolved", {}).get("digest", ""))

    async def is_up_to_date(self, base: Base, before: str) -> bool:
        """Whether all adapters of a base are on what its spec names now, which is not what it was ``before``."""
        live = await self.world.client.get(BASES, base.namespace, base.name) or {}
        status, generation = live.get("status", {}), live.get("metadata", {}).get("generation")
        is_seen = status.get("observedGeneration") == generation and status["resolved"]["digest"] != before
        # The revision before goes when the last adapter has left it.
        return is_seen and status["adapters"]["upToDate"] == base.size and len(status.get("serving", ())) == 1


async def rested(running: OperatorProcess, *, passes: int = 0, patience: float) -> float:
    """Wait until the operator is at rest. Raises RuntimeError where it does not come to rest."""
    seconds = await until_at_rest(running, passes=passes, patience=patience)
    if seconds is None:
        raise RuntimeError(f"the operator is not at rest after {patience:g} s; see {running.log}")
    return seconds


async def passed(running: OperatorProcess, passes: int, patience: float) -> None:
    """Wait until the operator has looked at so many objects since it began, or ``patience`` seconds."""

    async def has_looked() -> bool:
        return (await running.metrics()).passes() >= passes

    await until(has_looked, patience)


@asynccontextmanager
async def bench(world: World, options: Options) -> AsyncIterator[Bench]:
    """Prepare the namespaces and the proxy of a measurement."""
    fleet = Fleet.of(options.adapters, options.bases)
    await world.client.ensure_namespace("graft-system")
    log = Path(tempfile.gettempdir()) / f"graft-scale-{options.adapters}.log"
    log.write_text("")
    async with S3Proxy.before(world.registry.endpoint or "") as (proxy, url):
        yield Bench(world, proxy, url, fleet, options, log)
