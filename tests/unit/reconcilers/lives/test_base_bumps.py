"""Whole lives of bases: bumped, bumped back, scaled and deleted, while their adapters go on answering."""

from __future__ import annotations

from typing import Any

import pytest
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
    assert len(run.world.trained) == 1


async def test_a_policy_of_never_trains_a_changed_spec_on_the_base_that_the_adapter_lives_on() -> None:
    run = Simulation()
    run.write_base(readaptation={"policy": "Never"})
    await run.settle()
    run.write_base("b")
    await run.settle()
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    assert run.answers() == {"v2@a"}
    assert (run.reason("Trained"), run.reason("UpToDate")) == ("Trained", "KeptOnOldBase")
    run.write_base(readaptation={"policy": "Auto"})
    await run.settle()
    assert run.answers() == {"v3@b"}
    assert run.revisions() == {"B"}


async def test_a_policy_of_never_keeps_what_is_not_served_on_its_base_too() -> None:
    run = Simulation()
    run.write_base(readaptation={"policy": "Never"})
    run.write_adapter(serving={"mode": "None"})
    await run.settle()
    run.write_base("b")
    await run.settle()
    assert len(run.world.trained) == 1
    assert run.reason("UpToDate") == "KeptOnOldBase"


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


async def test_on_a_near_base_one_warm_start_is_enough() -> None:
    run = Simulation()
    await run.settle()
    run.world.registry.verdicts["B"] = "Near"
    run.write_base("b")
    await run.settle()
    assert run.answers() == {"v2@b"}
    assert run.started_warm() == {1: None, 2: 1}
    assert run.health() == "Current"


async def test_a_warm_start_that_fails_its_gate_is_followed_by_a_training_from_nothing() -> None:
    run = Simulation()
    await run.settle()
    run.world.registry.verdicts["B"] = "Near"
    run.world.losses[2] = 1.5
    run.write_base("b")
    await run.settle()
    assert run.answers() == {"v3@b"}
    assert run.started_warm() == {1: None, 2: 1, 3: None}
    assert [version.state for version in run.status().versions] == ["Published", "Rejected", "Published"]
    assert run.revisions() == {"B"}
    run.write_adapter(suspend=True)  # a changed spec asks the gate anew, which compares with version 3 now
    await run.settle()
    assert run.answers() == {"v3@b"}


async def test_a_warm_start_is_served_again_after_the_base_went_back_and_came_again() -> None:
    run = Simulation()
    await run.settle()
    run.world.registry.verdicts["B"] = "Near"
    for source in ("b", "a", "b"):
        run.write_base(source)
        await run.settle()
    assert run.answers() == {"v2@b"}
    assert len(run.world.trained) == 2


async def test_the_next_base_may_be_reached_from_a_warm_start() -> None:
    run = Simulation()
    await run.settle()
    run.world.registry.verdicts |= {"B": "Near", "C": "TokenizerOnly"}
    for source in ("b", "c"):
        run.write_base(source)
        await run.settle()
    assert run.answers() == {"v3@c"}
    assert run.started_warm() == {1: None, 2: 1, 3: 2}


@pytest.mark.parametrize("spec", [{"readaptation": {"strategy": "Cold"}}, {}], ids=["strategy Cold", "another base"])
async def test_without_a_warm_start_the_adapter_is_trained_from_nothing(spec: dict[str, Any]) -> None:
    run = Simulation()
    await run.settle()
    run.world.registry.verdicts["B"] = "Near" if spec else "Different"
    run.write_base("b", **spec)
    await run.settle()
    assert run.started_warm() == {1: None, 2: None}


async def climbed(dies_after_write: int | None = None) -> Simulation:
    """Return the end of a bump whose warm start failed its gate, where the operator died once meanwhile."""
    run = Simulation()
    await run.settle()
    run.world.registry.verdicts["B"] = "Near"
    run.world.losses[2] = 1.5
    run.world.cluster.dies_after_write = dies_after_write
    run.write_base("b")
    await run.settle()
    return run


async def test_a_crash_after_any_write_skips_no_candidate_and_tries_none_twice() -> None:
    before = Simulation()
    await before.settle()
    end = await climbed()
    for write in range(before.world.cluster.writes + 1, end.world.cluster.writes + 1):
        run = await climbed(dies_after_write=write)
        assert run.answers() == {"v3@b"}, f"died after write {write}"
        assert run.started_warm() == {1: None, 2: 1, 3: None}, f"died after write {write}"


async def test_max_parallel_holds_for_adapters_that_are_published_only() -> None:
    names = [f"adapter-{number}" for number in range(6)]
    run = Simulation(*names)
    for name in names:
        run.write_adapter(name, serving={"mode": "None"})
    await run.settle()
    run.write_base("b", readaptation={"maxParallel": 1})
    most = 0
    for _ in range(40):
        await run.round()
        active = [job for job in run.world.cluster.of_kind("Job") if not job.get("status")]
        most = max(most, len(active))
    assert most == 1
    second = {stored.manifest.reason for (_, number), stored in run.world.registry.versions.items() if number == 2}
    assert second == {"BaseModelChanged"}
    assert {run.health(name=name) for name in names} == {"Current"}


async def test_more_bases_at_once_than_a_status_once_could_tell_of_are_served() -> None:
    letters = "abcdefghi"
    run = Simulation("on-a")
    for letter in letters:
        run.write_base(letter)
        run.write_adapter(f"on-{letter}")
        await run.rounds(14)
        assert run.answers(f"on-{letter}") == {f"v1@{letter}"}
        run.write_adapter(f"on-{letter}", version=1)  # pinned: it stays on this base
    await run.settle()
    assert run.revisions() == set(letters.upper())
    assert all(run.health(name=name) == "Current" for name in run.adapters())
