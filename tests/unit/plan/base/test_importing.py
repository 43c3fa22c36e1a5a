"""What becomes of a source: imported once, tried again, or given back to a person."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.builders import CREATED, NOW, PLATFORM, base_id, base_model, base_seen, digest, job, resolved_base, source_of

from graft_operator.api.base_model import BaseModel, Drift
from graft_operator.plan.base.importing import RETRY_SECONDS, decide_import
from graft_operator.plan.jobs import JobObserved
from graft_operator.plan.known import Known
from graft_operator.plan.snapshot import BaseSnapshot
from graft_registry.documents import BaseDrift

BUMPED = base_model(source=source_of("B"))


def importing(state: str, ago: float = 1, **fields: Any) -> BaseSnapshot:
    source = base_seen(BUMPED).source_digest
    return base_seen(
        BUMPED, bases="A", import_job=job(source, state, ended_time=NOW - timedelta(seconds=ago), **fields)
    )


def stale() -> JobObserved:
    return job(digest("another source"))


IMPORTS: dict[str, tuple[BaseSnapshot, str, bool, bool, int]] = {
    "nothing yet: a Job is due": (base_seen(BUMPED, bases="A"), "Importing", True, False, 0),
    "the Job runs": (importing("Active"), "Importing", False, False, 0),
    "the source changed again: the Job gives way": (
        base_seen(BUMPED, bases="A", import_job=stale()),
        "Importing",
        True,
        False,
        1,
    ),
    "the registry knows it already": (base_seen(BUMPED, bases="AB"), "Resolved", False, False, 0),
    "the registry knows it and a Job of another source is left": (
        base_seen(BUMPED, bases="AB", import_job=stale()),
        "Resolved",
        False,
        False,
        1,
    ),
    "the source is not there": (importing("Failed", outcome_reason="SourceNotFound"), "SourceNotFound", False, True, 0),
    "the registry is away": (
        importing("Failed", outcome_reason="RegistryUnavailable"),
        "RegistryUnavailable",
        False,
        False,
        0,
    ),
    "it has rested": (
        importing("Failed", RETRY_SECONDS + 1, failure_reason="BackoffLimitExceeded"),
        "BackoffLimitExceeded",
        False,
        False,
        1,
    ),
    "a success that left nothing rests": (importing("Succeeded"), "BaseMissing", False, False, 0),
    "a success that left nothing is done again": (
        importing("Succeeded", RETRY_SECONDS + 1),
        "BaseMissing",
        False,
        False,
        1,
    ),
}


@pytest.mark.parametrize(("given", "reason", "due", "stalled", "deletes"), IMPORTS.values(), ids=IMPORTS)
def test_import(given: BaseSnapshot, reason: str, due: bool, stalled: bool, deletes: int) -> None:
    verdict = decide_import(given, NOW, PLATFORM)
    assert (verdict.fact.reason, verdict.due, verdict.stalled) == (reason, due, stalled)
    assert len(verdict.actions) == deletes
    resolved = resolved_base("B" if reason == "Resolved" else "A")
    assert verdict.resolved is not None
    assert verdict.resolved.digest == resolved.digest


def test_a_rest_is_told_by_its_end_so_that_the_status_stays_the_same() -> None:
    given = importing("Failed", outcome_reason="RegistryUnavailable")
    assert decide_import(given, NOW, PLATFORM).fact == decide_import(given, NOW + timedelta(seconds=5), PLATFORM).fact


MEASURED = BaseDrift(
    previous=base_id("A"), digest=base_id("B"), verdict="Near", relative_change=0.15372, created_time=CREATED
)
ON_STATUS = Drift(previous=base_id("A"), verdict="Near", relative_change="0.1537")


def now_on_b(drift: Drift | None) -> BaseModel:
    return base_model(resolved="B", status={"resolved": resolved_base("B", drift=drift)})


DRIFTS: dict[str, tuple[BaseSnapshot, Drift | None]] = {
    "a new base brings its drift along": (base_seen(BUMPED, bases="AB", drift=Known(MEASURED)), ON_STATUS),
    "a drift that was not measured is not told": (base_seen(BUMPED, bases="AB"), None),
    "other shapes have no change to tell": (
        base_seen(
            BUMPED,
            bases="AB",
            drift=Known(MEASURED.model_copy(update={"verdict": "Different", "relative_change": None})),
        ),
        Drift(previous=base_id("A"), verdict="Different"),
    ),
    "while the base is current its drift stays": (base_seen(now_on_b(ON_STATUS), bases="AB"), ON_STATUS),
    "and nothing is made up for a base that had none": (base_seen(now_on_b(None), bases="AB"), None),
}


@pytest.mark.parametrize(("given", "drift"), DRIFTS.values(), ids=DRIFTS)
def test_the_drift_of_the_current_base(given: BaseSnapshot, drift: Drift | None) -> None:
    resolved = decide_import(given, NOW, PLATFORM).resolved
    assert resolved is not None
    assert resolved.drift == drift


IMAGE = "registry.example.com/models/qwen:v2"
WAITS: dict[str, tuple[str, str, str]] = {
    "the image of the spec can't be pulled": (
        f'ImagePullBackOff: container import: Back-off pulling image "{IMAGE}": ErrImagePull: unauthorized',
        "ImagePullFailed",
        "it is spec.source.image.reference: check it, and imagePullSecrets in spec.importPod",
    ),
    "our own image can't be pulled": (
        'ImagePullBackOff: container import: Back-off pulling image "graft/registry:1": not found',
        "ImagePullFailed",
        "the image is a value of Graft's chart",
    ),
    "a runtime that knows no image volumes": (
        'CreateContainerError: container import: failed to generate spec: failed to mkdir "": mkdir : no such file',
        "CreateContainerError",
        "the node's runtime mounts no images (containerd does from 2.1 on)",
    ),
    "a runtime that can't mount this one": (
        "CreateContainerError: container import: ImageVolumeMountFailed: no such layer",
        "CreateContainerError",
        "ImageVolumeMountFailed: no such layer",
    ),
}


@pytest.mark.parametrize(("waiting", "reason", "says"), WAITS.values(), ids=WAITS)
def test_what_keeps_an_image_from_being_mounted_is_told(waiting: str, reason: str, says: str) -> None:
    base = base_model(source={"image": {"reference": IMAGE}})
    given = base_seen(base, bases="A")
    given = base_seen(base, bases="A", import_job=job(given.source_digest, "Active", waiting=waiting))
    fact = decide_import(given, NOW, PLATFORM).fact
    assert (fact.status, fact.reason) == ("False", reason)
    assert says in fact.message
    assert waiting.partition(": ")[2] in fact.message
