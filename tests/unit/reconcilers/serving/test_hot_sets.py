"""Adapters that are loaded on demand: a base has more of them than places, and holds those that were asked last."""

from __future__ import annotations

import pytest
from tests.unit.reconcilers.simulation import Simulation
from tests.unit.reconcilers.world import SECONDS_PER_TICK

from graft_operator.api.base_model import BaseModelStatus

NAMES = tuple(f"adapter-{number}" for number in range(4))
ON_DEMAND = {"residency": "OnDemand", "rollout": {"rollbackWindowSeconds": 0}}
IDLE_SECONDS = 10 * SECONDS_PER_TICK


def write_base(run: Simulation, source: str | None = None, *, pods: int = 1, places: int = 2) -> None:
    serving = {"replicas": pods, "maxLoadedAdapters": places, "maxActiveAdapters": 1}
    run.write_base(source, serving={**serving, "onDemandIdleSeconds": IDLE_SECONDS})


async def sharing(*names: str, pods: int = 1, places: int = 2, **serving: object) -> Simulation:
    """Return a settled life of adapters on demand that share the base's places."""
    run = Simulation(*names, replicas=pods)
    write_base(run, pods=pods, places=places)
    for name in names:
        run.write_adapter(name, serving=ON_DEMAND | serving)
    await run.settle()
    return run


def ask(run: Simulation, name: str) -> None:
    """Let a client ask for the adapter now, at one pod."""
    next(iter(run.world.pods.values())).asked[name] = run.world.now


def loaded(run: Simulation) -> set[str]:
    return {name for name in run.adapters() if "nobody" not in run.answers(name)}


def absent(run: Simulation) -> set[str]:
    return {name for name in run.adapters() if run.reason("Ready", name) == "NotResident"}


def base_status(run: Simulation) -> BaseModelStatus:
    return BaseModelStatus.model_validate(run.world.cluster.objects["BaseModel", "tiny"]["status"])


def statuses(run: Simulation, name: str) -> dict[str, str]:
    return {condition.type: condition.status for condition in run.status(name).conditions}


async def test_those_without_a_place_say_so_and_nothing_is_wrong_with_them() -> None:
    run = await sharing(*NAMES)
    assert loaded(run) == {"adapter-0", "adapter-1"}
    assert absent(run) == {"adapter-2", "adapter-3"}
    told = statuses(run, "adapter-3")
    assert (told["Ready"], told["Served"], told["UpToDate"]) == ("False", "False", "True")
    assert (told["Stalled"], told["Reconciling"]) == ("False", "False")
    status = run.status("adapter-3")
    assert (status.served_version, status.candidate_version, status.serving.loaded) == (None, None, 0)
    counts = base_status(run).adapters
    assert (counts.total, counts.up_to_date, counts.on_demand, counts.not_resident) == (4, 4, 4, 2)
    assert run.health("BaseModel", "tiny") == "Current"


async def test_one_that_is_asked_is_loaded_and_the_one_that_nobody_asks_for_gives_way() -> None:
    run = await sharing(*NAMES)
    ask(run, "adapter-1")
    await run.rounds(20)
    ask(run, "adapter-3")
    await run.settle()
    assert loaded(run) == {"adapter-1", "adapter-3"}
    assert absent(run) == {"adapter-0", "adapter-2"}
    assert run.health(name="adapter-3") == "Current"


async def test_one_that_is_asked_waits_while_the_others_are_in_use_and_comes_when_one_is_not() -> None:
    run = await sharing(*NAMES)
    for name in ("adapter-0", "adapter-1"):
        ask(run, name)
    await run.round()
    ask(run, "adapter-3")
    await run.rounds(5)
    assert absent(run) == {"adapter-2", "adapter-3"}
    ask(run, "adapter-1")
    await run.settle()
    assert loaded(run) == {"adapter-1", "adapter-3"}


async def test_a_version_that_is_published_for_one_without_a_place_is_what_is_loaded_next() -> None:
    run = await sharing(*NAMES)
    run.write_adapter("adapter-3", lora={"rank": 8})
    await run.settle()
    target, previous = run.status("adapter-3").serving.target, run.status("adapter-3").serving.previous
    assert target is not None
    assert (target.number, previous) == (2, None)
    assert statuses(run, "adapter-3")["UpToDate"] == "True"
    ask(run, "adapter-3")
    await run.settle()
    assert run.answers("adapter-3") == {"v2@a"}


