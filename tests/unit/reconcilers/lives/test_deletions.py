"""An adapter is deleted: its trainings end, its versions go where that is asked for, and nothing is held up."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.reconcilers.moments import told, training_jobs, until_training
from tests.unit.reconcilers.simulation import Simulation


async def kept_or_deleted(policy: str) -> Simulation:
    run = Simulation("support", "sales")
    run.write_adapter(deletionPolicy=policy)
    await run.settle()
    return run


@pytest.mark.parametrize("away", [timedelta(0), timedelta(minutes=11), timedelta(hours=1), timedelta(days=7)], ids=str)
@pytest.mark.parametrize("restarts", [False, True])
async def test_versions_are_deleted_though_the_operator_was_away_when_it_was_asked_for(
    away: timedelta, restarts: bool
) -> None:
    run = await kept_or_deleted("Delete")
    run.delete_adapter()
    run.world.now += away
    if restarts:
        run.world.restart_operator()
    await run.settle()
    assert run.adapters() == ["sales"]
    assert {name for name, _ in run.world.registry.versions} == {"sales"}
    assert not [key for key in run.world.registry.store.objects if "/support/" in key]
    assert run.answers("sales") == {"v1@a"}


async def test_versions_are_kept_where_nothing_else_is_asked_for() -> None:
    run = await kept_or_deleted("Retain")
    run.delete_adapter()
    await run.settle()
    assert run.adapters() == ["sales"]
    assert {name for name, _ in run.world.registry.versions} == {"support", "sales"}


async def test_a_deletion_waits_for_a_registry_that_is_away_and_gives_up_after_ten_minutes() -> None:
    run = await kept_or_deleted("Delete")
    run.world.registry.is_away = True
    run.delete_adapter()
    await run.rounds(4)
    assert told(run, "Reconciling") == ("True", "RegistryNotCleaned")
    await run.settle()
    assert run.adapters() == ["sales"]
    assert "RegistryNotCleaned" in [reason for _, reason, _ in run.world.cluster.events]


async def test_a_deletion_ends_with_the_registry_back() -> None:
    run = await kept_or_deleted("Delete")
    run.world.registry.is_away = True
    run.delete_adapter()
    await run.rounds(4)
    run.world.registry.is_away = False
    await run.settle()
    assert run.adapters() == ["sales"]
    assert {name for name, _ in run.world.registry.versions} == {"sales"}


async def test_nothing_is_deleted_beneath_a_trainer_that_still_writes() -> None:
    run = await kept_or_deleted("Delete")
    run.write_adapter(lora={"rank": 8})
    job = await until_training_anew(run)
    run.world.cluster.ends_slowly = True
    run.delete_adapter()
    await run.rounds(3)
    assert {name for name, _ in run.world.registry.versions} == {"support", "sales"}
    run.world.cluster.remove(("Job", job))
    await run.settle()
    assert run.adapters() == ["sales"]
    assert {name for name, _ in run.world.registry.versions} == {"sales"}


async def until_training_anew(run: Simulation) -> str:
    before = training_jobs(run)
    for _ in range(10):
        if new := [job for job in training_jobs(run) if job not in before]:
            return new[0]
        await run.round()
    raise AssertionError("nothing is trained")


async def test_an_adapter_of_the_name_that_is_applied_at_once_is_trained_anew() -> None:
    run = await kept_or_deleted("Delete")
    run.delete_adapter()
    await run.settle()
    run.world.trained.clear()
    run.write_adapter()
    await until_training(run)
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert len(run.world.trained) == 1
