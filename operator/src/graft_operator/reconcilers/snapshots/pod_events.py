"""What the platform says of Jobs and pods by events alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from graft_operator.reconcilers.snapshots.containers import pod_problem, text, word

Object = Mapping[str, Any]

START_EVENTS: Final = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox"})
"""Reasons of the kubelet's events on a pod whose containers it can't start; nothing in the pod's status tells them."""

SCALE_UPS: Final = frozenset({"TriggeredScaleUp", "Nominated"})
"""Reasons of the events by which Cluster Autoscaler and Karpenter tell that they bring a node for a pod."""


def waiting_of(pod: Object, events: Iterable[Object]) -> str:
    """Return why a pod does not run yet, by itself or by its events; empty for one that does."""
    told = list(events)
    return pod_problem(pod, newest_scale_up(told)) or start_problem(pod, newest_warning(told))


def start_problem(pod: Object, event: str) -> str:
    """Return why the kubelet can't start the pod, which only its events tell; empty for one that has started."""
    pending = pod.get("status", {}).get("phase", "Pending") == "Pending"
    return event if pending and event.partition(":")[0] in START_EVENTS else ""


def newest_scale_up(events: Iterable[Object]) -> str:
    """Return what an autoscaler has last said of the node that it brings for a pod; empty where none does."""
    about = [event for event in events if event.get("reason") in SCALE_UPS]
    event: Object = max(about, key=_time_of_event, default={})
    return text(event.get("message") or event.get("note"))


def newest_warning(events: Iterable[Object]) -> str:
    """Return the newest event of an object, as ``Reason: message``, where that is a warning."""
    others = [event for event in events if event.get("reason") not in SCALE_UPS]
    event: Object = max(others, key=_time_of_event, default={})
    if event.get("type") != "Warning":
        return ""
    return f"{word(event.get('reason'))}: {text(event.get('message') or event.get('note'))}"


def _time_of_event(event: Object) -> str:
    """Return when an event was last seen, in either of the two forms that Kubernetes writes, as comparable text."""
    series, metadata = event.get("series") or {}, event.get("metadata") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return str(next(filter(None, (*times, metadata.get("creationTimestamp"))), ""))
