"""Hours of a cluster's life in minutes: many swaps, many deaths, under requests whose every answer is checked.

Run by ``make test-soak``. ``GRAFT_SOAK_SWAPS`` and ``GRAFT_SOAK_KILLS`` say how many.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from demo import release
from demo.cluster import Cluster, CommandFailedError, Object
from demo.goals import serves_only_current
from demo.load import milliseconds
from tests.e2e.figures import Figures
from tests.e2e.nodes import on_node, workers_first
from tests.e2e.outages import wait_until
from tests.e2e.published import Published, Publisher
from tests.e2e.serving import ENGINE_SECONDS, REPLICAS, Serving
from tests.e2e.tenant import BASE, answers

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

SWAPS = int(os.environ.get("GRAFT_SOAK_SWAPS", "200"))
KILLS = int(os.environ.get("GRAFT_SOAK_KILLS", "20"))
NAMES = ("one", "two", "three", "four")
VERSIONS_EACH = 3
RATE = 8.0
QUIET_SECONDS = 60.0
SWAP_SECONDS = 60.0
PAUSE_SECONDS = 1.0
"""Between two swaps: enough that the first one's former version has been unloaded."""


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
        """Whether every pod answers with exactly the versions that are wanted, and holds no other one."""
        wanted = {name: [self.versions[name][position].number] for name, position in self.served.items()}
        try:
            states = self.serving.tenant.agent_states()
        except CommandFailedError:  # a pod has just gone
            return False
        return len(states) == REPLICAS and all(
            numbers_of(state, "active") == wanted == numbers_of(state, "versions") for state in states
        )

    def wait_settled(self, timeout: float = ENGINE_SECONDS) -> None:
        """Wait until every pod has exactly what is wanted."""
        wait_until(self.is_settled, "the pods have what is wanted", timeout)


def numbers_of(state: Object, which: str) -> dict[str, list[int]]:
    """Return adapter → the numbers of its versions that answer (``active``), or of all there are (``versions``)."""
    return {entry["name"]: [version["number"] for version in entry[which]] for entry in state["adapters"]}


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
    """Serve the first version of each adapter, on engines that can mix all of them and one that is being proved."""
    serving.tenant.apply(serving.tenant.base(replicas=REPLICAS, maxActiveAdapters=len(NAMES) + 1))
    serving.wait_rolled_out()
    fleet = Fleet(serving, models, serving.questions["topic"][:12])
    for name in NAMES:
        fleet.serve(name, 0)
    fleet.wait_settled()
    return fleet


