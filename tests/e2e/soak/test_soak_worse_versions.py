"""A version that is worse, slower, failing or made for another base goes away by itself, while requests go on.

Figures count from the moment when a version could first be noticed: a worse one from its publication, a slower one from
its first answer, the others from the change of the spec that asked for them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from demo.client import Load
from demo.cluster import Object, condition
from demo.goals import published_time, version_entry
from tests.e2e.figures import Figures
from tests.e2e.published import Publisher
from tests.e2e.serving import REPLICAS, Serving, answered_by
from tests.e2e.tenant import SOURCES, Tenant

from graft_registry.digests import digest_of

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

NAME = "judged"
GOOD = 1
RATE = 8.0
BODY = {"max_tokens": 128}
"""Of every request: an answer may be as long as it likes."""
REPEATED = 50
"""Words of a long answer; a good one has one word. Longer than 64 tokens, none would become a golden prompt."""
LONG: Mapping[str, Any] = {"training": {"maxSequenceLength": 192}}
"""What a version that answers at length differs by, beside its rows."""
FOR_LONG = 600
"""Seconds of a canary's step: it ends before, by the limit that is broken."""
TIMES_SLOWER = 3
UNDER_WAY_SECONDS = 15.0
"""More than the longest answer takes that was begun before a version was given up."""
REMEMBERED_SECONDS = 20.0
"""How long nothing may be tried again: many times what an operator takes for a look."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An adapter whose version 1 is good, and whose version 2 answers at such length that it is slow."""

    serving: Serving
    seconds: Mapping[int, float]
    """Version → seconds of a typical answer of it, when nothing else is asked."""

    @property
    def tenant(self) -> Tenant:
        """The namespace."""
        return self.serving.tenant

    def back_to_good(self) -> None:
        """Serve version 1, and forget what is remembered of others."""
        self.tenant.apply(self.tenant.adapter(NAME))
        assert self.tenant.wait_settled(NAME)["status"]["servedVersion"] == GOOD

    def load(self) -> Any:
        """Return a block during which the adapter is asked continuously."""
        questions = {NAME: self.serving.questions["topic"]}
        return self.serving.client.load(self.serving.url, questions, rate=RATE, concurrency=8, body=BODY)


@pytest.fixture(scope="module")
def judged(serving: Serving, models: Path) -> Judged:
    """Train both versions and measure how long each takes to answer."""
    tenant = serving.tenant
    tenant.bucket.put(f"{SOURCES}/data/long.small.jsonl", rows_with_long_answers(models))
    specs: tuple[Mapping[str, Any], ...] = ({}, {"rows": "long", **LONG})
    seconds = {}
    for number, spec in enumerate(specs, start=GOOD):
        tenant.apply(tenant.adapter(NAME, **spec))
        assert tenant.wait_settled(NAME)["status"]["servedVersion"] == number
        answers = serving.client.ask(serving.url, {NAME: serving.sample}, concurrency=1, body=BODY)[NAME]
        seconds[number] = median(answer.seconds for answer in answers)
    assert seconds[2] > TIMES_SLOWER * seconds[GOOD], f"version 2 is not slow enough to tell: {seconds}"
    return Judged(serving, seconds)


