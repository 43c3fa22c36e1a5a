"""Whole lives of adapters that were trained elsewhere, step by step; `simulation.py` says what is checked."""

from __future__ import annotations

from random import Random

import pytest
from tests.unit.reconcilers.simulation import Simulation

ROWS = {"s3": {"uri": "s3://data/support.jsonl"}}
CANARY = {"strategy": "Canary", "limits": {"waitSeconds": 0}, "rollbackWindowSeconds": 0}
HOURS = 48
"""Rounds in which an hour passes, looks that are due come, and what two of them have found is imported."""


async def test_an_adapter_is_imported_once_and_served() -> None:
    run = Simulation()
    run.import_adapter()
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert run.health() == "Current"
    assert len(run.world.trained) == 1
    [stored] = run.world.registry.versions.values()
    assert (stored.manifest.reason, stored.manifest.dataset) == ("Imported", None)


async def test_new_content_is_served_once_the_source_has_been_looked_at() -> None:
    run = Simulation(replicas=2)
    run.import_adapter(interval="1h")
    await run.settle()
    assert run.answers() == {"v1@a"}
    run.upload("2")
    await run.rounds(HOURS)
    assert run.answers() == {"v2@a"}
    assert run.reason("SourceChecked") == "Resolved"
    await run.rounds(HOURS)
    assert len(run.world.trained) == 2


async def test_new_content_takes_over_by_canary_as_any_version_does() -> None:
    run = Simulation(replicas=2)
    run.import_adapter(interval="1h")
    run.write_adapter(serving={"rollout": CANARY})
    await run.settle()
    run.upload("2")
    weights = set()
    for _ in range(2 * HOURS):
        await run.round()
        progress = run.status().serving.rollout
        weights |= {progress.weight} if progress else set()
    assert run.answers() == {"v2@a"}
    assert any(0 < weight < 100 for weight in weights)


async def test_a_pin_holds_whatever_is_uploaded() -> None:
    run = Simulation()
    run.import_adapter(interval="1h")
    await run.settle()
    run.write_adapter(version=1)
    run.upload("2")
    await run.rounds(2 * HOURS)
    assert run.answers() == {"v1@a"}
    run.write_adapter(version=None)
    await run.rounds(2 * HOURS)
    assert run.answers() == {"v2@a"}


async def test_what_people_are_told_of_an_import() -> None:
    run = Simulation()
    run.import_adapter()
    await run.settle()
    told = [(reason, message) for name, reason, message in run.world.cluster.events if name == "support"]
    assert [reason for reason, _ in told].count("Imported") == 1
    assert any(message.startswith("Imported version 1: ") for _, message in told)
    assert "Published" not in [reason for reason, _ in told]


async def test_without_an_interval_new_content_is_not_looked_for() -> None:
    run = Simulation()
    run.import_adapter()
    await run.settle()
    run.upload("2")
    await run.rounds(HOURS)
    assert run.answers() == {"v1@a"}


async def test_a_source_that_is_gone_stops_nobody() -> None:
    run = Simulation()
    run.import_adapter(interval="1h")
    await run.settle()
    run.world.source_fails = "SourceNotFound"
    await run.rounds(HOURS)
    assert run.answers() == {"v1@a"}
    assert run.reason("SourceChecked") == "SourceNotFound"
    assert run.health() == "Current"
    run.world.source_fails = None
    run.upload("2")
    await run.rounds(HOURS)
    assert run.answers() == {"v2@a"}


async def test_the_old_base_serves_whoever_is_bound_to_it_and_nobody_waits_for_that() -> None:
    run = Simulation("support", "sales")
    run.import_adapter("support")
    await run.settle()
    run.write_base("b")
    await run.settle()
    assert run.answers("support") == {"v1@a"}
    assert run.answers("sales") == {"v2@b"}
    assert run.reason("UpToDate") == "BoundToBase"
    assert run.health() == "Current"
    assert run.revisions() == {"A", "B"}


async def test_a_bound_adapter_moves_on_with_an_adapter_for_the_new_base() -> None:
    run = Simulation()
    run.import_adapter()
    await run.settle()
    run.write_base("b")
    await run.settle()
    run.import_adapter(s3={"uri": "s3://models/for-b/"})
    await run.settle()
    assert run.answers() == {"v2@b"}
    assert run.revisions() == {"B"}


async def test_new_content_under_an_interval_moves_a_bound_adapter_to_the_present_base() -> None:
    run = Simulation()
    run.import_adapter(interval="1h")
    await run.settle()
    run.write_base("b")
    await run.settle()
    assert run.answers() == {"v1@a"}
    run.upload("2")
    await run.rounds(HOURS)
    assert run.answers() == {"v2@b"}


async def test_the_same_weights_on_the_new_base_where_that_is_asked_for() -> None:
    run = Simulation()
    run.import_adapter(onBaseChange="Import")
    await run.settle()
    run.write_base("b")
    await run.settle()
    assert run.answers() == {"v2@b"}
    assert [stored.manifest.reason for stored in run.world.registry.versions.values()] == ["Imported", "Imported"]
    run.write_base("a")
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert len(run.world.trained) == 2


async def test_rows_train_it_on_the_new_base_and_the_import_is_back_with_the_old_one() -> None:
    run = Simulation()
    run.write_adapter(source={"s3": {"uri": "s3://models/support/"}})
    await run.settle()
    run.write_base("b")
    await run.settle()
    assert run.answers() == {"v2@b"}
    reasons = [stored.manifest.reason for stored in run.world.registry.versions.values()]
    assert reasons == ["Imported", "BaseModelChanged"]
    run.write_base("a")
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert len(run.world.trained) == 2


@pytest.mark.parametrize("interval", [None, "1h"])
async def test_a_new_cluster_finds_everything_in_the_registry(interval: str | None) -> None:
    run = Simulation()
    run.import_adapter(interval=interval)
    await run.settle()
    spec = run.world.cluster.objects["LoraAdapter", "support"]["spec"]
    run.delete_adapter()
    await run.settle()
    run.world.restart_operator()
    run.world.source_fails = "SourceUnavailable"  # not even the source has to be there
    run.world.cluster.put("LoraAdapter", "support", spec=spec)
    await run.rounds(20)
    assert run.answers() == {"v1@a"}
    assert len(run.world.trained) == 1


async def test_a_source_that_is_refused_stalls_and_a_retry_mends_it() -> None:
    run = Simulation()
    run.world.source_fails = "SourceInvalid"
    run.import_adapter()
    await run.settle()
    assert run.reason("Stalled") == "SourceInvalid"
    run.world.source_fails = None
    run.import_adapter(s3={"uri": "s3://models/better/"})
    await run.settle()
    assert run.answers() == {"v1@a"}


@pytest.mark.parametrize("seed", range(4))
async def test_the_operator_may_die_at_any_write(seed: int) -> None:
    rng, run = Random(seed), Simulation()
    run.import_adapter(interval="1h")
    for content in "23":
        for _ in range(8):
            run.world.cluster.dies_after_write = run.world.cluster.writes + rng.randint(1, 3)
            await run.rounds(rng.randint(1, 12))
        run.upload(content)
        await run.rounds(HOURS)
    await run.rounds(HOURS)
    stored = run.world.registry.versions["support", max(number for _, number in run.world.registry.versions)]
    assert run.answers() == {f"v{stored.manifest.number}@a"}
    assert stored.manifest.imported is not None
    assert stored.manifest.imported.digest == run.world.content_of({"s3": {"uri": "s3://models/support/"}})
