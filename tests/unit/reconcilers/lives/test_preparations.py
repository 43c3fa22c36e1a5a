"""Whole lives of adapters whose rows are prepared before they train; `simulation.py` says what is checked."""

from __future__ import annotations

import pytest
from tests.unit.reconcilers.simulation import Simulation

ALWAYS = {"mode": "Always"}
GPU = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}


def made(run: Simulation) -> list[str]:
    """Return what the adapter's Jobs were for, in the order in which they were made."""
    names = [name for kind, name in run.world.cluster.created if kind == "Job" and name.startswith("support-")]
    return [name.split("-")[1] for name in names]


def preparing() -> Simulation:
    run = Simulation()
    run.write_adapter(preparation=ALWAYS)
    return run


async def test_rows_are_prepared_before_anything_is_trained() -> None:
    run = preparing()
    await run.settle()
    assert made(run) == ["prepare", "train"]
    assert run.answers() == {"v1@a"}
    assert run.health() == "Current"


async def test_a_gpu_is_asked_for_once_the_rows_are_prepared() -> None:
    run = Simulation()
    run.write_adapter(pod=GPU)
    for _ in range(12):
        under_way = [job for job in run.world.cluster.of_kind("Job") if not job.get("status")]
        prepares = [job for job in under_way if "-prepare-" in job["metadata"]["name"]]
        assert not prepares or "nvidia.com/gpu" not in str(under_way)
        await run.round()
    assert made(run) == ["prepare", "train"]
    [training] = [job for job in run.world.cluster.of_kind("Job") if "-train-" in job["metadata"]["name"]]
    assert "nvidia.com/gpu" in str(training)


@pytest.mark.parametrize("reaps", [False, True])
async def test_each_recipe_is_prepared_once_even_if_jobs_are_reaped(reaps: bool) -> None:
    run = preparing()
    await run.settle()
    run.write_adapter(lora={"rank": 4})
    for _ in range(30):
        ended = [job["metadata"]["name"] for job in run.world.cluster.of_kind("Job") if job.get("status")]
        await run.round()
        for name in ended if reaps else ():
            if ("Job", name) in run.world.cluster.objects:
                run.world.cluster.remove(("Job", name))
    assert made(run) == ["prepare", "train", "prepare", "train"]
    assert run.answers() == {"v2@a"}


async def test_bad_rows_stall_before_a_training_and_better_ones_are_trained_on() -> None:
    run = preparing()
    run.world.preparation_fails = "BadDataset"
    await run.settle()
    assert (run.reason("Stalled"), made(run)) == ("BadDataset", ["prepare"])
    run.world.preparation_fails = None
    run.write_adapter(dataset={"s3": {"uri": "s3://data/better.jsonl"}})
    await run.settle()
    assert made(run) == ["prepare", "prepare", "train"]
    assert run.health() == "Current"


async def test_rows_that_crash_it_are_given_up_after_three_jobs() -> None:
    run = preparing()
    run.world.preparation_fails = "Crashed"
    await run.rounds(30)
    assert (run.reason("Stalled"), made(run)) == ("CrashLoop", ["prepare"] * 3)


async def test_a_registry_that_is_away_is_waited_for() -> None:
    run = preparing()
    run.world.preparation_fails = "RegistryUnavailable"
    await run.rounds(40)
    assert run.reason("Trained") in ("RegistryUnavailable", "JobCreated", "Preparing")
    run.world.preparation_fails = None
    await run.rounds(60)
    assert run.answers() == {"v1@a"}


async def test_an_old_version_answers_while_the_next_is_prepared() -> None:
    run = preparing()
    await run.settle()
    run.world.preparation_fails = "BadDataset"
    run.write_adapter(dataset={"s3": {"uri": "s3://data/worse.jsonl"}})
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert run.reason("Stalled") == "BadDataset"


async def test_whoever_prepares_for_a_changed_base_takes_a_place() -> None:
    run = Simulation("support", "sales", "returns")
    run.write_base(readaptation={"maxParallel": 1})
    for name in run.adapters():
        run.write_adapter(name, preparation=ALWAYS)
    await run.settle()
    run.write_base("b")
    for _ in range(45):
        active = {job["metadata"]["annotations"]["graft.dev/owner-name"] for job in unfinished(run)}
        assert len(active) <= 1, "more adapters at once than maxParallel"
        await run.round()
    assert {name: run.answers(name) for name in run.adapters()} == {name: {"v2@b"} for name in run.adapters()}


def unfinished(run: Simulation) -> list[dict[str, dict[str, dict[str, str]]]]:
    jobs = run.world.cluster.of_kind("Job")
    return [job for job in jobs if not job.get("status") and "graft.dev/readaptation" in job["metadata"]["labels"]]


async def test_a_suspended_adapter_prepares_nothing_until_it_goes_on() -> None:
    run = preparing()
    await run.rounds(4)
    run.write_adapter(suspend=True)
    await run.settle()
    assert "train" not in made(run) or run.world.trained
    assert run.jobs() == [] or not unfinished(run)
    run.write_adapter(suspend=False)
    await run.settle()
    assert run.answers() == {"v1@a"}


async def test_a_preparation_that_no_node_takes_keeps_nobody_from_training() -> None:
    run = Simulation()
    run.world.preparations_start = False
    run.write_adapter(pod=GPU)
    for _ in range(200):
        run.world.restart_operator()
        await run.round()
    assert made(run) == ["prepare", "train"]
    assert run.answers() == {"v1@a"}
    skipped = run.status().skipped_preparation
    assert skipped is not None
    assert skipped.reason == "Unschedulable"
    assert not [name for name in run.jobs() if "-prepare-" in name]


async def test_one_that_is_asked_for_is_waited_for() -> None:
    run = preparing()
    run.world.preparations_start = False
    await run.rounds(200)
    assert (made(run), run.reason("Trained")) == (["prepare"], "Unschedulable")
    run.world.preparations_start = True
    await run.rounds(20)
    assert run.answers() == {"v1@a"}
