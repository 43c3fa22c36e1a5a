"""Operator, S3 and API server stay away for minutes under requests: none is lost, and afterwards all is as wanted.

Run by ``make test-soak``. ``GRAFT_SOAK_OUTAGE_SECONDS`` says how long each stays away.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from demo.cluster import Object
from tests.e2e.figures import Figures
from tests.e2e.outages import Outage, api_server_away, operator_away, storage_away
from tests.e2e.published import Published, Publisher
from tests.e2e.serving import Serving, answered_by
from tests.e2e.soak.detached_load import DetachedLoad, detached_load

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

AWAY_SECONDS = float(os.environ.get("GRAFT_SOAK_OUTAGE_SECONDS", "600"))
NAME = "steady"
RATE = 6.0
SWAP_SECONDS = 60.0
CONVERGE_SECONDS = 420.0
"""Longer than the five minutes that the kubelet lets a container rest that has ended again and again."""


@dataclass(frozen=True, slots=True)
class Steady:
    """An adapter with two versions, of which one is served, and requests to it."""

    serving: Serving
    versions: Sequence[Published]
    questions: Sequence[str]

    @property
    def labels(self) -> tuple[str, str]:
        """What the versions are called in answers."""
        one, two = (f"{NAME}@v{version.number}" for version in self.versions)
        return one, two

    @property
    def plan(self) -> dict[str, Any]:
        """What is asked: every answer is held against that of its own version."""
        right = ({text: [begin] for text, begin in version.answers.items()} for version in self.versions)
        expected = dict(zip(self.labels, right, strict=True))
        return {"questions": {NAME: list(self.questions)}, "rate": RATE, "concurrency": 8, "expected": expected}

    def ask_for(self, position: int) -> None:
        """Pin a version, without waiting for it."""
        tenant = self.serving.tenant
        tenant.apply(tenant.adapter(NAME, version=self.versions[position].number))

    def serve(self, position: int, timeout: float = SWAP_SECONDS) -> float:
        """Pin a version; return the seconds until every replica answers with it."""
        return self.serving.tenant.pin(NAME, self.versions[position].number, timeout=timeout)


@pytest.fixture(scope="module")
def steady(serving: Serving, models: Path) -> Steady:
    """Publish both versions: while the registry is away, nobody could."""
    questions = serving.questions["topic"][:12]
    publisher = Publisher.of(serving.tenant, models, serving.tenant.wait_resolved())
    return Steady(serving, [publisher.publish(NAME, seed, questions) for seed in (21, 22)], questions)


def test_nothing_is_lost_without_operator(steady: Steady, figures: Figures) -> None:
    report = asked_for_while_away(steady, operator_away, "operator", figures)
    assert_nothing_was_lost(report, steady, "operator", figures)


def test_nothing_is_lost_without_storage(steady: Steady, figures: Figures) -> None:
    report = asked_for_while_away(steady, storage_away, "S3", figures)
    assert_nothing_was_lost(report, steady, "S3", figures)


def test_nothing_is_lost_without_api_server(steady: Steady, figures: Figures) -> None:
    steady.serve(0)
    with detached_load(steady.serving, steady.plan) as load:
        with api_server_away(steady.serving.tenant):
            time.sleep(AWAY_SECONDS)
        # Nothing could be asked for while it was away. What is asked for now shows that all have found back.
        back = steady.serve(1, CONVERGE_SECONDS)
        figures.note(told("API server", "back → a change made then is served"), back, "s")
        report = end_of(load, steady)
    assert_nothing_was_lost(report, steady, "API server", figures)


def asked_for_while_away(steady: Steady, outage: Outage, who: str, figures: Figures) -> Object:
    """Ask for the other version in the middle of an outage, which must come after it; return the load's report."""
    steady.serve(0)
    with detached_load(steady.serving, steady.plan) as load:
        with outage(steady.serving.tenant):
            time.sleep(AWAY_SECONDS / 2)
            steady.ask_for(1)
            time.sleep(AWAY_SECONDS / 2)
            meanwhile = load.latest()
        assert answered_by(meanwhile, NAME) == {steady.labels[0]}, "the new version came while it could not"
        back = steady.serve(1, CONVERGE_SECONDS)
        figures.note(told(who, "back → what was asked for meanwhile is served"), back, "s")
        return end_of(load, steady)


def end_of(load: DetachedLoad, steady: Steady) -> Object:
    """Let the new version answer for a while, check that no pod holds another one, and end the requests."""
    steady.serving.wait_for_loaded_versions(NAME, [steady.versions[1].number])
    time.sleep(5)
    return load.finish()


def told(who: str, what: str) -> str:
    """Return the name of a figure."""
    return f"{who} away for {AWAY_SECONDS:.0f} s: {what}"


def assert_nothing_was_lost(report: Mapping[str, Any], steady: Steady, who: str, figures: Figures) -> None:
    """Check that every request got an answer, each from one of the two versions and as that one gives it."""
    figures.note(told(who, "requests"), report["requests"], "requests")
    figures.note(told(who, "failed"), report["failed"], "requests")
    figures.note(told(who, "wrong answers"), report["wrong"], "requests")
    figures.note(told(who, "slowest request"), report["slowest"], "ms")
    assert report["failed"] == 0, report["failures"]
    assert report["wrong"] == 0, report["wrongAnswers"]
    assert answered_by(report, NAME) == set(steady.labels)
    assert {name.partition(" on ")[0] for name in report["versions"]} == set(steady.labels), "others answered"
    assert report["requests"] > RATE * AWAY_SECONDS / 2, "the requests did not go on all the time"
    assert report["checked"] > 0, "no answer was beyond doubt: the check would be idle"
