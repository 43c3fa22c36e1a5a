"""The status algorithm that GitOps tools run over our objects.

After sigs.k8s.io/cli-utils, pkg/kstatus/status/generic.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Kstatus = Literal["Terminating", "InProgress", "Failed", "Current"]


def kstatus(body: Mapping[str, Any]) -> Kstatus:
    """Return what kubectl-like tools make of an object with conditions."""
    metadata, status = body["metadata"], body.get("status", {})
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    if "observedGeneration" in status and status["observedGeneration"] != metadata["generation"]:
        return "InProgress"
    conditions = status.get("conditions", [])
    for condition in conditions:
        if condition["type"] == "Reconciling" and condition["status"] == "True":
            return "InProgress"
        if condition["type"] == "Stalled" and condition["status"] == "True":
            return "Failed"
    ready = next((condition for condition in conditions if condition["type"] == "Ready"), None)
    return "InProgress" if ready is not None and ready["status"] != "True" else "Current"
