"""Hours of a cluster's life in minutes: many swaps, many deaths, under requests whose every answer is checked.

Run by ``make test-soak``. ``GRAFT_SOAK_SWAPS`` and ``GRAFT_SOAK_KILLS`` say how many.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from demo import release
from demo.cluster import CommandFailedError, Object
from demo.goals import serves_only_current
from tests.e2e.figures import Figures
from tests.e2e.nodes import on_node
from tests.e2e.published import Published, Publisher
from tests.e2e.serving import ENGINE_SECONDS, REPLICAS, Serving
from tests.e2e.tenant import BASE

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

SWAPS = int(os.environ.get("GRAFT_SOAK_SWAPS", "200"))
KILLS = int(os.environ.get("GRAFT_SOAK_KILLS", "20"))
NAMES = ("one", "two", "three", "four")
VERSIONS_EACH = 3
RATE = 8.0
QUIET_SECONDS = 30.0
SWAP_SECONDS = 60.0


class Fleet:
    """Four adapters on one base, each with a few versions that are told apart by their answers."""

    def __init__(self, serving: Serving, models: Path, questions: Sequence[str]) -> None:
        self.serving = serving
        self.questions = list(questions)
        publisher = Publisher.of(serving.tenant, models, serving.tenant.wait_resolved())
        self.versions: dict[str, list[Published]] = {
            name: [publisher.publish(name, 100 * position + seed, questions) for seed in range(VERSIONS_EACH)]
            for position, name in enumerate(NAMES)
        }
        self.served = dict.fromkeys(NAMES, 0)

    @property
    def expected(self) -> dict[str, dict[str, list[str]]]:
        """Version → question → right answers: one each."""
        every = itertools.chain.from_iterable(self.versions.values())
        return {f"{version.adapter}@v{version.number}": only(version.answers) for version in every}

    def serve(self, name: str, position: int) -> float:
        """Pin one of an adapter's versions; return the seconds until it answers on every replica."""
        self.served[name] = position
        return self.serving.tenant.pin(name, self.versions[name][position].number, timeout=SWAP_SECONDS)

    def ask_for_next(self, name: str) -> None:
        """Pin an adapter's next version without waiting for it."""
        self.served[name] = position = self.next_of(name)
        tenant = self.serving.tenant
        tenant.apply(tenant.adapter(name, version=self.versions[name][position].number))

    def next_of(self, name: str) -> int:
        """Return the position of the version that follows what is served."""
        return (self.served[name] + 1) % VERSIONS_EACH

    def load(self) -> Any:
        """Return a block during which all four are asked continuously, and every answer is checked."""
        serving = self.serving
        asked = dict.fromkeys(NAMES, self.questions)
        return serving.client.load(serving.url, asked, rate=RATE, concurrency=8, expected=self.expected)

    def is_settled(self) -> bool:
        """Whether every pod holds exactly the versions that are wanted; one that does not answer holds none."""
        try:
            return all(
                self.serving.loaded_versions(name) == [[self.versions[name][position].number]] * REPLICAS
                for name, position in self.served.items()
            )
        except CommandFailedError:
            return False

    def wait_settled(self, timeout: float = ENGINE_SECONDS) -> float:
        """Wait until every pod holds exactly what is wanted; return the seconds."""
        begun = time.monotonic()
        while not self.is_settled():
            assert time.monotonic() - begun < timeout, "the pods do not hold what is wanted"
            time.sleep(1)
        return time.monotonic() - begun


def only(answers: Mapping[str, str]) -> dict[str, list[str]]:
    """Return question → the one right answer, as the load wants it."""
    return {question: [text] for question, text in answers.items()}


def assert_every_answer_was_right(report: Object) -> None:
    """Check that nothing failed and that each version gave its own answers."""
    assert report["failed"] == 0, report["failures"]
    assert report["wrong"] == 0, report["wrongAnswers"]
    assert report["checked"] > report["requests"] / 4, "too few answers were beyond doubt: the check would be idle"


