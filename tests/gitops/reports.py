"""What a GitOps tool says of a commit: read from its objects, in the same words for each tool. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from demo.cluster import Object, condition

State = Literal["Unseen", "Working", "Done", "Failed"]
"""Unseen: it speaks of an older commit."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is said of one commit."""

    state: State
    message: str = ""


def of_kustomization(body: Object, commit: str) -> Report:
    """Return what Flux's Kustomization says: `flux get kustomizations` shows the same condition."""
    status, ready = body.get("status", {}), condition(body, "Ready")
    told = f"{ready['status']} {ready.get('reason', '')}: {ready.get('message', '')}"
    if not status.get("lastAttemptedRevision", "").endswith(commit):
        return Report("Unseen", told)
    current = status.get("observedGeneration") == body["metadata"]["generation"]
    if current and ready["status"] == "True" and status.get("lastAppliedRevision", "").endswith(commit):
        return Report("Done", told)
    return Report("Failed" if ready["status"] == "False" else "Working", told)


def of_application(body: Object, commit: str) -> Report:
    """Return what Argo CD's Application says: what its pages show as sync status and health."""
    status = body.get("status", {})
    sync, health = status.get("sync", {}), status.get("health", {})
    parts = [f"{sync.get('status')}, {health.get('status')}"]
    for resource in status.get("resources", []):
        said = resource.get("health", {})
        parts.append(f"{resource['kind']} {resource['name']}: {said.get('status')} {said.get('message', '')}")
    if (operation := status.get("operationState", {})).get("phase") not in (None, "Succeeded"):
        parts.append(f"operation {operation['phase']}: {operation.get('message', '')}")
    told = "; ".join(parts)
    if sync.get("revision") != commit:
        return Report("Unseen", told)
    if sync.get("status") != "Synced":
        return Report("Working", told)
    states: dict[str, State] = {"Healthy": "Done", "Degraded": "Failed"}
    return Report(states.get(health.get("status", ""), "Working"), told)
