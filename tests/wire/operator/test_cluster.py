"""What each `Cluster` method puts on the wire, and what it makes of the answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient, Configuration
from tests.wire.operator.api_server import ApiServer

from graft_operator.cluster import (
    AlreadyExists,
    Cluster,
    ClusterError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Unavailable,
)
from graft_operator.cluster.resources import CONFIG_MAPS, JOBS, LORA_ADAPTERS, PODS, Resource
from graft_operator.cluster.transport import Transport
from graft_operator.controller_runtime.controller import TransientError
from graft_operator.controller_runtime.leader import NotLeader
from graft_operator.telemetry import metrics

ADAPTER: dict[str, Any] = {
    "apiVersion": "graft.dev/v1alpha1",
    "kind": "LoraAdapter",
    "metadata": {"namespace": "team-a", "name": "support", "uid": "u1", "resourceVersion": "7"},
}
JOB: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"namespace": "team-a", "name": "j"},
    "spec": {"new": 1},
}
STORED_JOB: dict[str, Any] = {**JOB, "metadata": {**JOB["metadata"], "uid": "u2", "resourceVersion": "100"}}


async def test_get_returns_the_object_as_it_is(server: ApiServer, cluster: Cluster) -> None:
    server.respond(200, {**ADAPTER, "spec": {"aFieldOfTheFuture": [1]}})
    adapter = await cluster.get(LORA_ADAPTERS, "team-a", "support")
    assert adapter is not None
    assert adapter["spec"] == {"aFieldOfTheFuture": [1]}
    (request,) = server.requests
    assert (request.method, request.path, request.body) == (
        "GET",
        "/apis/graft.dev/v1alpha1/namespaces/team-a/loraadapters/support",
        None,
    )
    assert request.authorization == "bearer secret"


async def test_get_of_what_is_not_there_is_none(server: ApiServer, cluster: Cluster) -> None:
    server.refuse(404, "NotFound", "no")
    assert await cluster.get(PODS, "team-a", "p") is None
    assert server.requests[0].path == "/api/v1/namespaces/team-a/pods/p"


async def test_list_follows_the_chunks_and_gives_items_their_type(server: ApiServer, cluster: Cluster) -> None:
    server.respond(200, {"metadata": {"continue": "next"}, "items": [{"metadata": {"name": "a"}}]})
    server.respond(200, {"metadata": {}, "items": [{"metadata": {"name": "b"}}]})
    pods = await cluster.list(PODS, "team-a", label_selector="x=y", field_selector="status.phase=Running")
    assert [(pod["apiVersion"], pod["kind"], pod["metadata"]["name"]) for pod in pods] == [
        ("v1", "Pod", "a"),
        ("v1", "Pod", "b"),
    ]
    first, second = server.requests
    assert (first.method, first.path) == ("GET", "/api/v1/namespaces/team-a/pods")
    assert first.query == {"limit": "500", "labelSelector": "x=y", "fieldSelector": "status.phase=Running"}
    assert second.query == {**first.query, "continue": "next"}


async def test_list_without_a_namespace_is_clusterwide(server: ApiServer, cluster: Cluster) -> None:
    server.respond(200, {"metadata": {}, "items": None})
    assert await cluster.list(JOBS) == []
    assert server.requests[0].path == "/apis/batch/v1/jobs"


async def test_create_posts_the_body_unchanged(server: ApiServer, cluster: Cluster) -> None:
    server.respond(201, STORED_JOB)
    assert await cluster.create(JOBS, JOB) == STORED_JOB
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/apis/batch/v1/namespaces/team-a/jobs")
    assert (request.content_type, request.body) == ("application/json", JOB)
    assert request.query == {"fieldManager": "graft-operator"}


async def test_apply_is_a_forced_server_side_apply(server: ApiServer, cluster: Cluster) -> None:
    server.respond(200, STORED_JOB)
    await cluster.apply(JOBS, JOB)
    (request,) = server.requests
    assert (request.method, request.path) == ("PATCH", "/apis/batch/v1/namespaces/team-a/jobs/j")
    assert (request.content_type, request.body) == ("application/apply-patch+yaml", JOB)
    assert request.query == {"fieldManager": "graft-operator", "force": "true"}


async def test_apply_status_writes_only_the_status_of_the_object_it_was_computed_for(
    server: ApiServer, cluster: Cluster
) -> None:
    await cluster.apply_status(LORA_ADAPTERS, "team-a", "support", {"servedVersion": 3}, uid="u1")
    (request,) = server.requests
    assert (request.method, request.path) == (
        "PATCH",
        "/apis/graft.dev/v1alpha1/namespaces/team-a/loraadapters/support/status",
    )
    assert request.content_type == "application/apply-patch+yaml"
    assert request.query == {"fieldManager": "graft-operator", "force": "true"}
    assert request.body == {
        "apiVersion": "graft.dev/v1alpha1",
        "kind": "LoraAdapter",
        "metadata": {"namespace": "team-a", "name": "support", "uid": "u1"},
        "status": {"servedVersion": 3},
    }


FINALIZER_OPS: list[dict[str, Any]] = [
    {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
    {"op": "add", "path": "/metadata/finalizers", "value": ["graft.dev/registry"]},
]


async def test_patch_json_sends_the_operations(server: ApiServer, cluster: Cluster) -> None:
    await cluster.patch_json(LORA_ADAPTERS, "team-a", "support", FINALIZER_OPS)
    (request,) = server.requests
    assert (request.method, request.content_type, request.body) == (
        "PATCH",
        "application/json-patch+json",
        FINALIZER_OPS,
    )


async def test_a_failed_test_of_a_patch_is_a_conflict_but_an_invalid_object_is_not(
    server: ApiServer, cluster: Cluster
) -> None:
    server.refuse(422, "Invalid", "the server rejected our request due to an error in our request")
    with pytest.raises(Conflict):
        await cluster.patch_json(LORA_ADAPTERS, "team-a", "support", FINALIZER_OPS)
    server.refuse(422, "Invalid", "bad finalizer", causes=[{"field": "metadata.finalizers"}])
    with pytest.raises(Invalid, match="bad finalizer"):
        await cluster.patch_json(LORA_ADAPTERS, "team-a", "support", FINALIZER_OPS)


async def test_delete_sends_the_propagation_and_the_uid(server: ApiServer, cluster: Cluster) -> None:
    assert await cluster.delete(JOBS, "team-a", "j", uid="u2", propagation="Foreground") is True
    (request,) = server.requests
    assert (request.method, request.path) == ("DELETE", "/apis/batch/v1/namespaces/team-a/jobs/j")
    assert request.body == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Foreground",
        "preconditions": {"uid": "u2"},
    }


async def test_delete_of_what_is_gone_or_replaced_is_no_error(server: ApiServer, cluster: Cluster) -> None:
    server.refuse(404, "NotFound", "no")
    assert await cluster.delete(JOBS, "team-a", "j") is False
    server.refuse(409, "Conflict", "the UID in the precondition (u2) does not match")
    assert await cluster.delete(JOBS, "team-a", "j", uid="u2") is False


async def test_an_event_is_about_its_object_and_short_enough(server: ApiServer, cluster: Cluster) -> None:
    cluster.record_event(ADAPTER, reason="Published", message="ä" * 2000, action="Publish", warning=True)
    assert not server.requests, "whoever records an event doesn't wait for it"
    await cluster.events.flush()
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/apis/events.k8s.io/v1/namespaces/team-a/events")
    event = request.body
    assert event["regarding"] == {
        "apiVersion": "graft.dev/v1alpha1",
        "kind": "LoraAdapter",
        "namespace": "team-a",
        "name": "support",
        "uid": "u1",
        "resourceVersion": "7",
    }
    assert (event["type"], event["reason"], event["action"]) == ("Warning", "Published", "Publish")
    assert (event["reportingController"], event["reportingInstance"]) == ("graft-operator", "pod-1")
    assert event["metadata"]["name"].startswith("support.")
    assert len(event["note"].encode()) <= 1024


async def test_an_event_that_cannot_be_posted_is_no_error(server: ApiServer, cluster: Cluster) -> None:
    server.refuse(403, "Forbidden", "events are forbidden")
    cluster.record_event(ADAPTER, reason="Published", message="m", action="Publish")
    cluster.record_event(ADAPTER, reason="Served", message="m", action="Publish")
    await cluster.events.flush()
    assert [request.body["reason"] for request in server.requests] == ["Published", "Served"]


async def test_events_are_posted_in_order_beside_everything_else(server: ApiServer, cluster: Cluster) -> None:
    posting = asyncio.create_task(cluster.events.run())
    for number in range(20):
        cluster.record_event(ADAPTER, reason=f"Reason{number}", message="m", action="Publish")
    async with asyncio.timeout(60):
        while len(server.requests) < 20:  # noqa: ASYNC110 - the server runs in a thread of its own
            await asyncio.sleep(0.01)
    posting.cancel()
    assert [request.body["reason"] for request in server.requests] == [f"Reason{number}" for number in range(20)]


Call = Callable[[Cluster], Awaitable[Any]]


def create(cluster: Cluster) -> Awaitable[Any]:
    return cluster.create(JOBS, JOB)


def apply(cluster: Cluster) -> Awaitable[Any]:
    return cluster.apply(CONFIG_MAPS, {**JOB, "kind": "ConfigMap"})


def list_jobs(cluster: Cluster) -> Awaitable[Any]:
    return cluster.list(JOBS)


@pytest.mark.parametrize(
    ("call", "status", "reason", "expected"),
    [
        (create, 409, "AlreadyExists", AlreadyExists),
        (create, 404, "NotFound", NotFound),
        (create, 422, "Invalid", Invalid),
        (create, 400, "BadRequest", Invalid),
        (create, 403, "Forbidden", Forbidden),
        (apply, 409, "Conflict", Conflict),
        (apply, 401, "Unauthorized", Unavailable),
        (list_jobs, 410, "Expired", Gone),
        (list_jobs, 429, "TooManyRequests", Unavailable),
        (list_jobs, 500, "InternalError", Unavailable),
        (list_jobs, 504, "Timeout", Unavailable),
        (list_jobs, 405, "MethodNotAllowed", ClusterError),
    ],
)
async def test_refusals_become_our_own_errors_with_the_servers_words(
    server: ApiServer, cluster: Cluster, call: Call, status: int, reason: str, expected: type[ClusterError]
) -> None:
    server.refuse(status, reason, "the server's words")
    with pytest.raises(expected, match=rf"the server's words \({status}\)") as caught:
        await call(cluster)
    assert type(caught.value) is expected


async def test_only_what_may_pass_by_itself_is_transient() -> None:
    transient = {kind for kind in (AlreadyExists, Conflict, Forbidden, Invalid, NotFound, Unavailable)
                 if issubclass(kind, TransientError)}  # fmt: skip
    assert transient == {Conflict, Unavailable}


async def test_an_answer_of_a_proxy_is_unavailable(server: ApiServer, cluster: Cluster) -> None:
    server.respond(502, "<html>bad gateway</html>")
    with pytest.raises(Unavailable, match="bad gateway"):
        await cluster.list(JOBS)
    server.respond(200, "<html>welcome</html>")
    with pytest.raises(Unavailable, match="not a JSON object"):
        await cluster.list(JOBS)


async def test_no_server_is_unavailable_and_counted_as_code_0() -> None:
    def count() -> float:
        labels = {"verb": "get", "resource": "pods", "code": "0"}
        return metrics.REGISTRY.get_sample_value("graft_kubernetes_requests_total", labels) or 0.0

    before = count()
    async with ApiClient(Configuration(host="http://127.0.0.1:1")) as api:
        with pytest.raises(Unavailable, match="GET /api/v1/namespaces/ns/pods/p: no answer"):
            await Cluster(Transport(api)).get(PODS, "ns", "p")
    assert count() == before + 1


async def test_requests_are_counted_by_verb_resource_and_code(server: ApiServer, cluster: Cluster) -> None:
    labels = {"verb": "apply", "resource": "jobs", "code": "201"}
    before = metrics.REGISTRY.get_sample_value("graft_kubernetes_requests_total", labels) or 0.0
    server.respond(201, STORED_JOB)
    await cluster.apply(JOBS, JOB)
    assert metrics.REGISTRY.get_sample_value("graft_kubernetes_requests_total", labels) == before + 1


def test_names_cannot_leave_their_path_segment() -> None:
    resource = Resource("graft.dev", "v1alpha1", "loraadapters", "LoraAdapter")
    assert resource.path("ns", "a/../b?c", "status").endswith("/namespaces/ns/loraadapters/a%2F..%2Fb%3Fc/status")


async def test_who_may_not_write_any_more_writes_nothing_and_still_tells_what_has_been(
    server: ApiServer, cluster: Cluster
) -> None:
    @asynccontextmanager
    async def closed() -> AsyncIterator[None]:
        raise NotLeader("the lease is not surely ours")
        yield

    cluster.requesting = closed
    with pytest.raises(NotLeader):
        await cluster.apply(JOBS, JOB)
    with pytest.raises(NotLeader):
        await cluster.delete(JOBS, "team-a", "j")
    assert not server.requests
    cluster.record_event(ADAPTER, reason="Published", message="m", action="Publish")
    await cluster.events.flush()
    assert [request.body["reason"] for request in server.requests] == ["Published"]
