"""What Kueue says of a Job in a queue: by the Workload that it has made of the Job, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from graft_operator.cluster import Cache
from graft_operator.cluster.errors import TOO_LARGE
from graft_operator.cluster.resources import WORKLOADS
from graft_operator.manifests import labels
from graft_operator.plan.jobs import Queueing
from graft_operator.reconcilers.snapshots.containers import text
from graft_operator.routing import is_terminating

Object = Mapping[str, Any]


def queueing_of(job: Object, cache: Cache) -> Queueing | None:
    """Return what Kueue makes of a Job; None for one that is in no queue."""
    metadata = job["metadata"]
    queue = text((metadata.get("labels") or {}).get(labels.KUEUE_QUEUE))
    if not queue:
        return None
    namespace = metadata["namespace"]
    kueue, workload = kueue_of(cache, namespace), newest(cache.workloads_of(namespace, metadata["uid"]))
    if workload is None or kueue in ("Missing", "Forbidden", "TooLarge"):
        return Queueing(queue=queue, kueue=kueue)  # what was heard before is not true for ever
    return Queueing(
        queue=queue,
        kueue=kueue,
        workload=workload["metadata"]["name"],
        says=said_of(workload),
        is_admitted=is_admitted(conditions_of(workload)),
        is_kept=is_terminating(workload),
    )


def kueue_of(cache: Cache, namespace: str) -> Literal["Served", "Missing", "Forbidden", "TooLarge", "Unknown"]:
    """Return whether the cluster has Kueue, as far as reading its Workloads tells."""
    if cache.is_synced(WORKLOADS, namespace):
        return "Served"
    problem = cache.problem(WORKLOADS, namespace)
    if "(403)" in problem:
        return "Forbidden"
    if TOO_LARGE in problem:
        return "TooLarge"
    return "Missing" if "(404)" in problem else "Unknown"


def newest(workloads: Iterable[Object]) -> Object | None:
    """Return the last that was made of a Job; Kueue deletes those before it."""
    return max(workloads, key=lambda item: str(item["metadata"].get("creationTimestamp", "")), default=None)


def said_of(workload: Object) -> str:
    """Return why the Workload is not let run; empty while Kueue has not said anything.

    What is over for good comes first, then who else has to agree, and then the quota. A Workload that was evicted stays
    so until it is admitted again.
    """
    spec, status = workload.get("spec") or {}, workload.get("status") or {}
    conditions = conditions_of(workload)
    if is_true(conditions, "Finished"):
        return f"its Workload {workload['metadata']['name']} is finished: {message_of(conditions, 'Finished')}"
    if spec.get("active") is False:
        return message_of(conditions, "Evicted") or "The workload is deactivated"
    if is_admitted(conditions):
        return ""
    if is_true(conditions, "QuotaReserved") and (check := unmet_check(status)):
        return check
    last = message_of(conditions, "QuotaReserved") if not is_true(conditions, "QuotaReserved") else ""
    evicted = message_of(conditions, "Evicted") if is_true(conditions, "Evicted") else ""
    return f"{last} (evicted before: {evicted})" if last and evicted not in ("", last) else last or evicted


def conditions_of(workload: Object) -> dict[str, Object]:
    """Return the Workload's conditions by type."""
    status = workload.get("status") or {}
    return {str(item.get("type")): item for item in status.get("conditions") or ()}


def is_admitted(conditions: Mapping[str, Object]) -> bool:
    """Whether nothing stands between the Job and its pods but Kueue's next step."""
    over = is_true(conditions, "Evicted") or is_true(conditions, "Finished")
    return is_true(conditions, "Admitted") and not over


def unmet_check(status: Object) -> str:
    """Return what the first admission check says that does not agree yet; empty where all do."""
    for check in status.get("admissionChecks") or ():
        if check.get("state") != "Ready":
            said = text(check.get("message"))
            return text(f"admission check {check.get('name')} is {check.get('state')}" + (f": {said}" if said else ""))
    return ""


def is_true(conditions: Mapping[str, Object], kind: str) -> bool:
    """Whether the condition of that type holds."""
    return conditions.get(kind, {}).get("status") == "True"


def message_of(conditions: Mapping[str, Object], kind: str) -> str:
    """Return what the condition of that type says; empty where there is none."""
    return text(conditions.get(kind, {}).get("message"))
