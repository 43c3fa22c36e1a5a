"""How long the operator takes from an adapter that is there to its training Job."""

from __future__ import annotations

import queue
import statistics
import threading

import pytest
from demo.cluster import Event
from tests.e2e.figures import Figures
from tests.e2e.tenant import ADAPTERS, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
ADAPTER_COUNT = 20
NOWHERE = {"nodeSelector": {"graft.dev/no-such-node": "true"}}
"""Keeps the pods of the Jobs from starting: it is the operator that is measured."""


class Arrivals:
    """Objects of one kind as they appear in a watch."""

    def __init__(self, tenant: Tenant, kind: str) -> None:
        self._events: queue.Queue[Event] = queue.Queue()
        self._tenant, self._kind = tenant, kind
        threading.Thread(target=self._watch, daemon=True).start()

    def next(self) -> Event:
        """Return the next new object."""
        return self._events.get(timeout=120)

    def _watch(self) -> None:
        for event in self._tenant.cluster.watch(self._kind, self._tenant.namespace, timeout=240):
            if event.type == "ADDED":
                self._events.put(event)


def test_adapter_to_job_latency(tenant: Tenant, figures: Figures) -> None:
    tenant.apply(tenant.base())
    tenant.wait_resolved()
    tenant.cluster.delete("job", "--all", tenant.namespace)
    adapters, jobs = Arrivals(tenant, ADAPTERS), Arrivals(tenant, "jobs")
    latencies = []
    for number in range(ADAPTER_COUNT):
        name = f"quick-{number:02d}"
        tenant.apply(tenant.adapter(name, pod=NOWHERE))
        adapter, job = adapters.next(), jobs.next()
        assert job.object["metadata"]["name"].startswith(f"{name}-train-")
        latencies.append(job.arrived - adapter.arrived)
    tenant.cluster.delete(ADAPTERS, "--all", tenant.namespace)
    figures.note(f"adapter seen → Job seen, median of {ADAPTER_COUNT}", statistics.median(latencies), "s")
    figures.note(f"adapter seen → Job seen, slowest of {ADAPTER_COUNT}", max(latencies), "s")
    assert statistics.median(latencies) < 3
