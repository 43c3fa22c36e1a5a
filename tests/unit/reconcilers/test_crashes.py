"""The operator dies right after any one of its writes, begins anew with empty hands, and ends where it would have."""

from __future__ import annotations

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


WRITES = 61
"""Of an undisturbed life; :func:`test_every_write_is_covered` holds it to the truth."""

_undisturbed = cache(list)


async def undisturbed() -> Simulation:
    """Return the life without a crash, lived once."""
    lives = _undisturbed()
    if not lives:
        lives.append(await lived_through())
    return lives[0]


async def test_every_write_is_covered() -> None:
    run = await undisturbed()
    assert run.world.cluster.writes == WRITES


@pytest.mark.parametrize("write", range(1, WRITES + 1))
async def test_a_crash_after_any_write_changes_nothing_in_the_end(write: int) -> None:
    run = await lived_through(dies_after_write=write)
    assert end_of(run) == end_of(await undisturbed())
