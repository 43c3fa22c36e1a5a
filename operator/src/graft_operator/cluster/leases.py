"""The leader's Lease in `coordination.k8s.io/v1`, as a `LeaseStore` of the engine."""

from datetime import UTC, datetime
from typing import Any

from graft_operator.cluster.client import Cluster, Object
from graft_operator.cluster.errors import AlreadyExists, Conflict, Forbidden, NotFound
from graft_operator.cluster.resources import LEASES
from graft_operator.controller_runtime.lease import LeaseRecord, LeaseTaken, LeaseUnreachable


class ClusterLeaseStore:
    """Reads and writes one Lease with optimistic locking on its resourceVersion."""

    def __init__(self, cluster: Cluster, *, namespace: str, name: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name

    async def read(self) -> LeaseRecord | None:
        """Return the stored record, or None if there is no Lease. Raises Unavailable, LeaseUnreachable."""
        try:
            lease = await self._cluster.get(LEASES, self._namespace, self._name)
        except Forbidden as error:
            raise LeaseUnreachable(str(error)) from error
        return None if lease is None else _record(lease)

    async def write(self, record: LeaseRecord) -> LeaseRecord:
        """Create or replace the Lease.

        Raises LeaseTaken if it is not at `record.version`; Unavailable, LeaseUnreachable.
        """
        body = self._body(record)
        try:
            if record.version:
                return _record(await self._cluster.replace(LEASES, body))
            return _record(await self._cluster.create(LEASES, body))
        except (AlreadyExists, Conflict, NotFound) as error:
            raise LeaseTaken(str(error)) from error
        except Forbidden as error:
            raise LeaseUnreachable(str(error)) from error

    def _body(self, record: LeaseRecord) -> Object:
        metadata: Object = {"namespace": self._namespace, "name": self._name}
        if record.version:
            metadata["resourceVersion"] = record.version
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": metadata,
            "spec": {
                "holderIdentity": record.holder,
                "leaseDurationSeconds": record.duration_seconds,
                "acquireTime": _micro_time(record.acquire_time),
                "renewTime": _micro_time(record.renew_time),
                "leaseTransitions": record.transitions,
            },
        }


def _record(lease: dict[str, Any]) -> LeaseRecord:
    spec = lease.get("spec", {})
    return LeaseRecord(
        holder=spec.get("holderIdentity") or "",
        duration_seconds=spec.get("leaseDurationSeconds") or 1,
        acquire_time=_parsed(spec.get("acquireTime")),
        renew_time=_parsed(spec.get("renewTime")),
        transitions=spec.get("leaseTransitions") or 0,
        version=lease["metadata"]["resourceVersion"],
    )


def _micro_time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _parsed(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else datetime.fromtimestamp(0, UTC)
