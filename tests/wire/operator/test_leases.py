"""The Lease on the wire, and a leader whose store is a real HTTP API."""

from datetime import UTC, datetime

import pytest
from tests.wire.operator.api_server import ApiServer

from graft_operator.cluster import Cluster
from graft_operator.cluster.leases import ClusterLeaseStore
from graft_operator.controller_runtime.lease import LeaseRecord, LeaseTaken, LeaseUnreachable

MOMENT = datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
RECORD = LeaseRecord(holder="pod-1", duration_seconds=15, acquire_time=MOMENT, renew_time=MOMENT, transitions=2)
STORED = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": {"namespace": "graft-system", "name": "graft-operator", "resourceVersion": "42"},
    "spec": {
        "holderIdentity": "pod-1",
        "leaseDurationSeconds": 15,
        "acquireTime": "2030-01-02T03:04:05.000678Z",
        "renewTime": "2030-01-02T03:04:05.000678Z",
        "leaseTransitions": 2,
    },
}
PATH = "/apis/coordination.k8s.io/v1/namespaces/graft-system/leases"


@pytest.fixture
def store(cluster: Cluster) -> ClusterLeaseStore:
    return ClusterLeaseStore(cluster, namespace="graft-system", name="graft-operator")


async def test_a_new_lease_is_created_and_read_back(server: ApiServer, store: ClusterLeaseStore) -> None:
    server.respond(201, STORED)
    written = await store.write(RECORD)
    assert written.version == "42"
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", PATH)
    assert request.body["spec"] == STORED["spec"]
    assert "resourceVersion" not in request.body["metadata"]
    server.respond(200, STORED)
    assert await store.read() == written


async def test_a_renewal_is_locked_to_the_version_it_read(server: ApiServer, store: ClusterLeaseStore) -> None:
    server.respond(200, STORED)
    record = await store.read()
    assert record is not None
    server.respond(200, STORED)
    await store.write(record)
    request = server.requests[-1]
    assert (request.method, request.path) == ("PUT", f"{PATH}/graft-operator")
    assert request.body["metadata"]["resourceVersion"] == "42"


@pytest.mark.parametrize(
    ("version", "status", "reason"), [("", 409, "AlreadyExists"), ("41", 409, "Conflict"), ("41", 404, "NotFound")]
)
async def test_a_write_that_came_too_late_means_that_the_lease_is_taken(
    server: ApiServer, store: ClusterLeaseStore, version: str, status: int, reason: str
) -> None:
    server.refuse(status, reason, "too late")
    record = LeaseRecord(
        holder="x", duration_seconds=1, acquire_time=MOMENT, renew_time=MOMENT, transitions=0, version=version
    )
    with pytest.raises(LeaseTaken):
        await store.write(record)


async def test_a_lease_written_by_hand_reads_as_released(server: ApiServer, store: ClusterLeaseStore) -> None:
    server.respond(200, {"metadata": {"resourceVersion": "1"}, "spec": {}})
    record = await store.read()
    assert record is not None
    assert (record.holder, record.version) == ("", "1")


async def test_a_refusal_is_waited_for_as_an_outage_is(server: ApiServer, store: ClusterLeaseStore) -> None:
    server.refuse(403, "Forbidden", "the Role is being changed")
    with pytest.raises(LeaseUnreachable, match="Role"):
        await store.read()
    server.refuse(403, "Forbidden", "the Role is being changed")
    with pytest.raises(LeaseUnreachable, match="Role"):
        await store.write(RECORD)