@pytest.fixture(scope="module")
def fleet(serving: Serving, models: Path) -> Fleet:
    """Serve the first version of each adapter."""
    fleet = Fleet(serving, models, serving.questions["topic"][:12])
    for name in NAMES:
        fleet.serve(name, 0)
    fleet.wait_settled()
    return fleet


def test_swaps_lose_nothing_and_mix_nothing_up(fleet: Fleet, figures: Figures) -> None:
    with fleet.load() as load:
        time.sleep(QUIET_SECONDS)
        quiet = load.finish()
    seconds = []
    with fleet.load() as load:
        for swap in range(SWAPS):
            name = NAMES[swap % len(NAMES)]
            seconds.append(fleet.serve(name, fleet.next_of(name)))
        report = load.finish()
    seconds.sort()
    figures.note(f"swaps under load, {SWAPS}: requests", report["requests"], "requests")
    figures.note("swap applied → every replica answers with it, median", seconds[len(seconds) // 2], "s")
    figures.note("swap applied → every replica answers with it, slowest", seconds[-1], "s")
    figures.note("p99 of a quiet run", quiet["p99"], "ms")
    figures.note("p99 while swapping", report["p99"], "ms")
    assert_every_answer_was_right(report)
    fleet.wait_settled()
    assert report["p99"] < 2 * quiet["p99"], "the siblings of a swap notice it"


VICTIMS = ("engine", "agent", "pod", "operator")


def test_after_every_death_the_pods_hold_what_is_wanted(fleet: Fleet, figures: Figures) -> None:
    chance = random.Random(7)
    recoveries: dict[str, list[float]] = {victim: [] for victim in VICTIMS}
    for victim in VICTIMS:
        with fleet.load() as load:
            for _ in range(KILLS):
                name = chance.choice(NAMES)
                fleet.ask_for_next(name)
                time.sleep(chance.uniform(0, 2))
                kill(fleet.serving, victim, chance)
                recoveries[victim].append(fleet.wait_settled())
            report = load.finish()
        assert report["wrong"] == 0, (victim, report["wrongAnswers"])
        figures.note(f"{KILLS} deaths of {victim}: slowest recovery", max(recoveries[victim]), "s")
        figures.note(f"{KILLS} deaths of {victim}: failed requests", report["failed"], "requests")
        figures.note(f"{KILLS} deaths of {victim}: requests", report["requests"], "requests")
    fleet.serving.tenant.wait_for_base(serves_only_current, "served on both replicas", ENGINE_SECONDS)


def kill(serving: Serving, victim: str, chance: random.Random) -> None:
    """End one container by SIGKILL, one pod without a word, or the operator."""
    cluster, tenant = serving.tenant.cluster, serving.tenant
    if victim == "operator":
        gone = ("--all", "--grace-period=0", "--force", "--wait=false")
        cluster.kubectl("delete", "pod", "-n", release.NAMESPACE, *gone)
        return
    pods = [pod for pod in tenant.pods("serving") if "deletionTimestamp" not in pod["metadata"]]
    pod = chance.choice(sorted(pods, key=lambda item: str(item["metadata"]["name"])))
    if victim == "pod":
        name = pod["metadata"]["name"]
        cluster.delete("pod", name, tenant.namespace, "--grace-period=0", "--force", "--wait=false")
        return
    # From inside, the first process of a container can't be killed: the node does it.
    container = container_id(pod, victim)
    if container:
        task = ("ctr", "--namespace=k8s.io", "tasks", "kill", "--signal=SIGKILL", container)
        on_node(tenant, pod["spec"]["nodeName"], *task)


def container_id(pod: Object, name: str) -> str:
    """Return the runtime's name of a container that runs; empty when it does not."""
    status = pod.get("status", {})
    states = [*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ())]
    running = (state for state in states if state["name"] == name and "running" in state["state"])
    return next((str(state["containerID"]).partition("://")[2] for state in running), "")


def test_the_base_still_answers_as_at_the_beginning(fleet: Fleet) -> None:
    assert fleet.serving.texts(BASE, fleet.serving.sample) == fleet.serving.base_answers
