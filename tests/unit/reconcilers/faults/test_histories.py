"""Histories that nobody would think of: people, pods and the operator act in any order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.reconcilers.faults import acts
from tests.unit.reconcilers.merged_deployment import answers_as
from tests.unit.reconcilers.simulation import Simulation

Act = Callable[[Simulation], None]


def rank(value: int) -> Act:
    return lambda run: run.write_adapter(lora={"rank": value})


def base(letter: str) -> Act:
    return lambda run: run.write_base(letter)


def suspend(value: bool) -> Act:
    return lambda run: run.write_adapter(suspend=value)


def rollout(settings: dict[str, object]) -> Act:
    return lambda run: run.write_adapter(serving={"rollout": settings})


def mode(value: str) -> Act:
    return lambda run: run.write_adapter(serving={"mode": value})


def prepared(mode: str) -> Act:
    return lambda run: run.write_adapter(preparation={"mode": mode})


def replicas(value: int) -> Act:
    return lambda run: run.write_base(serving={"replicas": value})


def reap_jobs(run: Simulation) -> None:
    for job in run.world.cluster.of_kind("Job"):
        if job.get("status"):
            run.world.cluster.remove(("Job", job["metadata"]["name"]))


def restart(run: Simulation) -> None:
    run.world.restart_operator()


def wait(run: Simulation) -> None:
    """Nothing happens."""


ACTS: dict[str, Act] = {
    "rank 4": rank(4),
    "rank 8": rank(8),
    "base a": base("a"),
    "base b": base("b"),
    "base c": base("c"),
    "rows first": prepared("Always"),
    "rows in the training": prepared("Never"),
    "merged": mode("Merged"),
    "side by side": mode("MultiAdapter"),
    "not served": mode("None"),
    "suspend": suspend(True),
    "resume": suspend(False),
    "canary": rollout({"strategy": "Canary", "limits": {"waitSeconds": 0}}),
    "no canary": rollout({}),
    "one replica": replicas(1),
    "two replicas": replicas(2),
    "jobs are reaped": reap_jobs,
    "operator restarts": restart,
    "wait": wait,
}

histories = st.lists(st.tuples(st.sampled_from(sorted(ACTS)), st.integers(0, 4), st.booleans()), min_size=1, max_size=8)


async def live(history: list[tuple[str, int, bool]]) -> Simulation:
    """Let each act be followed by some rounds, in which the base or the adapters come first."""
    run = Simulation()
    await run.settle()
    for act, rounds, adapters_first in history:
        ACTS[act](run)
        for _ in range(rounds):
            await run.round(["support", "tiny"] if adapters_first else ["tiny", "support"])
    suspend(False)(run)
    await run.settle()
    return run


@settings(max_examples=25, deadline=None, derandomize=True)
@given(history=histories)
def test_every_history_ends_with_the_current_spec_on_the_current_base(history: list[tuple[str, int, bool]]) -> None:
    run = asyncio.run(live(history))
    body = run.world.cluster.objects["LoraAdapter", "support"]
    letter = run.world.cluster.objects["BaseModel", "tiny"]["spec"]["source"]["s3"]["uri"][-1]
    current = run.world.registry.of_recipe("support", run.status().recipe or "")
    assert current is not None
    assert current.manifest.base.revision == f"revision-{letter.upper()}"
    served_as = body["spec"].get("serving", {}).get("mode", "MultiAdapter")
    version = f"v{current.manifest.number}"
    assert run.answers() == ({f"{version}@{letter}"} if served_as == "MultiAdapter" else {"nobody"})
    assert answers_as(run.world.cluster, "support") == ({version} if served_as == "Merged" else {"nobody"})
    assert run.health() == "Current", body["status"]["conditions"]
    assert run.revisions() == {letter.upper()}


HISTORIES, LONGEST = int(os.environ.get("HISTORIES", "8")), int(os.environ.get("ACTS", "10"))
"""``make test-histories`` tries many, and long ones."""


async def random_history(seed: int, told: list[str]) -> Simulation:
    """Return the end of a life of two adapters in which anything happens; ``told`` gets what."""
    rng = Random(seed)
    run = Simulation("support", "sales", replicas=rng.choice([1, 2]))
    await run.settle()
    for _ in range(rng.randint(2, LONGEST)):
        act, name = rng.choice(sorted(acts.ACTS)), rng.choice(run.adapters())
        acts.ACTS[act](run, rng, name)
        rounds, adapters_first = rng.randint(0, 4), rng.random() < 0.5
        told.append(f"{act} {name} +{rounds}{' adapters first' if adapters_first else ''}")
        for _ in range(rounds):
            order = ["tiny", *run.adapters()]
            await run.round(order[::-1] if adapters_first else order)
    run.world.registry.is_away = False
    run.world.cluster.refuses.clear()
    for name in run.adapters():
        run.write_adapter(name, suspend=False, version=None)
        acts.serving(run, name, rollout={})
    told.append("all is taken back")
    await run.settle()
    return run


def check_end(run: Simulation) -> None:
    """All that is not given up is served from the current spec on the current base, in the wanted way, and says so."""
    letter = run.world.cluster.objects["BaseModel", "tiny"]["spec"]["source"]["s3"]["uri"][-1]
    revisions = {letter.upper()}
    for name in run.adapters():
        status, mode = run.status(name), acts.mode(run, name)
        current = run.world.registry.of_recipe(name, status.recipe or "")
        assert current is not None, f"{name}: there is nothing of its recipe"
        assert current.manifest.base.revision == f"revision-{letter.upper()}", name
        entry = next(item for item in status.versions if item.number == current.manifest.number)
        if entry.state != "Published":  # a person has aborted it
            revisions |= run.revisions()
            continue
        version = f"v{current.manifest.number}"
        assert run.answers(name) == ({f"{version}@{letter}"} if mode == "MultiAdapter" else {"nobody"}), name
        assert answers_as(run.world.cluster, name) == ({version} if mode == "Merged" else {"nobody"}), name
        assert run.health(name=name) == "Current", (name, status.conditions)
    assert run.revisions() == revisions
    assert len(set(run.world.trained)) == len(run.world.trained), "a recipe was trained twice"


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_whatever_happens_in_a_life_ends_well(seed: int) -> None:
    told: list[str] = []
    try:
        run = asyncio.run(random_history(seed, told))
        check_end(run)
    except Exception as error:
        error.add_note(f"seed {seed}: {told}")
        raise
