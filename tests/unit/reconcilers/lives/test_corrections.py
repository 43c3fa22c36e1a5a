"""Trainings that don't go well, and how the operator helps itself, whenever it dies."""

from __future__ import annotations

from typing import Any

from tests.unit.reconcilers.simulation import Simulation

DOUBLING: dict[str, Any] = {"training": {"rankDoubling": {"maxRank": 64}}}
ROWS: dict[str, Any] = {"dataset": {"configMap": {"name": "rows", "key": "train.jsonl"}}}


def batches(run: Simulation) -> list[tuple[int, int]]:
    """Return (rows per forward pass, passes per step) of every version."""
    trainings = [stored.manifest.hyperparameters["training"] for stored in run.world.registry.versions.values()]
    return [(training["batchSize"], training["gradientAccumulation"]) for training in trainings]


def reasons(run: Simulation) -> list[tuple[int, str]]:
    """Return (rank, reason) of every version."""
    return [
        (stored.manifest.shape.rank, stored.manifest.reason)
        for _, stored in sorted(run.world.registry.versions.items())
    ]


def training_job(run: Simulation) -> tuple[str, dict[str, Any]]:
    """Return the name of the only training Job, and what the API server has of it."""
    (name,) = [name for name in run.jobs() if "-train-" in name]
    return name, run.world.cluster.objects["Job", name]


async def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    run = Simulation()
    run.world.rows_that_fit = 1
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert batches(run) == [(1, 16)]
    assert len(run.world.trained) == 1
    told = [message for _, reason, message in run.world.cluster.events if reason == "OutOfMemory"]
    assert [message.partition("with ")[2] for message in told] == [
        "batchSize 2 × gradientAccumulation 8",
        "batchSize 1 × gradientAccumulation 16",
    ]


async def test_a_single_row_that_does_not_fit_stalls_until_there_is_more_memory() -> None:
    run = Simulation()
    run.world.rows_that_fit = 0
    await run.settle()
    assert (run.health(), run.reason("Stalled")) == ("Failed", "OutOfMemory")
    run.world.rows_that_fit = None
    run.write_adapter(pod={"resources": {"limits": {"memory": "64Gi"}}})
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert batches(run) == [(4, 4)]


async def test_a_rank_that_is_too_low_is_doubled_until_it_learns() -> None:
    run = Simulation()
    run.world.rank_that_learns = 64
    run.write_adapter(**DOUBLING)
    await run.settle()
    assert run.answers() == {"v3@a"}
    assert reasons(run) == [(16, "SpecChanged"), (32, "RankDoubled"), (64, "RankDoubled")]
    raised = run.status().raised_rank
    assert raised is not None
    assert raised.rank == 64
    assert "lora" not in run.world.cluster.objects["LoraAdapter", "support"]["spec"]
    assert run.health() == "Current"


async def test_the_limit_ends_the_doubling_and_the_adapter_says_so() -> None:
    run = Simulation()
    run.world.rank_that_learns = 128
    run.write_adapter(**DOUBLING)
    await run.settle()
    assert (run.health(), run.reason("Stalled")) == ("Failed", "WorseThanBase")
    assert [rank for rank, _ in reasons(run)] == [16, 32, 64]


async def test_a_changed_spec_starts_over_and_a_changed_base_does_not() -> None:
    run = Simulation()
    run.world.rank_that_learns = 32
    run.write_adapter(**DOUBLING)
    await run.settle()
    run.write_base("b")
    await run.settle()
    assert run.answers() == {"v3@b"}
    run.world.rank_that_learns = None
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    assert run.answers() == {"v4@b"}
    assert run.status().raised_rank is None
    assert reasons(run) == [
        (16, "SpecChanged"),
        (32, "RankDoubled"),
        (32, "BaseModelChanged"),
        (8, "SpecChanged"),
    ]


async def test_a_changed_mode_is_trained_with_the_rank_that_was_found() -> None:
    run = Simulation()
    run.world.rank_that_learns = 32
    run.write_adapter(**DOUBLING)
    await run.settle()
    run.write_adapter(serving={"mode": "Merged"})
    await run.settle()
    assert reasons(run) == [(16, "SpecChanged"), (32, "RankDoubled"), (32, "SpecChanged")]
    assert run.health() == "Current"
    run.write_adapter(serving={"mode": "MultiAdapter"})
    await run.settle()
    assert len(run.world.trained) == 3
    assert run.answers() == {"v3@a"}


async def corrected(dies_after_write: int | None = None) -> Simulation:
    """Return the end of a changed spec with too large a batch and too low a rank, where the operator died once."""
    run = Simulation()
    await run.settle()
    run.world.rows_that_fit, run.world.rank_that_learns = 2, 32
    run.world.cluster.dies_after_write = dies_after_write
    run.write_adapter(dataset={"s3": {"uri": "s3://data/new.jsonl"}}, **DOUBLING)
    await run.settle()
    return run


async def test_a_crash_after_any_write_forgets_neither_batch_nor_rank() -> None:
    before, undisturbed = Simulation(), await corrected()
    await before.settle()
    for write in range(before.world.cluster.writes + 1, undisturbed.world.cluster.writes + 1):
        run = await corrected(dies_after_write=write)
        assert run.answers() == {"v3@a"}, f"died after write {write}"
        assert reasons(run)[1:] == [(16, "SpecChanged"), (32, "RankDoubled")], f"died after write {write}"
        assert batches(run)[1:] == [(2, 8), (2, 8)], f"died after write {write}"
        assert run.jobs() == undisturbed.jobs(), f"died after write {write}"


async def test_a_job_in_a_queue_is_left_to_kueue() -> None:
    """Admitted, held again and admitted again: nothing of ours writes to the Job meanwhile."""
    run = Simulation()
    run.write_adapter(pod={"queueName": "gpus"})
    await run.settle()
    name, born = training_job(run)
    assert born["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    for suspended in (True, False, True, False):
        run.world.cluster.put("Job", name, spec=training_job(run)[1]["spec"] | {"suspend": suspended})
        await run.rounds(1)
        assert run.reason("Trained") == ("Queued" if suspended else "PodPending")
        assert training_job(run)[1]["spec"]["suspend"] == suspended
    await run.settle()
    assert run.answers() == {"v1@a"}
    job = training_job(run)[1]
    assert job["spec"]["suspend"] is False
    assert run.world.cluster.written.count(("Job", name)) == 1
    assert job["metadata"]["uid"] == born["metadata"]["uid"]


async def test_other_rows_in_the_same_config_map_are_told_from_a_changed_spec() -> None:
    run = Simulation()
    run.world.cluster.put("ConfigMap", "rows", data={"train.jsonl": "old"})
    run.write_adapter(**ROWS)
    await run.settle()
    run.world.cluster.put("ConfigMap", "rows", data={"train.jsonl": "new"})
    await run.settle()
    assert run.answers() == {"v2@a"}
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    assert reasons(run) == [(16, "SpecChanged"), (16, "DataChanged"), (8, "SpecChanged")]