def test_swaps_lose_nothing_and_mix_nothing_up(fleet: Fleet, figures: Figures) -> None:
    seconds: list[float] = []
    with workers_first(fleet.serving.tenant):
        with fleet.load() as load:
            time.sleep(QUIET_SECONDS)
            quiet = load.finish()
        reports = {name: swapped(fleet, name, SWAPS // len(NAMES), seconds) for name in NAMES}
    requests = sum(report["requests"] for report in reports.values())
    bystanders = [report["p99Of"][other] for name, report in reports.items() for other in NAMES if other != name]
    siblings = p99_of_siblings(reports)
    figures.note(f"swaps under load, {SWAPS}: requests", requests, "requests")
    figures.note("swap applied → every replica answers with it, median", median(seconds), "s")
    figures.note("swap applied → every replica answers with it, slowest", max(seconds), "s")
    figures.note("p99 of a quiet run", quiet["p99"], "ms")
    figures.note("p99 of the swaps' siblings", siblings, "ms")
    figures.note("p99 of one sibling, median of twelve", median(bystanders), "ms")
    figures.note("p99 of one sibling, highest", max(bystanders), "ms")
    for report in reports.values():
        assert_every_answer_was_right(report)
    fleet.wait_settled()
    assert siblings < 1.5 * quiet["p99"], "the siblings of swaps notice them"
    assert max(bystanders) < 2 * quiet["p99"], "a sibling of a swap notices it"


def p99_of_siblings(reports: Mapping[str, Object]) -> int:
    """Return the 99th percentile, in milliseconds, of all requests for adapters while another one was swapped."""
    of_siblings = (reports[name]["latencies"][other] for name in NAMES for other in NAMES if other != name)
    return milliseconds(sorted(itertools.chain.from_iterable(of_siblings)), 99)


def swapped(fleet: Fleet, name: str, times: int, seconds: list[float]) -> Object:
    """Swap one adapter again and again while all are asked; return the report of the requests."""
    with fleet.load() as load:
        for _ in range(times):
            seconds.append(fleet.serve(name, fleet.next_of(name)))
            time.sleep(PAUSE_SECONDS)
        report: Object = load.finish()
    return report


VICTIMS = ("engine", "agent", "pod", "operator")
Death = Callable[[], bool]
"""Whether what was killed is known to be gone: before that, everything still looks as it did."""


def test_after_every_death_the_pods_hold_what_is_wanted(fleet: Fleet, figures: Figures) -> None:
    for victim in VICTIMS:
        recoveries, report = deaths_of(victim, fleet)
        figures.note(f"{KILLS} deaths of {victim}: median recovery", median(recoveries), "s")
        figures.note(f"{KILLS} deaths of {victim}: slowest recovery", max(recoveries), "s")
        figures.note(f"{KILLS} deaths of {victim}: failed requests", report["failed"], "requests")
        figures.note(f"{KILLS} deaths of {victim}: requests", report["requests"], "requests")
        assert report["wrong"] == 0, (victim, report["wrongAnswers"])
        assert report["checked"] > 0, "no answer was beyond doubt: the check would be idle"
    fleet.serving.tenant.wait_for_base(serves_only_current, "served on both replicas", ENGINE_SECONDS)


def deaths_of(victim: str, fleet: Fleet) -> tuple[list[float], Object]:
    """Kill one again and again, each time just after a swap was asked for; return the recoveries and the report."""
    chance = random.Random(f"deaths of {victim}")
    recoveries: list[float] = []
    with fleet.load() as load:
        for _ in range(KILLS):
            fleet.ask_for_next(chance.choice(NAMES))
            time.sleep(chance.uniform(0, 2))
            begun = time.monotonic()
            wait_until(kill(fleet.serving, victim, chance), f"{victim} is gone", ENGINE_SECONDS)
            fleet.wait_settled()
            recoveries.append(time.monotonic() - begun)
        return recoveries, load.finish()


def kill(serving: Serving, victim: str, chance: random.Random) -> Death:
    """End one container by SIGKILL, one pod without a word, or the operator."""
    tenant = serving.tenant
    if victim == "operator":
        return kill_pod(tenant.cluster, chance.choice(operators(tenant.cluster)), lambda: operators(tenant.cluster))
    pod = chance.choice([pod for pod in by_name(tenant.pods("serving")) if answers(pod)])
    if victim == "pod":
        return kill_pod(tenant.cluster, pod, lambda: tenant.pods("serving"))
    # From inside, the first process of a container can't be killed: the node does it.
    container = container_id(pod, victim)
    on_node(
        tenant, pod["spec"]["nodeName"], "ctr", "--namespace=k8s.io", "tasks", "kill", "--signal=SIGKILL", container
    )
    return lambda: container not in {container_id(pod, victim) for pod in tenant.pods("serving")}


def kill_pod(cluster: Cluster, pod: Object, remaining: Callable[[], Sequence[Object]]) -> Death:
    """Delete a pod without giving it any time."""
    name, namespace, uid = (str(pod["metadata"][key]) for key in ("name", "namespace", "uid"))
    cluster.delete("pod", name, namespace, "--grace-period=0", "--force", "--wait=false")
    return lambda: uid not in {pod["metadata"]["uid"] for pod in remaining()}


def operators(cluster: Cluster) -> list[Object]:
    """Return the operator's pods."""
    return by_name(cluster.list("pod", release.NAMESPACE, "app.kubernetes.io/component=operator"))


def by_name(pods: Sequence[Object]) -> list[Object]:
    """Return pods in an order that chance alone can be repeated in."""
    return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))


def container_id(pod: Object, name: str) -> str:
    """Return the runtime's name of a container that runs; empty when it does not."""
    status = pod.get("status", {})
    states = [*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ())]
    running = (state for state in states if state["name"] == name and "running" in state["state"])
    return next((str(state["containerID"]).partition("://")[2] for state in running), "")


def test_the_base_still_answers_as_at_the_beginning(fleet: Fleet) -> None:
    assert fleet.serving.texts(BASE, fleet.serving.sample) == fleet.serving.base_answers
