"""Moments in a life that tests begin at, and what they ask of it there."""

from __future__ import annotations

from typing import Any

from tests.unit.reconcilers.simulation import Simulation

CANARY: dict[str, Any] = {"rollout": {"strategy": "Canary", "limits": {"waitSeconds": 0}}}


async def until_training(run: Simulation, name: str = "support") -> str:
    """Let time pass until the adapter has a training Job; return its name."""
    for _ in range(20):
        if found := training_jobs(run, name):
            return found[0]
        await run.round()
    raise AssertionError("nothing is trained")


async def until_split(run: Simulation, name: str = "support") -> None:
    """Let time pass until each pod splits requests between two versions, and nobody has looked at that yet."""
    for _ in range(40):
        await run.round()
        states = [pod.state().adapter(name) for pod in run.world.pods.values()]
        if states and all(state is not None and len(state.active) == 2 for state in states):
            return
    raise AssertionError("the canary never began")


def training_jobs(run: Simulation, name: str = "support") -> list[str]:
    """Return the names of the adapter's training Jobs."""
    return [job for job in run.jobs() if job.startswith(f"{name}-train")]


def told(run: Simulation, condition: str, name: str = "support") -> tuple[str, str]:
    """Return status and reason of a condition."""
    found = next(item for item in run.status(name).conditions if item.type == condition)
    return found.status, found.reason


def parts(run: Simulation, name: str = "support") -> set[tuple[tuple[int, int], ...]]:
    """Return how the pods split the adapter's requests: numbers of versions with their percentages."""
    states = [pod.state().adapter(name) for pod in run.world.pods.values()]
    return {tuple((share.number, share.weight) for share in state.active) for state in states if state is not None}
