"""When all adapters of a base are tested at once, and what becomes of the finding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.builders import NOW, adapter_of_base, base_model, base_seen, deployment, resolved_base, served_version

from graft_operator.api.base_serving import ConcurrencyResult
from graft_operator.plan.actions import DeleteObject
from graft_operator.plan.base.concurrency import decide_concurrency_test, identity_of_test
from graft_operator.plan.jobs import JobObserved
from graft_operator.plan.snapshot import BaseSnapshot

TESTED = {"concurrencyTest": {"requests": 50}}
SERVED = adapter_of_base(target=served_version(1), up_to_date=True)


def seen(*adapters: Any, serving: Any = None, **fields: Any) -> BaseSnapshot:
    subject = base_model(serving=TESTED if serving is None else serving)
    return base_seen(subject, adapters=adapters or (SERVED,), deployments=(deployment(),), **fields)


def job(given: BaseSnapshot, state: str, reason: str = "", message: str = "", digest: str = "") -> JobObserved:
    return JobObserved(
        name="graft-tiny-concurrency-1",
        uid="uid-of-job",
        recipe=digest or identity_of_test(given, resolved_base()),
        state=state,  # type: ignore[arg-type]
        ended_time=NOW,
        outcome_reason=reason,
        outcome_message=message,
    )


def decide(given: BaseSnapshot) -> tuple[str | None, str | None, bool]:
    """Return status and reason of the condition, and whether a test is due."""
    verdict = decide_concurrency_test(given, resolved_base())
    fact = verdict.fact
    return (fact.status if fact else None, fact.reason if fact else None, verdict.due is not None)


WAITING = {
    "without the field nothing is tested": (seen(serving={}), (None, None, False)),
    "a settled base is tested": (seen(), ("Unknown", "Testing", True)),
    "a base without adapters waits": (
        replace(seen(), adapters=()),
        ("Unknown", "NotSettled", False),
    ),
    "an adapter that is pinned to another version than its spec's is not": (
        seen(SERVED, adapter_of_base(name="pinned", target=served_version(1), pinned=True)),
        ("Unknown", "Testing", True),
    ),
    "an adapter that is still being trained is waited for": (
        seen(SERVED, adapter_of_base(name="late", target=None)),
        ("Unknown", "NotSettled", False),
    ),
    "a pod that is not ready is waited for": (
        replace(seen(), deployments=(deployment(ready=0),)),
        ("Unknown", "NotSettled", False),
    ),
}


@pytest.mark.parametrize(("given", "expected"), WAITING.values(), ids=WAITING)
def test_when_a_test_is_due(given: BaseSnapshot, expected: tuple[str | None, str | None, bool]) -> None:
    assert decide(given) == expected


FOUND = {
    "a test that runs is waited for": (("Active", "", ""), ("Unknown", "Testing")),
    "a passed test is told": (("Succeeded", "Passed", "p95 is 120 %"), ("True", "Passed")),
    "a slow base is told": (("Failed", "TooSlow", "p95 is 900 %"), ("False", "NotPassed")),
    "failed requests are told": (("Failed", "RequestsFailed", "3 of 50"), ("False", "NotPassed")),
    "a test that could not run is not passed": (("Failed", "", ""), ("False", "NotPassed")),
}


@pytest.mark.parametrize(("ended", "expected"), FOUND.values(), ids=FOUND)
def test_what_is_said_of_a_job(ended: tuple[str, str, str], expected: tuple[str, str]) -> None:
    given = seen()
    assert decide(replace(given, concurrency_job=job(given, *ended)))[:2] == expected


def test_a_known_result_is_kept_and_its_job_goes() -> None:
    given = seen()
    done = job(given, "Succeeded", "Passed", "p95 is 120 %")
    result = decide_concurrency_test(replace(given, concurrency_job=done), resolved_base()).result
    assert isinstance(result, ConcurrencyResult)
    status = given.base.status.model_copy(update={"concurrency": result})
    known = replace(given, base=given.base.model_copy(update={"status": status}), concurrency_job=done)
    verdict = decide_concurrency_test(known, resolved_base())
    assert (verdict.result, verdict.due) == (result, None)
    assert verdict.actions == (DeleteObject("Job", done.name, done.uid),)


def test_a_base_that_is_being_deleted_is_not_tested() -> None:
    going = base_model(serving=TESTED, meta={"deletionTimestamp": NOW.isoformat()})
    given = replace(seen(), base=going)
    assert decide(given) == (None, None, False)
    running = job(given, "Active")
    stopped = decide_concurrency_test(replace(given, concurrency_job=running), resolved_base())
    assert stopped.actions == (DeleteObject("Job", running.name, running.uid),)


def test_another_adapter_makes_another_test_and_another_version_does_not() -> None:
    alone = identity_of_test(seen(), resolved_base())
    newer = adapter_of_base(target=served_version(2), up_to_date=True)
    assert identity_of_test(seen(newer), resolved_base()) == alone
    second = adapter_of_base(name="second", target=served_version(1), up_to_date=True)
    assert identity_of_test(seen(SERVED, second), resolved_base()) != alone
    seldom = replace(second, on_demand=True)
    assert identity_of_test(seen(SERVED, seldom), resolved_base()) == alone, "it comes and goes, and is not asked"


def test_a_job_for_other_adapters_is_stopped() -> None:
    given = seen()
    stale = job(given, "Active", digest="sha256:" + "0" * 64)
    verdict = decide_concurrency_test(replace(given, concurrency_job=stale), resolved_base())
    assert verdict.actions == (DeleteObject("Job", stale.name, stale.uid),)
    assert verdict.due is None
