"""The Kubernetes events that a change of status is worth: transitions only, never heartbeats."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from graft_operator.api.adapter_status import AdapterServingStatus, LoraAdapterStatus
from graft_operator.api.base_model import BaseModelStatus
from graft_operator.api.conditions import Condition, find
from graft_operator.manifests.exit_codes import OUT_OF_MEMORY
from graft_operator.plan.actions import EmitEvent

TROUBLES: Final = frozenset(
    {
        OUT_OF_MEMORY,
        "RegistryUnavailable",
        "Crashed",
        "TrainingFailed",
        "VersionMissing",
        "Unschedulable",
        "ImagePullFailed",
        "ConditionalWritesIgnored",
    }
)
"""What goes wrong without a stall: it passes by itself, or by what we do about it, and people still want to know."""

SILENT: Final = frozenset({"Reconciling", "Ready"})
"""Summaries: what they summarise has an event of its own."""

ON_DEMAND: Final = frozenset({"NotResident", "Loading"})
"""Reasons of an adapter that is loaded on demand, while it doesn't answer."""

STAY: Final = timedelta(minutes=10)
"""An adapter that was loaded, or not, for less than this has no event for the change: there may be one each second."""

TOLD_BY_MESSAGE: Final = frozenset({"Published", "Evaluated", "Resolved"})
"""A new version or revision changes only the message of these."""


def condition_events(old: Iterable[Condition], new: Iterable[Condition]) -> list[EmitEvent]:
    """Return one event per condition whose status or reason has changed; what one has told, others don't repeat."""
    before = tuple(old)
    events: list[EmitEvent] = []
    told: set[tuple[str, str]] = set()
    for condition in new:
        previous = find(before, condition.type)
        if condition.type in SILENT or not has_changed(previous, condition):
            continue
        if previous is None and condition.status != "True" and not is_trouble(condition):
            continue  # a first "not yet" is no news
        if previous is not None and comes_and_goes(previous, condition):
            continue
        if condition.type == "Stalled" and condition.status != "True":
            continue
        if condition.message and (condition.reason, condition.message) in told:
            continue
        told.add((condition.reason, condition.message))
        text = f"{condition.type}={condition.status}: {condition.message}" if condition.message else condition.type
        events.append(EmitEvent("Warning" if is_trouble(condition) else "Normal", condition.reason, text))
    return events


def is_trouble(condition: Condition) -> bool:
    """Whether people are to be warned of the condition."""
    return condition.type == "Stalled" or condition.reason in TROUBLES or condition.reason.endswith("Refused")


def has_changed(previous: Condition | None, condition: Condition) -> bool:
    """Whether the condition says something new."""
    if previous is None:
        return True
    if (previous.status, previous.reason) != (condition.status, condition.reason):
        return True
    return condition.type in TOLD_BY_MESSAGE and previous.message != condition.message


def comes_and_goes(previous: Condition, condition: Condition) -> bool:
    """Whether an adapter that is loaded on demand is on its way, or has come or gone again soon."""
    if not {previous.reason, condition.reason} & ON_DEMAND:
        return False
    if previous.status == condition.status:
        return {previous.reason, condition.reason} <= ON_DEMAND
    return condition.last_transition_time - previous.last_transition_time < STAY


def adapter_events(old: LoraAdapterStatus, new: LoraAdapterStatus) -> list[EmitEvent]:
    """Return the events of an adapter's new status, with a line of its own for every move of the alias."""
    events = condition_events(old.conditions, new.conditions)
    was_served = find(old.conditions, "Served")
    returns = was_served is not None and was_served.reason in ON_DEMAND
    if new.served_version is not None and new.served_version != old.served_version and not returns:
        before = f", before it version {old.served_version}" if old.served_version is not None else ""
        text = f"version {new.served_version} answers on every wanted replica{before}"
        events.append(EmitEvent("Normal", "VersionServed", text))
    if new.serving.target and old.serving.target and new.serving.target.number != old.serving.target.number:
        text = f"the alias moves from version {old.serving.target.number} to {new.serving.target.number}"
        events.append(EmitEvent("Normal", "RolloutStarted", text))
    return [
        *events,
        *rank_events(old, new),
        *warm_start_events(old, new),
        *canary_events(old.serving, new.serving),
    ]


def warm_start_events(old: LoraAdapterStatus, new: LoraAdapterStatus) -> list[EmitEvent]:
    """Return the events of warm starts that were not good enough, each of which another training follows."""
    known = {version.number for version in old.versions}
    return [
        EmitEvent("Normal", "WarmStartRejected", f"version {version.number}: {version.message}; trained from nothing")
        for version in new.versions
        if version.number not in known and version.warm_start is not None and version.state == "Rejected"
    ]


def rank_events(old: LoraAdapterStatus, new: LoraAdapterStatus) -> list[EmitEvent]:
    """Return the event of a rank that was raised."""
    if new.raised_rank is None or new.raised_rank == old.raised_rank:
        return []
    return [EmitEvent("Normal", "RankDoubled", new.raised_rank.message)]


def canary_events(old: AdapterServingStatus, new: AdapterServingStatus) -> list[EmitEvent]:
    """Return the event of a canary's next step."""
    before, after, target = old.rollout, new.rollout, new.target
    if before is None or after is None or target is None or old.target != target or before.weight == after.weight:
        return []
    return [EmitEvent("Normal", "CanaryStep", f"version {target.number} is to answer {after.weight} % of the requests")]


def status_events(
    old: LoraAdapterStatus | BaseModelStatus, new: LoraAdapterStatus | BaseModelStatus
) -> list[EmitEvent]:
    """Return the events of an object's new status."""
    if isinstance(old, LoraAdapterStatus) and isinstance(new, LoraAdapterStatus):
        return adapter_events(old, new)
    return condition_events(old.conditions, new.conditions)
