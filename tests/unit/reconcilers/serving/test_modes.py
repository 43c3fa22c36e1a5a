"""Changes of serving.mode: in every step somebody answers, on the base's engine or as a merged model."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import pytest
from tests.unit.reconcilers.merged_deployment import answers_as, is_merged
from tests.unit.reconcilers.simulation import Simulation

from graft_operator.cluster.errors import Forbidden

MERGED: dict[str, Any] = {"serving": {"mode": "Merged"}}
SIDE_BY_SIDE: dict[str, Any] = {"serving": {"mode": "MultiAdapter"}}
URL = "http://graft-support-merged.team-a.svc:8000"


def merged(run: Simulation) -> set[str]:
    """Return who answers at the merged model."""
    return answers_as(run.world.cluster, "support")


def merged_objects(run: Simulation) -> list[str]:
    """Return the kinds of what is there for the merged model."""
    return [kind for (kind, _), body in run.world.cluster.objects.items() if is_merged_object(body)]


def is_merged_object(body: dict[str, Any]) -> bool:
    return "labels" in body["metadata"] and is_merged(body)


async def steps(run: Simulation) -> list[tuple[str, str]]:
    """Return who answers on the engine and who merged, as often as that changes, until nothing happens any more."""
    seen: list[tuple[str, str]] = []
    for _ in range(40):
        await run.round()
        now = (",".join(sorted(run.answers())), ",".join(sorted(merged(run))))
        if now not in seen[-1:]:
            seen.append(now)
    return seen


async def test_the_engine_goes_on_until_the_merged_model_answers_and_clients_have_had_time_to_follow() -> None:
    run = Simulation()
    await run.settle()
    run.write_adapter(**MERGED)
    assert await steps(run) == [("v1@a", "nobody"), ("v1@a", "v2"), ("nobody", "v2")]
    assert run.health() == "Current"
    assert run.status().serving.endpoint == URL
    assert run.status().served_version == 2


async def test_the_merged_model_goes_on_until_the_engine_answers_with_its_adapter_which_nobody_trains_again() -> None:
    run = Simulation(replicas=2)
    run.write_adapter(**MERGED)
    await run.settle()
    run.write_adapter(**SIDE_BY_SIDE)
    # The second pod is slower. One that has not loaded the alias yet does not answer, and so the endpoint stays.
    assert await steps(run) == [("nobody", "v1"), ("nobody,v1@a", "v1"), ("v1@a", "v1"), ("v1@a", "nobody")]
    assert merged_objects(run) == []
    assert run.health() == "Current"
    assert run.status().serving.endpoint is None
    assert len(run.world.trained) == 1


async def test_a_version_that_fails_the_gate_changes_nothing_about_how_the_one_before_is_served() -> None:
    run = Simulation()
    await run.settle()
    run.world.losses[2] = 3.0
    run.write_adapter(**MERGED)
    await run.settle()
    assert (run.answers(), merged(run)) == ({"v1@a"}, {"nobody"})
    assert run.reason("Ready") == "Serving"
    assert run.health() == "Failed"
    run.write_adapter(**SIDE_BY_SIDE)
    await run.settle()
    assert run.health() == "Current"
    assert run.answers() == {"v1@a"}
    assert len(run.world.trained) == 2


async def test_an_engine_that_refuses_the_adapter_leaves_the_merged_model_alone() -> None:
    run = Simulation()
    run.write_adapter(**MERGED)
    await run.settle()
    run.world.refuses.add(("support", 1))
    run.write_adapter(**SIDE_BY_SIDE)
    await run.settle()
    assert merged(run) == {"v1"}
    assert run.reason("Ready") == "Serving"
    assert run.reason("Stalled") == "VersionRefused"
    run.write_adapter(**MERGED)
    await run.settle()
    assert run.health() == "Current"
    assert run.answers() == {"nobody"}


@pytest.mark.parametrize("rounds", range(14))
async def test_it_may_go_back_at_any_moment(rounds: int) -> None:
    run = Simulation()
    await run.settle()
    run.write_adapter(**MERGED)
    await run.rounds(rounds)
    run.write_adapter(**SIDE_BY_SIDE)
    await run.settle()
    assert run.health() == "Current"
    assert "nobody" not in run.answers()
    assert merged_objects(run) == []


async def test_a_base_bump_in_the_middle_leaves_nobody_without_an_answer() -> None:
    run = Simulation()
    await run.settle()
    run.write_adapter(**MERGED)
    await run.rounds(2)
    run.write_base("b")
    await run.settle()
    assert run.revisions() == {"B"}
    assert merged(run) == {"v3"}  # the second was trained on the base before
    run.write_adapter(**SIDE_BY_SIDE)
    run.write_base("a")
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert merged_objects(run) == []
    assert run.health() == "Current"


async def lived_through(dies_after_write: int | None = None) -> Simulation:
    """Return the end of a life as a merged model between two on the engine."""
    run = Simulation()
    await run.settle()
    run.world.cluster.written.clear()
    run.world.cluster.dies_after_write = dies_after_write
    run.write_adapter(**MERGED)
    await run.settle()
    run.write_adapter(**SIDE_BY_SIDE)
    await run.settle()
    return run


def end_of(run: Simulation) -> dict[str, object]:
    """Return what people would notice."""
    return {
        "answers": run.answers(),
        "merged": merged_objects(run),
        "health": run.health(),
        "serving": run.status().serving,
        "trained": sorted(run.world.trained),
    }


WRITES = 22
"""Of an undisturbed life; :func:`test_every_write_is_covered` holds it to the truth."""


@cache
def undisturbed() -> tuple[dict[str, object], int]:
    """Return the end of a life without a crash, and the number of its writes."""
    run = asyncio.run(lived_through())
    return end_of(run), run.world.cluster.writes


def test_every_write_is_covered() -> None:
    end, writes = undisturbed()
    assert writes == WRITES
    assert end["answers"] == {"v2@a"}


@pytest.mark.parametrize("write", range(1, WRITES + 1))
def test_a_crash_after_any_write_changes_nothing_in_the_end(write: int) -> None:
    end, _ = undisturbed()
    assert end_of(asyncio.run(lived_through(dies_after_write=write))) == end


@pytest.mark.parametrize("after", [SIDE_BY_SIDE, {"serving": {"mode": "None"}}], ids=["side by side", "not served"])
@pytest.mark.parametrize("kind", ["Service", "Deployment", "PodDisruptionBudget"])
async def test_a_merged_model_that_may_not_be_deleted_is_not_forgotten(kind: str, after: dict[str, Any]) -> None:
    run = Simulation()
    run.write_adapter(**MERGED)
    await run.settle()
    run.world.cluster.keeps[f"{kind}/graft-support-merged"] = Forbidden("denied by policy")
    run.write_adapter(**after)
    await run.settle()
    assert kind in merged_objects(run)
    assert run.reason("Stalled") == "ObjectRefused"
    run.world.cluster.keeps.clear()
    run.world.restart_operator()
    await run.settle()
    assert merged_objects(run) == []
    assert run.health() == "Current"
