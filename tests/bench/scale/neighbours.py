"""What a tenant who goes wrong, or means harm, costs the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from tests.bench.scale.fleet import Base, adapter_manifest, at_a_time, base_manifest
from tests.bench.scale.measuring import per_second
from tests.bench.scale.steps import Bench, Figures, passed
from tests.control_plane import ADAPTERS, BASES, PODS, until

HOSTILE_PODS: Final = 10
RATE: Final = 5.0
"""Adapters of the others applied a second: what people do, not a migration."""
SETTLE_SECONDS: Final = 10.0
Noise = Callable[[Bench], Awaitable[None]]


async def neighbours(bench: Bench) -> Figures:
    """Time the others alone, beside ten hostile pods, and beside a broken base."""
    figures: Figures = {}
    noises: dict[str, Noise] = {"alone": nobody, "hostile": hostile_pods, "broken": broken_base}
    for turn, (name, make_noise) in enumerate(noises.items()):
        async with bench.operator() as (running, meter):
            await passed(running, bench.fleet.size, bench.options.patience)
            await make_noise(bench)
            await asyncio.sleep(SETTLE_SECONDS)
            await meter.start()
            figures[name] = await others(bench, turn)
            used = await meter.read()
            figures[name]["operator_ended"] = not running.is_running
        figures[name] |= {"cpu_share": used.cpu_seconds / used.seconds, "peak_rss_mib": used.peak_rss_mib}
        figures[name] |= {f"{kind}_per_s": rate for kind, rate in per_second(used).items()}
        await bench.world.client.remove_everything(name)
    for name in ("hostile", "broken"):
        figures[name]["times_alone"] = figures[name]["p99"] / figures["alone"]["p99"]
    return figures


async def others(bench: Bench, turn: int) -> Figures:
    """Apply new adapters on all bases but the two that are bumped, and time their Jobs."""
    bases, count = bench.fleet.bases[2:], bench.options.neighbours
    first = 10_000 * (turn + 1)
    fresh = [(bases[number % len(bases)], first + number // len(bases)) for number in range(count)]
    return await bench.apply_and_time(fresh, RATE)


async def nobody(bench: Bench) -> None:
    """Make no noise."""


async def hostile_pods(bench: Bench) -> None:
    """Let a tenant have a base whose ten pods answer to do harm."""
    client, namespace = bench.world.client, "hostile"
    bench.world.simulator.serving.hostile.add(namespace)
    await client.ensure_namespace(namespace)
    body = base_manifest("base-hostile", places=bench.options.places, replicas=HOSTILE_PODS)
    await client.create(BASES, namespace, body)
    await client.create(ADAPTERS, namespace, adapter_manifest("a-hostile", "base-hostile"))

    async def all_there() -> bool:
        return len((await client.list(PODS, namespace))[0]) == HOSTILE_PODS

    await until(all_there, bench.options.patience)


async def broken_base(bench: Bench) -> None:
    """Let a tenant have a base whose pods find no node, and many adapters on it."""
    client, base = bench.world.client, Base(999, bench.options.noisy)
    namespace = "broken"
    bench.world.simulator.serving.unschedulable.add(namespace)
    await client.ensure_namespace(namespace)
    await client.create(BASES, namespace, base_manifest(base.name, places=bench.options.places))
    await at_a_time(
        client.create(ADAPTERS, namespace, adapter_manifest(base.adapter(number), base.name))
        for number in range(base.size)
    )
