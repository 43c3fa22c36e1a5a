"""Adapters that are not on every pod: a base holds more of them than one pod does, and every pod answers for each."""

from __future__ import annotations

import pytest
from tests.unit.reconcilers.simulation import Simulation

from graft_serving.versions import VersionState

NAMES = tuple(f"adapter-{number}" for number in range(5))
ON_ONE = {"replicas": 1}


async def placed(replicas: int, *names: str, serving: dict[str, object] | None = None) -> Simulation:
    """Return a settled life in which each adapter is on one pod, if nothing else is said."""
    run = Simulation(*names, replicas=replicas)
    for name in names:
        run.write_adapter(name, serving=serving or ON_ONE)
    await run.settle()
    return run


def holders(run: Simulation, name: str) -> list[str]:
    """Return the pods that have loaded the adapter."""
    return sorted(
        pod.name
        for pod in run.world.pods.values()
        if any(key.adapter == name and state is VersionState.PROVEN for key, state in pod.states.items())
    )


def all_answer(run: Simulation, version: str = "v1@a") -> bool:
    return all(run.answers(name) == {version} for name in run.adapters())


async def test_one_pod_holds_an_adapter_and_all_answer() -> None:
    run = await placed(3, "support")
    assert len(holders(run, "support")) == 1
    assert all_answer(run)
    assert (run.status().serving.desired, run.status().serving.loaded) == (1, 1)
    assert run.health() == "Current"


async def test_the_pods_together_hold_more_than_one_of_them_and_what_has_no_place_says_so() -> None:
    run = Simulation(*NAMES, replicas=2)
    run.write_base(serving={"replicas": 2, "maxLoadedAdapters": 2, "maxActiveAdapters": 1})
    for name in NAMES:
        run.write_adapter(name, serving=ON_ONE)
    await run.settle()
    waiting = [name for name in NAMES if run.reason("Served", name) == "NoFreeSlot"]
    assert len(waiting) == 1
    assert all(len(holders(run, name)) == (name not in waiting) for name in NAMES)
    run.write_base(serving={"replicas": 3, "maxLoadedAdapters": 2, "maxActiveAdapters": 1})
    await run.settle()
    assert all_answer(run)
    assert all(run.health(name=name) == "Current" for name in NAMES)


@pytest.mark.parametrize("serving", [ON_ONE, {"replicas": 2}])
async def test_pods_that_come_take_adapters_over_and_no_answer_is_lost(serving: dict[str, object]) -> None:
    run = await placed(2, *NAMES, serving=serving)
    run.write_base(serving={"replicas": 4})
    await run.settle()
    assert all(len(holders(run, name)) == serving["replicas"] for name in NAMES)
    assert len({pod for name in NAMES for pod in holders(run, name)}) > 2
    assert all_answer(run)


async def test_a_pod_that_is_lost_is_stood_in_for_until_it_is_back() -> None:
    run = await placed(2, "support")
    (lost,) = holders(run, "support")
    run.answered.clear()  # nothing can answer at once for an adapter whose only pod is lost
    run.world.kill_pod(lost)
    await run.settle()
    assert all_answer(run)
    assert holders(run, "support") == [lost]  # in this world a pod comes back under its name


async def test_a_pod_on_its_way_out_answers_until_another_one_does() -> None:
    run = await placed(3, "support")
    (leaving,) = holders(run, "support")
    run.world.cluster.objects["Pod", leaving]["metadata"]["deletionTimestamp"] = run.world.now.isoformat()
    await run.rounds(8)
    (successor,) = holders(run, "support")
    assert successor != leaving
    run.world.kill_pod(leaving)
    await run.settle()
    assert all_answer(run)


async def test_a_new_version_and_a_new_base_take_over_where_the_adapter_is() -> None:
    run = await placed(3, "support")
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    assert all_answer(run, "v2@a")
    run.write_base("b")
    await run.settle()
    assert all_answer(run, "v3@b")
    assert len(holders(run, "support")) == 1


async def test_a_canary_is_split_by_the_pods_that_hold_it() -> None:
    canary = {"replicas": 1, "rollout": {"strategy": "Canary", "limits": {"waitSeconds": 0}}}
    run = await placed(3, "support", serving=canary)
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    assert all_answer(run, "v2@a")
    assert run.status().serving.previous is None


async def test_more_and_fewer_replicas_are_a_matter_of_the_spec() -> None:
    run = await placed(3, "support")
    for serving, pods in (({"replicas": 2}, 2), ({}, 3), (ON_ONE, 1)):
        run.write_adapter(serving=serving)
        await run.settle()
        assert len(holders(run, "support")) == pods
        assert all_answer(run)


@pytest.mark.parametrize("write", range(1, 9))
async def test_an_operator_that_dies_while_adapters_move_loses_no_answer(write: int) -> None:
    run = await placed(2, *NAMES[:3])
    run.world.cluster.dies_after_write = run.world.cluster.writes + write
    run.write_base(serving={"replicas": 3})
    await run.settle()
    assert all(len(holders(run, name)) == 1 for name in NAMES[:3])
    assert all_answer(run)
