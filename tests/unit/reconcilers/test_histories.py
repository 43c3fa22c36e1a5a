"""Histories that nobody would think of: people, pods and the operator act in any order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
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
