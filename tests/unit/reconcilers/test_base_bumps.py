"""Whole lives of bases: bumped, bumped back, scaled and deleted, while their adapters go on answering."""

from __future__ import annotations

from tests.unit.reconcilers.simulation import Simulation


async def test_a_base_bump_moves_every_adapter_and_retires_the_old_base() -> None:
    run = Simulation("support", "sales", "legal", replicas=2)
    await run.settle()
    run.write_base("b")
    await run.settle()
    for name in run.adapters():
        assert run.answers(name) == {"v2@b"}
        assert run.health(name=name) == "Current"
    assert run.revisions() == {"B"}


async def test_two_bumps_in_a_row_end_on_the_last_base() -> None:
    run = Simulation("support", "sales", replicas=2)
    await run.settle()
    run.write_base("b")
    await run.rounds(7)
    run.write_base("c")
    await run.settle()
    for name in run.adapters():
        assert {answer.partition("@")[2] for answer in run.answers(name)} == {"c"}
    assert run.revisions() == {"C"}


async def test_a_bump_back_needs_no_training() -> None:
    run = Simulation()
    await run.settle()
    run.write_base("b")
    await run.settle()
    run.write_base("a")
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert run.revisions() == {"A"}
    assert len(run.world.trained) == 2


async def test_a_bump_back_while_the_new_base_rolls_out_never_leaves_the_old_version() -> None:
    for rounds in range(1, 14):
        run = Simulation(replicas=2)
        await run.settle()
        run.write_base("b")
        await run.rounds(rounds)
        run.write_base("a")
        await run.settle()
        assert run.answers() == {"v1@a"}, f"bumped back after {rounds} rounds"
        assert run.revisions() == {"A"}


async def test_at_most_max_parallel_adapters_are_readapted_at_once() -> None:
    run = Simulation("legal", "sales", "support", "tax")
    await run.settle()
    run.write_base("b", readaptation={"maxParallel": 1})
    most = 0
    for _ in range(40):
        await run.round()
        jobs = [job for job in run.world.cluster.of_kind("Job") if not job.get("status")]
        most = max(most, len(jobs))
    await run.settle()
    assert most == 1
    assert all(run.answers(name) == {"v2@b"} for name in run.adapters())


async def test_a_policy_of_never_leaves_the_adapter_on_its_base_and_says_so() -> None:
    run = Simulation()
    run.write_base(readaptation={"policy": "Never"})
    await run.settle()
    run.write_base("b", readaptation={"policy": "Never"})
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert run.revisions() == {"A", "B"}
    assert run.reason("UpToDate") == "KeptOnOldBase"
    assert run.health() == "Current"


async def test_a_base_is_deleted_after_its_last_adapter_and_not_before() -> None:
    run = Simulation()
    await run.settle()
    run.delete_base()
    await run.settle()
    assert run.answers() == {"v1@a"}
    run.world.registry.is_away = True
    run.delete_adapter()
    await run.settle()
    assert ("BaseModel", "tiny") not in run.world.cluster.objects
    assert run.world.cluster.of_kind("Deployment") == []


async def test_a_base_without_replicas_makes_nobody_busy() -> None:
    run = Simulation(replicas=0)
    await run.settle()
    assert run.health() == "InProgress"
    run.write_base(serving={"replicas": 2})
    await run.settle()
    assert run.answers() == {"v1@a"}


async def test_pods_that_die_come_back_with_their_adapters() -> None:
    run = Simulation(replicas=2)
    await run.settle()
    run.world.kill_pod(next(iter(run.world.pods)))
    await run.round()
    assert run.health() == "InProgress"
    await run.settle()
    assert run.health() == "Current"


async def test_more_replicas_during_a_base_bump_answer_from_their_first_moment() -> None:
    for rounds in range(1, 12):
        run = Simulation()
        await run.settle()
        run.write_base("b")
        await run.rounds(rounds)
        run.write_base(serving={"replicas": 3})
        await run.settle()
        assert run.answers() == {"v2@b"}
