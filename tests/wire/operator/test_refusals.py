"""What comes of a plan of which the API server refuses a part."""

from __future__ import annotations

from typing import Any

import pytest
from tests.wire.operator.api_server import ApiServer

from graft_operator.cluster import Cache, Cluster, Unavailable
from graft_operator.cluster.errors import NamespaceTerminating
from graft_operator.cluster.resources import BASE_MODELS, JOBS
from graft_operator.plan.actions import ApplyObject, CreateJob, DeleteObject, EmitEvent
from graft_operator.reconcilers.executor import ActionExecutor
from graft_operator.reconcilers.refused_children import Outcome

BASE: dict[str, Any] = {
    "apiVersion": "graft.dev/v1alpha1",
    "kind": "BaseModel",
    "metadata": {"namespace": "team-a", "name": "tiny", "uid": "u1", "resourceVersion": "7", "generation": 1},
}


def child(kind: str, name: str = "x", **spec: Any) -> dict[str, Any]:
    metadata = {"namespace": "team-a", "name": name, "labels": {"graft.dev/component": "serving"}}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec}


DEPLOYMENT, SERVICE = ApplyObject(child("Deployment")), ApplyObject(child("Service"))
GONE = DeleteObject("Job", "x", "u2")
JOB, EVENT = CreateJob(child("Job")), EmitEvent("Normal", "JobCreated", "Job x is created")


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def effects(cluster: Cluster, cache: Cache, clock: Clock) -> ActionExecutor:
    return ActionExecutor(cluster, cache, None, clock)  # type: ignore[arg-type]


def told(outcome: Outcome) -> list[str]:
    return [rejection.kind for rejection in outcome.rejections]


def paths(server: ApiServer) -> list[str]:
    return [request.path.rsplit("/", maxsplit=2)[-2] for request in server.requests]


async def test_a_quota_refuses_the_deployment_and_the_service_is_applied(
    server: ApiServer, effects: ActionExecutor
) -> None:
    server.refuse(403, "Forbidden", 'deployments.apps "x" is forbidden: exceeded quota: team-a')
    outcome = await effects.carry_out(BASE_MODELS, BASE, [DEPLOYMENT, SERVICE])
    assert told(outcome) == ["Deployment"]
    assert "exceeded quota: team-a (403)" in outcome.rejections[0].message
    assert outcome.rejections[0].component == "serving"
    assert outcome.requeue_after is not None
    assert paths(server) == ["deployments", "services"]


@pytest.mark.parametrize(("status", "reason"), [(422, "Invalid"), (400, "BadRequest"), (413, "TooLarge")])
async def test_other_refusals(server: ApiServer, effects: ActionExecutor, status: int, reason: str) -> None:
    server.refuse(status, reason, "no")
    assert told(await effects.carry_out(BASE_MODELS, BASE, [DEPLOYMENT])) == ["Deployment"]


async def test_a_job_that_is_refused_has_no_event(server: ApiServer, effects: ActionExecutor) -> None:
    server.refuse(403, "Forbidden", "admission webhook denied the request")
    outcome = await effects.carry_out(BASE_MODELS, BASE, [JOB, EVENT, SERVICE])
    assert told(outcome) == ["Job"]
    assert [request.method for request in server.requests] == ["POST", "PATCH"]


async def test_a_job_waits_for_the_end_of_the_one_before_and_has_no_event(
    server: ApiServer, effects: ActionExecutor
) -> None:
    server.refuse(403, "Forbidden", "admission webhook denied the request")
    outcome = await effects.carry_out(BASE_MODELS, BASE, [GONE, JOB, EVENT, SERVICE])
    assert told(outcome) == ["Job"]
    assert outcome.rejections[0].is_deletion
    assert [request.method for request in server.requests] == ["DELETE", "PATCH"]


async def test_a_deployment_waits_for_its_service(server: ApiServer, effects: ActionExecutor) -> None:
    server.refuse(403, "Forbidden", "exceeded quota")
    other = ApplyObject(child("Deployment", "y"))
    assert told(await effects.carry_out(BASE_MODELS, BASE, [SERVICE, DEPLOYMENT, other])) == ["Service"]
    assert [request.body["metadata"]["name"] for request in server.requests] == ["x", "y"]


async def test_a_job_that_is_made_is_told_and_known_at_once(
    server: ApiServer, cluster: Cluster, effects: ActionExecutor, cache: Cache
) -> None:
    assert await effects.carry_out(BASE_MODELS, BASE, [JOB, EVENT]) == Outcome()
    await cluster.events.flush()
    assert cache.get(JOBS, "team-a", "x") is not None
    assert [request.body["kind"] for request in server.requests] == ["Job", "Event"]


async def test_a_refused_child_rests_and_is_told_all_the_same(
    server: ApiServer, effects: ActionExecutor, clock: Clock
) -> None:
    rests = []
    for _ in range(12):
        server.refuse(403, "Forbidden", "exceeded quota")
        rest = (await effects.carry_out(BASE_MODELS, BASE, [DEPLOYMENT])).requeue_after
        assert rest is not None
        before = len(server.requests)
        clock.seconds += rest / 2
        assert told(await effects.carry_out(BASE_MODELS, BASE, [DEPLOYMENT])) == ["Deployment"]
        assert len(server.requests) == before, "it rests"
        clock.seconds += rest / 2 + 0.001
        rests.append(rest)
    assert rests[0] <= 1
    assert 150 <= rests[-1] <= 300
    assert await effects.carry_out(BASE_MODELS, BASE, [DEPLOYMENT]) == Outcome()


async def test_another_content_does_not_rest(server: ApiServer, effects: ActionExecutor) -> None:
    server.refuse(422, "Invalid", "no")
    await effects.carry_out(BASE_MODELS, BASE, [DEPLOYMENT])
    assert await effects.carry_out(BASE_MODELS, BASE, [ApplyObject(child("Deployment", replicas=1))]) == Outcome()


async def test_what_may_pass_by_itself_stops_the_rest(server: ApiServer, effects: ActionExecutor) -> None:
    server.refuse(503, "ServiceUnavailable", "later")
    outcome = await effects.carry_out(BASE_MODELS, BASE, [DEPLOYMENT, SERVICE])
    assert isinstance(outcome.problem, Unavailable)
    assert outcome.put_off == (DEPLOYMENT, SERVICE)
    server.refuse(403, "Forbidden", "going", causes=[{"reason": "NamespaceTerminating"}])
    outcome = await effects.carry_out(BASE_MODELS, BASE, [DEPLOYMENT, SERVICE])
    assert isinstance(outcome.problem, NamespaceTerminating)
    assert paths(server) == ["deployments", "deployments"]
