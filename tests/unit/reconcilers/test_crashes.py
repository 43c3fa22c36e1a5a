"""The operator dies right after any one of its writes, begins anew with empty hands, and ends where it would have."""

from __future__ import annotations

import asyncio
from functools import cache

import pytest
from tests.unit.reconcilers.simulation import Simulation


async def lived_through(dies_after_write: int | None = None) -> Simulation:
    """Return the end of a life with a training, a changed spec and a base bump."""
    run = Simulation()
    run.world.cluster.dies_after_write = dies_after_write
    await run.settle()
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    run.write_base("b")
    await run.settle()
    return run


def end_of(run: Simulation) -> dict[str, object]:
    """Return what people would notice."""
    return {
        "answers": {name: run.answers(name) for name in run.adapters()},
        "health": {name: run.health(name=name) for name in run.adapters()},
        "base": run.health("BaseModel", "tiny"),
        "revisions": run.revisions(),
        "objects": sorted((kind, name) for kind, name in run.world.cluster.objects if kind != "Pod"),
        "trained": sorted(run.world.trained),
    }


WRITES = 67
"""Of an undisturbed life; :func:`test_every_write_is_covered` holds it to the truth."""


@cache
def undisturbed() -> tuple[dict[str, object], int]:
    """Return the end of a life without a crash, and the number of its writes."""
    run = asyncio.run(lived_through())
    return end_of(run), run.world.cluster.writes


def test_every_write_is_covered() -> None:
    assert undisturbed()[1] == WRITES


@pytest.mark.parametrize("write", range(1, WRITES + 1))
def test_a_crash_after_any_write_changes_nothing_in_the_end(write: int) -> None:
    end, _ = undisturbed()
    assert end_of(asyncio.run(lived_through(dies_after_write=write))) == end
