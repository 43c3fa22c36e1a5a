"""What the containers of a pod say: why they don't start, and how they ended. Everything that they say is untrusted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from graft_operator.manifests.jobs.exit_codes import OUT_OF_MEMORY
from graft_operator.plan.jobs import REASON
from graft_operator.plan.pod_problems import IMAGE_REASONS

Object = Mapping[str, Any]

OWN_CONTAINERS: Final = ("trainer", "import", "resolve", "test")
"""The containers by whose end a Job is judged. Others in its pods are helpers of ours, or were put there by a mesh."""

WAITING_FOR_NODE: Final = "WaitingForNode"
"""Our reason for a pod that no node can take, while an autoscaler brings one that can."""

BACK_OFF: Final = "CrashLoopBackOff"

WAITING_REASONS: Final = frozenset(
    {*IMAGE_REASONS, "CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
"""Reasons for which a container waits that a person wants to know of."""

MESSAGE_LIMIT: Final = 600
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
LAST_LINES: Final = 8


def outcome_of(pod: Object) -> Object:
    """Return how the pod ended: what it said itself, that memory was short, or its last lines."""
    return termination_of(pod) or memory_kill(pod) or last_lines_of(pod)


def memory_kill(pod: Object) -> Object:
    """Return the outcome of a pod whose own container the kernel killed for want of memory; empty otherwise.

    Only a container that reached its own limit is told so. One that was killed because its node ran out of memory looks
    like one that a person killed, and is simply tried again.
    """
    ended = own_end(pod) or {}
    if ended.get("reason") != "OOMKilled":
        return {}
    name = next(item["name"] for item in own_statuses(pod))
    limit = _memory_limit(pod, name)
    bound = f"its limit of {limit} (resources.limits.memory)" if limit else "its limit"
    message = f"the kernel killed container {name}, which needed more than {bound}"
    return {"outcome": "Failed", "reason": OUT_OF_MEMORY, "message": message}


def last_lines_of(pod: Object) -> Object:
    """Return the last lines of a container of ours that died without an outcome, such as by a signal."""
    own = [*own_statuses(pod), *pod.get("status", {}).get("initContainerStatuses", [])]
    for status in own:
        ended = status.get("state", {}).get("terminated") or {}
        if ended.get("message") and exit_code(ended) != 0:
            return {"message": last_lines(ended["message"])}
    return {}


def termination_of(pod: Object) -> Object:
    """Return the JSON of the pod's termination message; empty when there is none, or none of ours."""
    for status in _container_statuses(pod):
        for state in (status.get("state", {}), status.get("lastState", {})):
            if said := _document(state.get("terminated", {}).get("message")):
                return said
    return {}


def pod_problem(pod: Object, node_comes: str = "") -> str:
    """Return why the pod does not run, as ``Reason: message``; empty when nothing stands in its way.

    ``node_comes`` is what an autoscaler says of the node that it brings for the pod: then nothing is amiss. A container
    that died tells why itself: that the kubelet waits before it starts it again helps nobody.
    """
    for condition in pod.get("status", {}).get("conditions", []):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            problem = f"{condition.get('reason', 'Unschedulable')}: {text(condition.get('message'))}"
            return f"{WAITING_FOR_NODE}: {node_comes}; until then {problem}" if node_comes else problem
    is_restarted = pod.get("spec", {}).get("restartPolicy") == "Always"
    return next(filter(None, (_container_problem(status, is_restarted) for status in _container_statuses(pod))), "")


def _container_problem(status: Object, is_restarted: bool) -> str:
    """Return why a container does not run; one that has ended and is about to be started again tells the same."""
    name, waiting = status.get("name"), status.get("state", {}).get("waiting") or {}
    ended, before = (status.get(state, {}).get("terminated") or {} for state in ("state", "lastState"))
    if waiting.get("reason") == BACK_OFF:
        return f"{BACK_OFF}: container {name}: {_last_words(before) or text(waiting.get('message'))}"
    if waiting.get("reason") in WAITING_REASONS:
        return f"{waiting['reason']}: container {name}: {text(waiting.get('message')) or _last_words(before)}"
    is_to_return = is_restarted and ended and exit_code(ended) != 0
    return f"{BACK_OFF}: container {name}: {_last_words(ended)}" if is_to_return else ""


