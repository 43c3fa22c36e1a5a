"""What voluntary disruptions may do to serving pods: drains and upgrades take them one at a time."""

from __future__ import annotations

from typing import Any


def disruption_budget(metadata: dict[str, Any], selector: dict[str, str]) -> dict[str, Any]:
    """Return the PodDisruptionBudget of one revision.

    At most one pod is away at a time, so a single replica never blocks a drain. A pod that does not answer anyway may
    always be evicted: otherwise a broken engine would hold up the upgrade of its node.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata,
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector},
        },
    }
