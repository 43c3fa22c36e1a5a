"""What one swap costs the operator: it follows events and the pods' news, and looks at nobody else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from tests.agent_documents import said_of
from tests.unit.reconcilers.simulation import Simulation

from graft_operator import routing
from graft_operator.cluster import Change

TICKS_TO_SWAP = 10


class Events:
    """Passes that changes and news cause, as in the operator, instead of rounds over everything."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.passes: Counter[str] = Counter()
        self._waiting: dict[str, None] = {}
        simulation.world.cluster.sync()
        simulation.world.cache.on_change = self._changed

    async def run(self, names: Iterable[str] = ()) -> None:
        """Reconcile these, then whatever that changes, until nothing changes any more."""
        self.simulation.world.cluster.sync()
        self._waiting |= dict.fromkeys(names)
        while self._waiting:
            due, self._waiting = self._waiting, {}
            for name in due:
                self.passes[name] += 1
                await self.simulation.reconcile(name)

    def news(self, adapter: str) -> list[Any]:
        """Return what the pods say of the adapter."""
        return [said_of(pod.state(), adapter) for pod in self.simulation.world.pods.values()]

    def _changed(self, change: Change) -> None:
        self.simulation.world.reconcilers.invalidate(change)
        for key, _ in routing.keys_of(change, self.simulation.world.cache):
            self._waiting[key.name] = None


async def passes_of_a_swap(simulation: Simulation, name: str, number: int) -> Counter[str]:
    """Pin a version and count the passes over each object until the status says that it is served."""
    events = Events(simulation)
    simulation.write_adapter(name, version=number)
    await events.run()
    for _ in range(TICKS_TO_SWAP):
        before = events.news(name)
        simulation.world.tick()
        await events.run([name] if events.news(name) != before else [])
        if simulation.status(name).served_version == number:
            return events.passes
    raise AssertionError(f"version {number} is not served: {simulation.status(name).serving}")


@pytest.mark.parametrize("siblings", [0, 10])
async def test_a_swap_takes_a_few_passes_however_many_siblings_there_are(siblings: int) -> None:
    simulation = Simulation("support", *(f"sibling-{number}" for number in range(siblings)), replicas=2)
    await simulation.settle()
    simulation.write_adapter("support", training={"epochs": 5})
    await simulation.settle()
    passes = await passes_of_a_swap(simulation, "support", 1)
    assert passes.keys() == {"support", "tiny"}
    assert passes["support"] <= 7
    assert passes["tiny"] <= 4
