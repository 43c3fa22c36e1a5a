"""The operator dies at each single write of a whole life, begins anew with empty hands, and ends where it would have.

A write to the API server that took effect may be the last of a process; one to the bucket may fail to take effect, too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import pytest
from tests.unit.reconcilers.cluster_in_memory import OperatorKilledError
from tests.unit.reconcilers.moments import CANARY
from tests.unit.reconcilers.simulation import Simulation

EPISODES: dict[str, Callable[[Simulation], None]] = {
    "applied": lambda run: run.write_adapter(deletionPolicy="Delete"),
    "updated": lambda run: run.write_adapter(lora={"rank": 8}, preparation={"mode": "Always"}),
    "by canary": lambda run: run.write_adapter(lora={"rank": 4}, serving=CANARY),
    "rolled back": lambda run: run.write_adapter(lora={"rank": 2}, serving=CANARY),
    "taken back": lambda run: run.write_adapter(lora={"rank": 4}, serving=CANARY),
    "bumped": lambda run: run.write_base("b"),
    "bumped back": lambda run: run.write_base("a"),
    "deleted": lambda run: run.delete_adapter(),
}
FAILS = ("support", 4)
"""The version that the episode ``rolled back`` is about."""


@dataclass(slots=True)
class End:
    """What is to be the same, however often the operator died."""

    answers: dict[str, list[set[str]]] = field(default_factory=dict)
    """Who answers for each adapter after each episode."""
    health: list[dict[str, str]] = field(default_factory=list)
    versions: dict[tuple[str, int], bytes] = field(default_factory=dict)
    """Every version that was ever published, but for the time when: by adapter and number."""
    states: list[list[tuple[int, str]]] = field(default_factory=list)
    """What the adapter's status says of its versions, after each episode."""
    objects: list[tuple[str, str]] = field(default_factory=list)
    trained: list[tuple[str, str]] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    """Every Job that was ever made to prepare rows or to train."""
    bucket: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Deaths:
    """When the operator dies: after its n-th write to the API server, or at its n-th write to the bucket."""

    after_write: int | None = None
    before_put: int | None = None
    after_put: int | None = None


@dataclass(slots=True)
class Life:
    run: Simulation
    end: End = field(default_factory=End)
    puts: list[str] = field(default_factory=list)
    """Keys of what the operator has written into the bucket."""

    def meet(self, deaths: Deaths) -> None:
        """Let the operator die where it is meant to."""
        self.run.world.cluster.dies_after_write = deaths.after_write
        switches = self.run.world.registry.store.switches

        def before(key: str) -> None:
            self.puts.append(key)
            if len(self.puts) == deaths.before_put:
                raise OperatorKilledError

        def after(key: str) -> None:
            if len(self.puts) == deaths.after_put:
                raise OperatorKilledError

        switches.before_write, switches.after_write = before, after

    async def episode(self) -> None:
        """Come to rest and look around."""
        run, end = self.run, self.end
        await run.settle()
        for name in run.adapters():
            end.answers.setdefault(name, []).append(run.answers(name))
        end.health.append({name: run.health(name=name) for name in run.adapters()})
        if "support" in run.adapters():
            end.states.append([(item.number, item.state) for item in run.status().versions])
        for key, stored in run.world.registry.versions.items():
            content = stored.manifest.to_bytes()
            assert end.versions.setdefault(key, content) == content, f"version {key} has changed"


async def lived_through(deaths: Deaths) -> Life:
    """Return a life from the first apply to the deletion of one of two adapters."""
    run = Simulation("support", "sales")
    run.world.fails.add(FAILS)
    life = Life(run)
    life.meet(deaths)
    for act in EPISODES.values():
        act(run)
        await life.episode()
    end = life.end
    end.objects = sorted((kind, name) for kind, name in run.world.cluster.objects if kind != "Pod")
    end.trained = sorted(run.world.trained)
    # A probe of what the bucket promises leaves a few bytes where it is cut off.
    end.bucket = sorted(key for key in run.world.registry.store.objects if not key.startswith(".probe/"))
    own = [name for kind, name in run.world.cluster.created if kind == "Job"]
    end.jobs = sorted(name for name in own if "-train-" in name or "-prepare-" in name)
    return life


@cache
def undisturbed() -> Life:
    """Return a life without a death."""
    return asyncio.run(lived_through(Deaths()))


def check(deaths: Deaths) -> None:
    """Live with these deaths, and compare the end."""
    expected, found = undisturbed().end, asyncio.run(lived_through(deaths)).end
    assert found.answers == expected.answers
    assert found.health == expected.health
    assert found.states == expected.states
    assert found.versions == expected.versions, "no version is lost, and none is another one"
    assert found.trained == expected.trained, "nothing is trained twice"
    assert found.jobs == expected.jobs, "no recipe has a second Job"
    assert found.objects == expected.objects
    assert found.bucket == expected.bucket


WRITES, PUTS = 172, 27
"""Of an undisturbed life; :func:`test_every_write_is_covered` holds them to the truth."""


def test_every_write_is_covered() -> None:
    life = undisturbed()
    assert (life.run.world.cluster.writes, len(life.puts)) == (WRITES, PUTS)


def test_the_life_is_one_in_which_all_of_it_happens() -> None:
    end = undisturbed().end
    assert end.answers["support"] == [{"v1@a"}, {"v2@a"}, {"v3@a"}, {"v3@a"}, {"v3@a"}, {"v5@b"}, {"v3@a"}]
    assert end.answers["sales"][-1] == {"v1@a"}
    assert (4, "RolledBack") in end.states[-1]
    assert not [key for key in end.bucket if "/support/" in key]


EACH = int(os.environ.get("DEATHS", "8"))
"""One of so many deaths is tried; ``make test-histories`` tries each."""


@pytest.mark.parametrize("write", range(1, WRITES + 1, EACH))
def test_a_death_after_any_write_to_the_api_server_changes_nothing_in_the_end(write: int) -> None:
    check(Deaths(after_write=write))


@pytest.mark.parametrize("put", range(1, PUTS + 1, EACH))
def test_a_death_before_any_write_to_the_bucket_changes_nothing_in_the_end(put: int) -> None:
    check(Deaths(before_put=put))


@pytest.mark.parametrize("put", range(min(2, EACH), PUTS + 1, EACH))
def test_a_death_after_any_write_to_the_bucket_changes_nothing_in_the_end(put: int) -> None:
    check(Deaths(after_put=put))
