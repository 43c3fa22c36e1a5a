"""The *restricted* Pod Security Standard, as far as our pods touch it.

After https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
"""

from __future__ import annotations

from typing import Any

VOLUME_KINDS = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def violations(pod: dict[str, Any]) -> list[str]:
    """Return what a namespace that enforces the standard would refuse the pod for."""
    found = [f"{name} is set" for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    context = pod.get("securityContext", {})
    if not context.get("runAsNonRoot") or context.get("runAsUser") == 0:
        found.append("the pod may run as root")
    if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        found.append("no seccomp profile")
    found += [
        f"volume {volume['name']} is of a forbidden kind"
        for volume in pod.get("volumes", [])
        if not set(volume) - {"name"} <= VOLUME_KINDS
    ]
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        found += [f"container {container['name']}: {problem}" for problem in _of_container(container)]
    return found


def _of_container(container: dict[str, Any]) -> list[str]:
    context = container.get("securityContext", {})
    found = []
    if context.get("allowPrivilegeEscalation") is not False:
        found.append("privilege escalation")
    if context.get("privileged"):
        found.append("privileged")
    if context.get("capabilities", {}).get("drop") != ["ALL"] or context.get("capabilities", {}).get("add"):
        found.append("capabilities")
    if any("hostPort" in port for port in container.get("ports", [])):
        found.append("host port")
    return found
