"""Canaries of the whole operator: by steps, rolled back by themselves, and unharmed by crashes at any moment."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import pytest
from tests.unit.reconcilers.moments import CANARY, until_split
from tests.unit.reconcilers.simulation import NAMESPACE, Simulation

from graft_operator.cluster.errors import Conflict
from graft_operator.controller_runtime.keys import AdapterKey

FAILING = ("support", 2)


async def served_once(replicas: int = 2, **serving: object) -> Simulation:
    """Return a life with version 1 served, in which version 2 is to come by canary."""
    run = Simulation(replicas=replicas)
    await run.settle()
    run.write_adapter(serving=serving or CANARY, lora={"rank": 8})
    return run


async def weights_seen(run: Simulation, rounds: int = 40) -> list[int]:
    """Return the distinct weights of the target over some rounds, in order."""
    seen: list[int] = []
    for _ in range(rounds):
        await run.round()
        progress = run.status().serving.rollout
        if progress is not None and progress.weight not in seen[-1:]:
            seen.append(progress.weight)
    return seen


def parts(run: Simulation) -> set[tuple[tuple[int, int], ...]]:
    """Return how the pods split the adapter's requests now."""
    states = [pod.state() for pod in run.world.pods.values()]
    return {tuple((share.number, share.weight) for share in state.adapters[0].active) for state in states}


async def until_weight(run: Simulation, weight: int) -> None:
    """Let time pass until every pod gives version 2 this part of the requests."""
    for _ in range(40):
        if parts(run) == {((1, 100 - weight), (2, weight))}:
            return
        await run.round()
    raise AssertionError(f"version 2 never got {weight} %: {parts(run)}")


async def test_a_good_version_takes_over_step_by_step() -> None:
    run = await served_once()
    assert await weights_seen(run) == [10, 50, 100]
    await run.settle()
    assert run.answers() == {"v2@a"}
    assert run.health() == "Current"
    assert run.status().serving.previous is None


async def test_the_version_before_is_the_served_one_until_the_canary_is_over() -> None:
    run = await served_once()
    await until_weight(run, 10)
    await run.round()
    assert run.status().served_version == 1
    assert run.status().candidate_version == 2
    assert run.reason("Served") == run.reason("Reconciling") == "Canary"
    assert run.health() == "InProgress"


async def test_a_failing_version_is_rolled_back_and_not_tried_again() -> None:
    run = await served_once()
    run.world.fails.add(FAILING)
    assert await weights_seen(run) == [10]
    await run.settle()
    assert parts(run) == {((1, 100),)}
    assert run.reason("Stalled") == run.reason("Served") == run.reason("UpToDate") == "RolledBack"
    assert run.health() == "Failed"
    assert [entry.state for entry in run.status().versions] == ["RolledBack", "Published"]
    assert ("support", "RolledBack") in {(name, reason) for name, reason, _ in run.world.cluster.events}


async def test_an_immediate_rollout_with_limits_is_rolled_back_too() -> None:
    run = await served_once(rollout={"limits": {}})
    run.world.fails.add(FAILING)
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert run.reason("Served") == "RolledBack"


@pytest.mark.parametrize("strategy", ["Canary", "Immediate"])
async def test_a_version_that_answers_worse_on_the_engine_is_rolled_back(strategy: str) -> None:
    run = await served_once(rollout={"strategy": strategy, "limits": {}})
    run.world.answers_wrongly.add(("support", 2))
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert run.reason("Stalled") == run.reason("Served") == "RolledBack"
    assert "version 2 answered 0 of" in run.status().versions[0].message


async def test_a_limit_of_100_percent_asks_no_probes() -> None:
    run = await served_once(rollout={"limits": {"maxProbeScoreDropPercent": 100}})
    run.world.answers_wrongly.add(("support", 2))
    await run.settle()
    assert run.answers() == {"v2@a"}


async def test_a_rolled_back_version_gets_another_chance_when_the_spec_changes() -> None:
    run = await served_once()
    run.world.fails.add(FAILING)
    await run.settle()
    run.world.fails.clear()
    run.write_adapter(suspend=True)
    await run.settle()
    assert run.answers() == {"v2@a"}


async def test_promote_serves_a_rolled_back_version_whatever_it_does() -> None:
    run = await served_once()
    run.world.fails.add(FAILING)
    await run.settle()
    run.write_adapter(serving={"rollout": CANARY["rollout"] | {"promote": 2}})
    assert await weights_seen(run) == [100]
    assert run.answers() == {"v2@a"}


async def test_abort_rolls_back_and_holds_over_other_changes_of_the_spec() -> None:
    run = await served_once()
    await until_weight(run, 10)
    run.write_adapter(serving={"rollout": CANARY["rollout"] | {"abort": 2}})
    await run.settle()
    assert parts(run) == {((1, 100),)}
    run.write_adapter(suspend=True)
    await run.settle()
    assert parts(run) == {((1, 100),)}
    assert run.reason("UpToDate") == "RolledBack"


async def test_a_base_bump_in_the_middle_of_a_canary_ends_on_the_new_base() -> None:
    for weight in (10, 50):
        run = await served_once()
        await until_weight(run, weight)
        run.write_base("b")
        await run.settle()
        assert run.answers() == {"v3@b"}
        assert run.revisions() == {"B"}


async def test_a_third_version_in_the_middle_of_a_canary_has_a_canary_of_its_own() -> None:
    run = await served_once()
    await until_weight(run, 50)
    run.write_adapter(lora={"rank": 4})
    assert await weights_seen(run) == [50, 100, 10, 50, 100]
    await run.settle()
    assert run.answers() == {"v3@a"}