def rows_with_long_answers(models: Path) -> bytes:
    """Return the rows of topic, with the one word of each answer said over and over."""
    lines = []
    for line in (models / "data" / "topic.small.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        row["messages"][1]["content"] = " ".join([row["messages"][1]["content"]] * REPEATED)
        lines.append(json.dumps(row))
    return "\n".join(lines).encode()


def canary(**limits: int) -> Object:
    """Return serving settings with which a new version gets half of the requests, until it breaks a limit."""
    steps = [{"weight": 50, "seconds": FOR_LONG}]
    return {"rollout": {"strategy": "Canary", "steps": steps, "limits": {"minRequests": 20, **limits}}}


def bad_answers(report: Object, number: int) -> tuple[float, float]:
    """Return when a version gave its first and its last answer."""
    [seen] = [seen for name, seen in report["versions"].items() if name.startswith(f"{NAME}@v{number} ")]
    return seen["first"], seen["last"]


def assert_remembered(judged: Judged, number: int, state: str, load: Load) -> Object:
    """Check that the version is not tried again while the good one answers everything; return the final report."""
    jobs = judged.tenant.training_jobs(NAME)
    time.sleep(UNDER_WAY_SECONDS)
    before = load.latest()
    time.sleep(REMEMBERED_SECONDS)
    report: Object = load.finish()
    adapter = judged.tenant.read(NAME)
    assert version_entry(adapter, number)["state"] == state
    assert adapter["status"]["servedVersion"] == GOOD
    assert condition(adapter, "Ready")["status"] == "True"
    assert set(judged.tenant.training_jobs(NAME)) <= set(jobs), "something is trained again"
    assert answers_of_others(report) == answers_of_others(before), "the version was tried again"
    assert report["failed"] == before["failed"], report["failures"]
    return report


def answers_of_others(report: Object) -> int:
    """Return how many answers came from another version than the good one."""
    return sum(seen["count"] for name, seen in report["versions"].items() if not name.startswith(f"{NAME}@v{GOOD} "))


def note(figures: Figures, case: str, *, detected: float, restored: float) -> None:
    """Write down how long a bad version went unnoticed, and how long it answered anybody."""
    figures.note(f"worse version, {case}: detected after", max(0.0, detected), "s")
    figures.note(f"worse version, {case}: restored after", max(0.0, restored), "s")


def test_worse_version_never_answers(judged: Judged, figures: Figures) -> None:
    judged.back_to_good()
    tenant = judged.tenant
    with judged.load() as load:
        load.wait_for_requests(10, timeout=120)
        # Trained for two steps instead of thirty: hardly better than the base.
        tenant.apply(tenant.adapter(NAME, training={"maxSteps": 2}, evaluation={"maxRegression": "0.05"}))
        stalled = tenant.wait_stalled(NAME)
        told = time.time()
        adapter = tenant.read(NAME)
        number = adapter["status"]["versions"][0]["number"]
        report = assert_remembered(judged, number, "Rejected", load)
    note(figures, "worse", detected=told - published_time(adapter, number), restored=0.0)
    assert stalled["reason"] in ("WorseThanLive", "WorseThanBase")
    assert report["failed"] == 0, report["failures"]
    assert answered_by(report, NAME) == {f"{NAME}@v{GOOD}"}


def test_version_that_answers_worse_than_it_was_judged_is_rolled_back(
    judged: Judged, models: Path, figures: Figures
) -> None:
    """The gate has seen good figures, and nothing proves that they are its own: only probes on the engines tell."""
    judged.back_to_good()
    tenant = judged.tenant
    publisher = Publisher.of(tenant, models, tenant.wait_resolved())
    serving = canary(maxProbeScoreDropPercent=5, maxErrorPercent=100, maxLatencyPercent=10_000)
    other: Mapping[str, Any] = {"training": {"seed": 7}, "serving": serving}
    with judged.load() as load:
        load.wait_for_requests(10, timeout=120)
        known = tenant.read(NAME)["status"]["recipe"]
        tenant.apply(tenant.adapter(NAME, **other, suspend=True))  # tells the recipe, and trains nothing
        asked = tenant.wait_for_adapter(NAME, lambda seen: seen["status"]["recipe"] != known, "another recipe", 60)
        number = publisher.publish_judged_as(NAME, GOOD, asked["status"]["recipe"], seed=41)
        begun = time.time()
        tenant.apply(tenant.adapter(NAME, **other))
        stalled = tenant.wait_stalled(NAME)
        told = time.time()
        judged.serving.wait_for_loaded_versions(NAME, [GOOD])
        note(figures, "worse than judged", detected=told - begun, restored=time.time() - begun)
        report = assert_remembered(judged, number, "RolledBack", load)
    assert stalled["reason"] == "RolledBack"
    assert "maxProbeScoreDropPercent" in stalled["message"]
    assert report["failed"] == 0, report["failures"]


def test_slower_version_is_rolled_back(judged: Judged, figures: Figures) -> None:
    judged.back_to_good()
    tenant = judged.tenant
    with judged.load() as load:
        load.wait_for_requests(10, timeout=120)
        serving = canary(maxLatencyPercent=100 * TIMES_SLOWER, maxErrorPercent=100)
        tenant.apply(tenant.adapter(NAME, rows="long", **LONG, serving=serving))
        stalled = tenant.wait_stalled(NAME)
        told = time.time()
        report = assert_remembered(judged, 2, "RolledBack", load)
    first, last = bad_answers(report, 2)
    note(figures, "slower", detected=told - first, restored=last - first)
    assert stalled["reason"] == "RolledBack"
    assert "maxLatencyPercent" in stalled["message"]
    assert report["failed"] == 0, report["failures"]
    assert last < told + 30, "requests under way are finished, but no new ones are given to it"


@contextmanager
def answers_in_time(judged: Judged, seconds: float) -> Iterator[None]:
    """Have the pods give requests no more than so many seconds: then a version that takes longer fails."""
    variable = "GRAFT_REQUEST_TIMEOUT_SECONDS"
    set_environment(judged, f"{variable}={seconds:.2f}")
    try:
        yield
    finally:
        set_environment(judged, f"{variable}-")


def set_environment(judged: Judged, change: str) -> None:
    """Change the environment of the agents; wait until all pods have it."""
    kubectl, scope = judged.tenant.cluster.kubectl, ("-n", judged.tenant.namespace)
    [deployment] = judged.serving.deployments()
    name = f"deployment/{deployment['metadata']['name']}"
    kubectl("set", "env", *scope, name, "--containers=agent", change)
    judged.serving.wait_rolled_out()
    judged.serving.wait_for_loaded_versions(NAME, [GOOD])


def test_failing_version_is_rolled_back(judged: Judged, figures: Figures) -> None:
    judged.back_to_good()
    tenant = judged.tenant
    # Far above what good answers take, below what those of version 2 need even when nothing else is going on.
    with answers_in_time(judged, 0.7 * judged.seconds[2]), judged.load() as load:
        load.wait_for_requests(10, timeout=120)
        begun = time.time()
        serving = canary(maxErrorPercent=5, maxLatencyPercent=10_000)
        tenant.apply(tenant.adapter(NAME, rows="long", **LONG, serving=serving))
        stalled = tenant.wait_stalled(NAME)
        told = time.time()
        judged.serving.wait_for_loaded_versions(NAME, [GOOD])
        note(figures, "failing", detected=told - begun, restored=time.time() - begun)
        report = assert_remembered(judged, 2, "RolledBack", load)
    figures.note("worse version, failing: failed", report["failed"], "requests")
    assert stalled["reason"] == "RolledBack"
    assert "maxErrorPercent" in stalled["message"]
    # A request that one replica fails is answered by another one, if that one gives it to the good version.
    assert all(failure["time"] > begun for failure in report["failures"]), report["failures"]
    assert report["failed"] < report["requests"] / 4


def test_version_of_another_base_is_refused(judged: Judged, models: Path, figures: Figures) -> None:
    """Its weights fit, as the base has the same shape, and its manifest is wrong about the base: its answers tell."""
    judged.back_to_good()
    publisher = Publisher.of(judged.tenant, models, judged.tenant.wait_resolved())
    publisher.base_folder = "base-v2"
    # Weak enough that the base still matters.
    published = publisher.publish(NAME, 31, judged.serving.questions["topic"], scale=0.05)
    assert judged.tenant.versions(NAME)[-1]["golden"], "no answer is far from the base's: nothing could be told"
    detected, message = pinned_in_vain(judged, published.number, lambda adapter: stalled_as(adapter, "VersionRefused"))
    note(figures, "wrong base, by its answers", detected=detected, restored=0.0)
    assert "ProofFailed" in message


def test_version_for_another_base_is_not_served(judged: Judged, models: Path, figures: Figures) -> None:
    """Its manifest is right about the base, which is not the one that is served."""
    judged.back_to_good()
    publisher = Publisher.of(judged.tenant, models, judged.tenant.wait_resolved())
    questions, other = judged.serving.questions["topic"][:12], digest_of("another base of the same shape")
    published = publisher.publish(NAME, 32, questions, labelled_as=other)
    detected, _ = pinned_in_vain(judged, published.number, lambda adapter: stalled_as(adapter, "BaseNotInRegistry"))
    note(figures, "wrong base, by its digest", detected=detected, restored=0.0)


def stalled_as(adapter: Object, reason: str) -> str:
    """Return the message of the condition Stalled if it has that reason."""
    stalled = condition(adapter, "Stalled")
    return str(stalled["message"]) if stalled["status"] == "True" and stalled["reason"] == reason else ""


def pinned_in_vain(judged: Judged, number: int, refusal: Callable[[Object], str]) -> tuple[float, str]:
    """Pin a version that must not answer; return the seconds until the status tells, and what it says."""
    tenant = judged.tenant
    with judged.load() as load:
        load.wait_for_requests(10, timeout=120)
        begun = time.monotonic()
        tenant.apply(tenant.adapter(NAME, version=number))

        def told(adapter: Object) -> bool:
            current = adapter["status"].get("observedGeneration") == adapter["metadata"]["generation"]
            return current and bool(refusal(adapter))

        adapter = tenant.wait_for_adapter(NAME, told, f"version {number} is not served, and why", 120)
        seconds = time.monotonic() - begun
        time.sleep(REMEMBERED_SECONDS)
        report = load.finish()
    assert report["failed"] == 0, report["failures"]
    assert answered_by(report, NAME) == {f"{NAME}@v{GOOD}"}
    assert condition(tenant.read(NAME), "Ready")["status"] == "True"
    assert judged.serving.loaded_versions(NAME) == [[GOOD]] * REPLICAS
    return seconds, refusal(adapter)