async def sharing_with_a_refused_version(*refused: int) -> Simulation:
    """Return the end of new versions of one without a place, which the pods refuse once it is asked.

    Version 1 has been served; those from 2 on were published while the adapter was not loaded.
    """
    run = await sharing(*NAMES)
    ask(run, "adapter-3")
    await run.settle()
    assert run.answers("adapter-3") == {"v1@a"}
    await run.rounds(20)
    for name in ("adapter-0", "adapter-1"):
        ask(run, name)
    await run.settle()
    assert "adapter-3" in absent(run)
    for rank in range(len(refused)):
        run.write_adapter("adapter-3", lora={"rank": 8 + rank})
        await run.settle()
    run.world.refuses |= {("adapter-3", number) for number in refused}
    await run.rounds(20)
    ask(run, "adapter-3")
    await run.settle()
    return run


async def test_a_version_that_is_refused_when_it_is_asked_gives_way_to_the_one_that_was_served_before() -> None:
    run = await sharing_with_a_refused_version(2)
    assert run.answers("adapter-3") == {"v1@a"}
    assert (run.reason("Ready", "adapter-3"), run.reason("Stalled", "adapter-3")) == ("Serving", "VersionRefused")
    assert run.reason("UpToDate", "adapter-3") == "VersionRefused"
    assert {version.number: version.state for version in run.status("adapter-3").versions} == {
        2: "Refused",
        1: "Published",
    }


async def test_one_that_was_published_and_never_served_is_nothing_to_fall_back_on() -> None:
    run = await sharing_with_a_refused_version(2, 3)
    assert run.answers("adapter-3") == {"v1@a"}
    assert run.status("adapter-3").versions[1].state == "Published"


async def test_a_refused_version_is_tried_again_with_another_spec() -> None:
    run = await sharing_with_a_refused_version(2)
    run.world.refuses.clear()
    run.write_adapter("adapter-3", lora={"rank": 4})
    await run.settle()
    assert run.answers("adapter-3") == {"v3@a"}
    assert run.health(name="adapter-3") == "Current"


async def test_a_first_version_that_is_refused_has_nothing_before_it() -> None:
    run = await sharing("adapter-0")
    run.world.refuses.add(("adapter-1", 1))
    run.write_adapter("adapter-1", serving=ON_DEMAND)
    await run.settle()
    assert (run.answers("adapter-1"), run.reason("Stalled", "adapter-1")) == ({"nobody"}, "VersionRefused")


async def test_another_base_retires_the_old_one_though_not_all_adapters_have_a_place() -> None:
    run = await sharing(*NAMES)
    ask(run, "adapter-2")
    await run.settle()
    write_base(run, "b")
    await run.settle()
    assert run.revisions() == {"B"}
    assert len(loaded(run)) == 2
    assert "adapter-2" in loaded(run)
    assert all(statuses(run, name)["UpToDate"] == "True" for name in NAMES)
    ask(run, sorted(absent(run))[0])
    await run.settle()
    assert len(loaded(run)) == 2


async def test_a_place_that_gets_free_is_taken_and_more_places_load_all() -> None:
    run = await sharing(*NAMES)
    run.delete_adapter("adapter-0")
    await run.settle()
    assert loaded(run) == {"adapter-1", "adapter-2"}
    write_base(run, places=3)
    await run.settle()
    assert absent(run) == set()


async def test_one_that_is_to_be_loaded_for_good_takes_a_place_and_gives_it_back() -> None:
    run = await sharing(*NAMES)
    for name in ("adapter-0", "adapter-1"):
        ask(run, name)
    run.write_adapter("adapter-3", serving={})
    await run.settle()
    assert loaded(run) == {"adapter-0", "adapter-3"}
    run.write_adapter("adapter-3", serving=ON_DEMAND)
    ask(run, "adapter-0")
    ask(run, "adapter-1")
    await run.settle()
    assert loaded(run) == {"adapter-0", "adapter-1"}


async def test_each_on_one_pod_of_two() -> None:
    run = await sharing(*NAMES, "adapter-4", "adapter-5", pods=2, replicas=1)
    assert len(loaded(run)) == 4
    (one, *_) = absent(run)
    ask(run, one)
    await run.settle()
    assert one in loaded(run)
    assert len(loaded(run)) == 4


async def test_one_that_comes_from_a_model_of_its_own_lets_that_go() -> None:
    run = await sharing(*NAMES)
    run.write_adapter("adapter-3", serving={"mode": "Merged"})
    await run.settle()
    run.write_adapter("adapter-3", serving=ON_DEMAND)
    await run.settle()
    assert run.status("adapter-3").serving.former is None
    assert run.reason("Ready", "adapter-3") == "NotResident"


@pytest.mark.parametrize("write", range(1, 7))
async def test_an_operator_that_dies_while_places_change_hands_finds_its_way(write: int) -> None:
    run = await sharing(*NAMES)
    ask(run, "adapter-3")
    ask(run, "adapter-1")
    run.world.cluster.dies_after_write = run.world.cluster.writes + write
    await run.settle()
    assert loaded(run) == {"adapter-1", "adapter-3"}
    assert absent(run) == {"adapter-0", "adapter-2"}
