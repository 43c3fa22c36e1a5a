"""Queues of a real Kueue, what it does with them, and what it says of a Job."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from demo.cluster import Cluster, Object, condition
from tests.e2e.outages import scaled_to_nothing
from tests.e2e.tenant import Tenant

API: Final = "kueue.x-k8s.io/v1beta2"
NAMESPACE: Final = "kueue-system"
CLUSTER_QUEUE: Final = "graft-trainings"
QUEUE: Final = "gpus"
LOW, HIGH = "graft-low", "graft-high"
TRAINER_CPU: Final = 400
"""Thousandths of a CPU that a trainer asks for."""
POD: Final[Object] = {"queueName": QUEUE, "resources": {"requests": {"cpu": f"{TRAINER_CPU}m", "memory": "1Gi"}}}
TOLD_SECONDS: Final = 60.0
UNSERVED: Final[Object] = {"mode": "None"}
"""Of an adapter that is only trained."""
CONTROLLER: Final = ("-n", NAMESPACE, "deployment/kueue-controller-manager")
CONTROLLER_PODS: Final = ("-n", NAMESPACE, "-l", "control-plane=controller-manager")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kueue:
    """Kueue as whoever runs the cluster sees it."""

    cluster: Cluster
    remove: Callable[[], None]
    """Takes Kueue away, with everything that is in its queues."""

    def give(self, cpu: int, *, policy: str = "None") -> None:
        """Have the queues' quota be so many thousandths of a CPU, and held back altogether with policy Hold."""
        quota = [{"name": "cpu", "nominalQuota": f"{cpu}m"}, {"name": "memory", "nominalQuota": "64Gi"}]
        flavors = [{"name": CLUSTER_QUEUE, "resources": quota}]
        spec = {
            "namespaceSelector": {},
            "stopPolicy": policy,
            "preemption": {"withinClusterQueue": "LowerPriority"},
            "resourceGroups": [{"coveredResources": ["cpu", "memory"], "flavors": flavors}],
        }
        self.cluster.apply(
            made("ResourceFlavor", CLUSTER_QUEUE, spec={}),
            made("ClusterQueue", CLUSTER_QUEUE, spec=spec),
            made("WorkloadPriorityClass", LOW, value=10),
            made("WorkloadPriorityClass", HIGH, value=1000),
        )

    def open(self, tenant: Tenant, *queues: str) -> None:
        """Make LocalQueues of a namespace."""
        for name in queues:
            self.cluster.apply(
                made("LocalQueue", name, tenant.namespace, spec={"clusterQueue": CLUSTER_QUEUE}),
            )

    def workload(self, tenant: Tenant, job: str) -> Object:
        """Return what Kueue has made of a Job."""
        found = self.cluster.list("workloads.kueue.x-k8s.io", tenant.namespace)
        [workload] = [item for item in found if job in [owner["name"] for owner in item["metadata"]["ownerReferences"]]]
        return workload

    @contextmanager
    def away(self, tenant: Tenant) -> Iterator[None]:
        """Run without Kueue's controller, whose webhook the API server asks all the same."""
        with scaled_to_nothing(tenant, deployment=CONTROLLER, pods=CONTROLLER_PODS):
            yield
        answers = made("LocalQueue", "probe", "default", spec={"clusterQueue": CLUSTER_QUEUE})
        deadline = time.monotonic() + TOLD_SECONDS
        while not self._takes(answers):
            assert time.monotonic() < deadline, "Kueue's webhook does not answer"
            time.sleep(1)

    def _takes(self, body: Object) -> bool:
        try:
            self.cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(body))
        except Exception:  # noqa: BLE001 - whatever kubectl says, it is asked again
            return False
        return True


def made(kind: str, name: str, namespace: str = "", **fields: Any) -> Object:
    """Return an object of Kueue's."""
    where = {"namespace": namespace} if namespace else {}
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name, **where}, **fields}


def queued(*words: str) -> Callable[[Object], bool]:
    """Return the goal: the adapter waits in its queue, and both of its conditions say so with these words."""

    def goal(adapter: Object) -> bool:
        told = [condition(adapter, kind) for kind in ("Trained", "Ready")]
        return all(
            item.get("reason") == "Queued" and all(word in item.get("message", "") for word in words) for item in told
        )

    return goal


def read_job(tenant: Tenant, name: str) -> Object:
    """Return a Job as the API server has it."""
    job = tenant.cluster.get("job", name, tenant.namespace)
    assert job is not None, f"Job {name} is gone"
    return job


def assert_trained_once(tenant: Tenant, adapter: str, job: Object) -> None:
    """Nothing was counted as a failure or begun anew: the first Job has published the only version."""
    [name] = tenant.training_jobs(adapter)
    ended = read_job(tenant, name)
    assert ended["metadata"]["uid"] == job["metadata"]["uid"]
    assert ended["status"].get("failed", 0) == 0, ended["status"]
    assert tenant.read(adapter)["status"].get("failedTrainings") is None
    assert [manifest["number"] for manifest in tenant.versions(adapter)] == [1]