async def test_a_pod_that_starts_in_the_middle_of_a_canary_answers() -> None:
    run = await served_once()
    await until_weight(run, 10)
    run.world.kill_pod(next(iter(run.world.pods)))
    await run.settle()
    assert run.answers() == {"v2@a"}


async def test_deletion_in_the_middle_of_a_canary_leaves_nothing_loaded() -> None:
    run = await served_once()
    await until_weight(run, 10)
    run.delete_adapter()
    await run.settle()
    assert run.adapters() == []
    assert all(pod.states == {} for pod in run.world.pods.values())


async def test_an_adapter_beyond_the_places_waits_and_is_served_when_one_is_free() -> None:
    run = Simulation("legal", "sales", "support")
    run.write_base(serving={"replicas": 1, "maxLoadedAdapters": 2, "maxActiveAdapters": 1})
    await run.settle()
    waiting = [name for name in run.adapters() if run.answers(name) == {"nobody"}]
    assert len(waiting) == 1
    assert run.reason("Served", waiting[0]) == "NoFreeSlot"
    served = next(name for name in run.adapters() if name not in waiting)
    run.delete_adapter(served)
    await run.settle()
    assert run.answers(waiting[0]) == {"v1@a"}
    assert run.health(name=waiting[0]) == "Current"


async def test_a_canary_after_a_first_version_that_was_refused_comes_to_an_end() -> None:
    run = Simulation()
    run.world.refuses.add(("support", 1))
    run.write_adapter(serving=CANARY)
    await run.settle()
    assert run.reason("Stalled") == "VersionRefused"
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    assert run.answers() == {"v2@a"}
    assert run.status().served_version == 2
    assert run.health() == "Current"


async def test_a_rollout_ends_though_siblings_change_the_wanted_set_all_the_time() -> None:
    run = Simulation("support", "sales", replicas=2)
    await run.settle()
    run.write_adapter(lora={"rank": 8})
    for number in range(60):
        run.write_adapter("sales", serving={"residency": "OnDemand" if number % 2 else "Always"})
        await run.round()
        if run.status().served_version == 2 and run.status().serving.previous is None:
            return
    raise AssertionError(f"after 60 rounds: {run.status().serving}")


async def test_a_late_write_of_a_former_leader_takes_no_rollback_back(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Simulation()
    run.write_adapter(serving=CANARY)
    await run.settle()
    run.write_adapter(lora={"rank": 8})
    await until_split(run)
    late: list[tuple[Any, Any]] = []

    async def on_its_way(*args: Any, **fields: Any) -> dict[str, Any]:
        late.append((args, fields))
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(run.world.cluster, "apply_status", on_its_way)
        run.world.cluster.sync()
        await run.world.reconcilers.reconcile(AdapterKey(NAMESPACE, "support"))
    [(args, fields)] = late
    run.world.restart_operator()
    run.world.fails.add(FAILING)
    run.world.tick()
    await run.reconcile("support")
    assert {item.number: item.state for item in run.status().versions}[2] == "RolledBack"
    with pytest.raises(Conflict):
        await run.world.cluster.apply_status(*args, **fields)
    assert {item.number: item.state for item in run.status().versions}[2] == "RolledBack"


async def test_a_version_is_judged_by_what_users_have_and_not_by_a_candidate() -> None:
    run = Simulation()
    run.world.losses = {1: 1.0, 2: 1.04, 3: 1.08}
    run.write_adapter(serving={"rollout": {"strategy": "Canary", "steps": [{"weight": 10, "seconds": 86400}]}})
    await run.settle()
    run.write_adapter(lora={"rank": 8})
    await until_split(run)
    await run.rounds(2)
    run.write_adapter(lora={"rank": 4})
    await run.rounds(12)
    third = next(item for item in run.status().versions if item.number == 3)
    assert third.state == "Rejected", third.message


async def life(dies_after_write: int | None, *, failing: bool) -> Simulation:
    run = Simulation(replicas=2)
    await run.settle()
    if failing:
        run.world.fails.add(FAILING)
    before = run.world.cluster.writes
    run.world.cluster.dies_after_write = None if dies_after_write is None else before + dies_after_write
    run.write_adapter(serving=CANARY, lora={"rank": 8})
    await run.settle()
    run.world.cluster.dies_after_write = None
    return run


def end_of(run: Simulation) -> tuple[object, ...]:
    states = [(entry.number, entry.state) for entry in run.status().versions]
    return run.answers(), run.health(), run.status().served_version, states, sorted(run.world.trained)


WRITES = {False: 18, True: 12}
"""Of an undisturbed canary, by whether its version fails; :func:`test_every_write_of_a_canary_is_covered` checks."""


@cache
def undisturbed(failing: bool) -> tuple[tuple[object, ...], int]:
    run = asyncio.run(life(None, failing=failing))
    first = Simulation(replicas=2)
    asyncio.run(first.settle())
    return end_of(run), run.world.cluster.writes - first.world.cluster.writes


@pytest.mark.parametrize("failing", [False, True])
def test_every_write_of_a_canary_is_covered(failing: bool) -> None:
    assert undisturbed(failing)[1] == WRITES[failing]


@pytest.mark.parametrize(
    ("failing", "write"), [(failing, write) for failing in WRITES for write in range(1, WRITES[failing] + 1)]
)
def test_a_crash_after_any_write_of_a_canary_changes_nothing_in_the_end(failing: bool, write: int) -> None:
    assert end_of(asyncio.run(life(write, failing=failing))) == undisturbed(failing)[0]