def has_ended(pod: Object) -> bool:
    """Whether the pod will never run again."""
    return pod.get("status", {}).get("phase") in ("Failed", "Succeeded")


def own_end(pod: Object) -> Object | None:
    """Return how the container by which the Job is judged has ended; None while it has not."""
    ends = [status.get("state", {}).get("terminated") for status in own_statuses(pod)]
    return next(filter(None, ends), None)


def others_run(pod: Object) -> bool:
    """Whether a container runs that is none of ours: a pod that is only about to end has none."""
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return any(item.get("name") not in OWN_CONTAINERS and item.get("state", {}).get("running") for item in statuses)


def last_lines(log: Any) -> str:
    """Return the end of a log, by whole lines where they are not too long."""
    kept: list[str] = []
    for line in reversed(printable(log).strip().splitlines()[-LAST_LINES:]):
        if kept and len("\n".join([line, *kept])) > MESSAGE_LIMIT:
            break
        kept.insert(0, line)
    return "\n".join(kept)[-MESSAGE_LIMIT:]


def own_statuses(pod: Object) -> list[Object]:
    """Return the statuses of the containers by which a Job is judged: one."""
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return [status for status in statuses if status.get("name") in OWN_CONTAINERS]


def _container_statuses(pod: Object) -> list[Object]:
    """Return all containers that tell something, those first by which a Job is judged."""
    status = pod.get("status", {})
    containers = sorted(status.get("containerStatuses", []), key=lambda item: item.get("name") not in OWN_CONTAINERS)
    return [*containers, *status.get("initContainerStatuses", [])]


def _memory_limit(pod: Object, container: str) -> str:
    containers = pod.get("spec", {}).get("containers", [])
    own: Object = next((item for item in containers if item.get("name") == container), {})
    return str(own.get("resources", {}).get("limits", {}).get("memory", ""))


def _last_words(ended: Object) -> str:
    """Return what a dead container said: its outcome's message, its last lines, or else how it ended."""
    if not ended:
        return ""
    said = _document(ended.get("message"))
    words = outcome_message(said) if said else last_lines(ended.get("message"))
    if ended.get("reason") == "OOMKilled":
        return "it needed more memory than its limit"
    return words or f"exit code {ended.get('exitCode')}"


def _document(message: Any) -> Object:
    """Return a termination message of ours; empty for any other text."""
    if not isinstance(message, str) or not message:
        return {}
    try:
        said = json.loads(message)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) and "outcome" in said else {}


def exit_code(ended: Object) -> int:
    """Return the exit code; one that is missing is that of a failure."""
    code = ended.get("exitCode")
    return code if isinstance(code, int) else 1


def outcome_message(outcome: Object) -> str:
    """Return the message of an outcome, with the field that it is about."""
    message, field = text(outcome.get("message")), text(outcome.get("field"))
    return f"{field}: {message}" if field and not message.startswith(field) else message


def digest(value: Any) -> str:
    """Return a digest; empty when the pod said something else."""
    return value if isinstance(value, str) and DIGEST.fullmatch(value) else ""


def word(value: Any) -> str:
    """Return a word that the API server takes for a condition's reason; empty when the pod said something else."""
    return value if isinstance(value, str) and REASON.fullmatch(value) else ""


def text(value: Any) -> str:
    """Return a text from outside, cut to what a status should hold."""
    return printable(value)[:MESSAGE_LIMIT]


def printable(value: Any) -> str:
    """Return a text that can be sent: half of a surrogate pair, which JSON allows, is no UTF-8."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
