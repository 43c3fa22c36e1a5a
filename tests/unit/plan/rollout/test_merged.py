"""The rollout of a merged model: what its Deployment is told, and what the adapter's status says meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from tests.builders import (
    PARITY,
    adapter,
    answering_pod,
    base_model,
    deployment,
    on_pod,
    pod,
    recipe_of,
    seen,
    version,
)
from tests.unit.plan.rollout.merged_plan import applied_versions, plan

from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.api.conditions import find
from graft_operator.manifests import naming
from graft_operator.plan.actions import DeleteObject
from graft_operator.plan.rollout.plan import served
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_registry.documents import StoredVersion

MERGED: dict[str, Any] = {"serving": {"mode": "Merged"}}
RECIPE = recipe_of(adapter(**MERGED))
V1, V2 = version(1, merge=PARITY), version(2, recipe=RECIPE, merge=PARITY)
UNMERGED = version(1)
TWO = base_model(replicas=2)
ENDPOINT = naming.merged_url("team-a", "support")


def subject(
    target: StoredVersion | None = None, previous: StoredVersion | None = None, spec: Any = None, **serving: Any
) -> Any:
    """The adapter, with what its status says is served."""
    serving = (
        {"mode": "Merged"}
        | serving
        | {name: served(item).to_wire() for name, item in (("target", target), ("previous", previous)) if item}
    )
    return adapter(status={"serving": serving}, **(MERGED if spec is None else spec))


@dataclass(frozen=True, kw_only=True)
class Case:
    given: AdapterSnapshot
    applies: int | None = None
    """Version that the Deployment is told to serve."""
    ready: tuple[str, str]
    served: str
    number: int | None = None
    """status.servedVersion."""
    endpoint: str | None = ENDPOINT


CASES: dict[str, Case] = {
    "nothing is served before a version is published": Case(
        given=seen(subject()), ready=("False", "JobCreated"), served="NoVersion", endpoint=None
    ),
    "a published version is told of in the status first": Case(
        given=seen(subject(), published=V2), ready=("False", "RollingOut"), served="RollingOut", endpoint=None
    ),
    "then it gets its Deployment": Case(
        given=seen(subject(V2), published=V2, live=V2),
        applies=2,
        ready=("False", "RollingOut"),
        served="RollingOut",
        endpoint=None,
    ),
    "it is served when its pod answers": Case(
        given=seen(subject(V2), published=V2, live=V2, merged_pods=(answering_pod(V2),)),
        applies=2,
        ready=("True", "Serving"),
        served="Served",
        number=2,
    ),
    "one pod of two is not enough": Case(
        given=seen(subject(V2), published=V2, live=V2, merged_pods=(answering_pod(V2),), base=TWO),
        applies=2,
        ready=("False", "RollingOut"),
        served="RollingOut",
        endpoint=None,
    ),
    "the version before is ready while its pods are replaced": Case(
        given=seen(subject(V1), published=V2, live=V1, merged_pods=(answering_pod(V1),)),
        applies=2,
        ready=("True", "Serving"),
        served="RollingOut",
        number=1,
    ),
    "old and new pods together answer on every replica": Case(
        given=seen(
            subject(V2, V1, endpoint=ENDPOINT),
            published=V2,
            live=V2,
            merged_pods=(answering_pod(V1, "old"), answering_pod(V2, "new")),
            base=TWO,
        ),
        applies=2,
        ready=("True", "Serving"),
        served="RollingOut",
    ),
    "a pod that fails says why": Case(
        given=seen(
            subject(V2),
            published=V2,
            live=V2,
            merged_pods=(pod("p", on_pod(V2, "Failing", reason="ImagePullBackOff")),),
        ),
        applies=2,
        ready=("False", "RollingOut"),
        served="RollingOut",
        endpoint=None,
    ),
    "a version that its pod refuses is given up for the one before": Case(
        given=seen(
            subject(V2, V1, endpoint=ENDPOINT),
            published=V2,
            live=V2,
            stable=V1,
            merged_pods=(answering_pod(V1, "old"), pod("new", on_pod(V2, "Refused"), ready=False)),
        ),
        applies=1,
        ready=("True", "Serving"),
        served="Served",
        number=1,
    ),
    "a pin to a version that is not merged serves nothing": Case(
        given=seen(subject(spec=MERGED | {"version": 1}), pinned=UNMERGED),
        ready=("False", "VersionNotMerged"),
        served="NoVersion",
        endpoint=None,
    ),
    "a merged version stays served while the next one is trained": Case(
        given=seen(subject(V1), live=V1, merged_pods=(answering_pod(V1),)),
        applies=1,
        ready=("True", "Serving"),
        served="Served",
        number=1,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_applied_and_said(case: Case) -> None:
    result = plan(case.given)
    status = result.status
    assert isinstance(status, LoraAdapterStatus)
    applied = applied_versions(result)
    assert applied == ([] if case.applies is None else [case.applies])
    ready, serves = find(status.conditions, "Ready"), find(status.conditions, "Served")
    assert ready is not None
    assert serves is not None
    assert (ready.status, ready.reason) == case.ready
    assert serves.reason == case.served
    assert status.served_version == case.number
    assert status.serving.endpoint == case.endpoint


def test_mode_none_ends_the_deployment_at_once_and_once() -> None:
    spec = {"serving": {"mode": "None"}}
    before = plan(seen(subject(V1, spec=spec, endpoint=ENDPOINT), live=V1))
    deleted = [action.kind for action in before.actions if isinstance(action, DeleteObject)]
    assert deleted == ["Service", "Deployment", "PodDisruptionBudget"]
    assert isinstance(before.status, LoraAdapterStatus)
    assert before.status.serving.endpoint is None
    assert not [action for action in plan(seen(subject(spec=spec))).actions if isinstance(action, DeleteObject)]


def test_a_quota_that_takes_none_of_its_pods_is_told() -> None:
    made = deployment(message="FailedCreate: exceeded quota")
    status = plan(seen(subject(V2), published=V2, live=V2, merged_deployment=made)).status
    assert isinstance(status, LoraAdapterStatus)
    serves = find(status.conditions, "Served")
    assert serves is not None
    assert serves.message.endswith("; FailedCreate: exceeded quota")
