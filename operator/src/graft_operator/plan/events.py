"""The Kubernetes events that a change of status is worth: one for each step that a person cares for, in order.

The life of a version is told by three or four: it is trained, published, rolled out, and answers everywhere. What is
only another view of the same step, such as a condition that follows from it, is no event, and neither is progress.
Two things that no status shows are told where they are decided: an import that begins (``base/plan``), and versions
that could not be deleted (``adapter/deletion``).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from graft_operator.api.adapter_status import AdapterServingStatus, LoraAdapterStatus, Version
from graft_operator.api.base_model import BaseModelStatus
from graft_operator.api.conditions import Condition, find, is_true
from graft_operator.manifests.jobs.exit_codes import OUT_OF_MEMORY, SOURCE_UNAVAILABLE
from graft_operator.plan.actions import EmitEvent
from graft_operator.plan.training.versions import entry_of

TROUBLES: Final = frozenset(
    {
        OUT_OF_MEMORY,
        "RegistryUnavailable",
        SOURCE_UNAVAILABLE,
        "Crashed",
        "TrainingFailed",
        "VersionMissing",
        "Unschedulable",
        "ImagePullFailed",
        "MountFailed",
        "PodsRefused",
        "ConditionalWritesIgnored",
        "StoreUnfit",
        "PreparationGivenUp",
    }
)
"""What goes wrong without a stall: it passes by itself, or by what we do about it, and people still want to know."""

SILENT: Final = frozenset({"Reconciling", "Ready", "AdaptersUpToDate"})
"""Summaries: what they summarise has events of its own, on a base or on its adapters."""

USUAL: Final = frozenset({"Importing", "Resolving", "ConditionalWrites"})
"""Reasons of a base's conditions that nobody waits to hear: something is under way, or as it should be."""

PAUSES: Final = frozenset(
    {"Queued", "Suspended", "Preempted", "ReadaptationQueued", "PodSettingsChanged", "RankDoubled", "WaitingForNode"}
)
"""Reasons of Trained that say why nothing is trained just now, and no trouble."""

CONTINUED: Final = frozenset({"Preempted", "WorkerLost"})
"""Reasons of Trained after which the same training simply goes on."""

ON_DEMAND: Final = frozenset({"NotResident", "Loading"})
"""Reasons of an adapter that is loaded on demand, while it doesn't answer."""

STAY: Final = timedelta(minutes=10)
"""An adapter that was loaded, or not, for less than this has no event for the change: there may be one each second."""

TOLD_BY_MESSAGE: Final = frozenset({"Resolved"})
"""A new revision changes only the message of these."""


def status_events(
    old: LoraAdapterStatus | BaseModelStatus, new: LoraAdapterStatus | BaseModelStatus
) -> list[EmitEvent]:
    """Return the events of an object's new status."""
    if isinstance(old, LoraAdapterStatus) and isinstance(new, LoraAdapterStatus):
        return adapter_events(old, new)
    return condition_events(old.conditions, new.conditions)


def adapter_events(old: LoraAdapterStatus, new: LoraAdapterStatus) -> list[EmitEvent]:
    """Return the events of an adapter's new status, in the order of a version's life."""
    events = [
        *acceptance_events(old, new),
        *training_events(old, new),
        *source_events(old, new),
        *version_events(old, new),
        *rank_events(old, new),
        *rollout_events(old, new),
        *answering_events(old, new),
    ]
    # A stall comes last: it is where all of this has ended. One whose reason is told already is not told twice.
    told = {event.reason for event in events if event.type == "Warning"}
    return [*events, *(event for event in stall_events(old, new) if event.reason not in told)]


def acceptance_events(old: LoraAdapterStatus, new: LoraAdapterStatus) -> list[EmitEvent]:
    """Return the event of a spec that is accepted for the first time, or with advice that is new, or that waits."""
    before, after = find(old.conditions, "Accepted"), find(new.conditions, "Accepted")
    if after is None:
        return []
    if after.status != "True":
        waits = has_changed(before, after) and not is_true(new.conditions, "Stalled")
        return [EmitEvent("Warning", after.reason, after.message)] if waits else []
    is_new = before is None or before.status != "True"
    has_advice = after.reason != "Accepted" and (before is None or before.message != after.message)
    return [EmitEvent("Normal", after.reason, after.message)] if is_new or has_advice else []


def training_events(old: LoraAdapterStatus, new: LoraAdapterStatus) -> list[EmitEvent]:
    """Return the event of a training that has begun, that waits, or that has run into trouble."""
    before, after = find(old.conditions, "Trained"), find(new.conditions, "Trained")
    if after is None:
        return []
    reason, was = after.reason, before.reason if before else ""
    if reason == "Training":
        return training_began(old, new, was)
    if reason == "Preparing" and was not in {reason, *CONTINUED} and new.training is not None:
        return [EmitEvent("Normal", reason, f"Job {new.training.job} prepares the rows, without a GPU")]
    if reason == was or not (reason in PAUSES or reason in TROUBLES or reason.endswith("Refused")):
        return []
    if is_true(new.conditions, "Stalled"):
        return []
    return [EmitEvent("Normal" if reason in PAUSES else "Warning", reason, after.message)]


def source_events(old: LoraAdapterStatus, new: LoraAdapterStatus) -> list[EmitEvent]:
    """Return the event of a look at the source that has failed, where the one before had not, or otherwise."""
    before, after = find(old.conditions, "SourceChecked"), find(new.conditions, "SourceChecked")
    if after is None or after.status != "False" or not has_changed(before, after):
        return []
    return [] if is_true(new.conditions, "Stalled") else [EmitEvent("Warning", after.reason, after.message)]


def training_began(old: LoraAdapterStatus, new: LoraAdapterStatus, was: str) -> list[EmitEvent]:
    """Return the event of a training that runs, where it did not before."""
    training, before = new.training, old.training
    is_same = training is not None and before is not None and training.job == before.job
    if training is None or (is_same and was in {"Training", *CONTINUED}):
        return []
    begun = f", warm start from version {training.warm_start.number}" if training.warm_start else ""
    why = f": {training.reason}{begun}" if training.reason else begun
    return [EmitEvent("Normal", "Training", f"Job {training.job} is under way{why}")]


def version_events(old: LoraAdapterStatus, new: LoraAdapterStatus) -> list[EmitEvent]:
    """Return the events of versions that are new, or have come to another state, the oldest first.

    An adapter that finds many versions in the registry, in a cluster that was built anew, tells of the newest.
    """
    versions = sorted(new.versions, key=lambda item: item.number)
    events = (version_event(version, entry_of(old.versions, version.number), new) for version in versions)
    return [event for event in (events if old.versions else list(events)[-1:]) if event is not None]


def version_event(version: Version, known: Version | None, status: LoraAdapterStatus) -> EmitEvent | None:
    """Return what has become of a version; None for nothing new."""
    is_new = known is None or known.digest != version.digest
    if known is not None and not is_new and known.state == version.state:
        return None
    text = f"version {version.number}: {version.message}" if version.message else f"version {version.number}"
    if version.state == "Published" and is_new and version.imported is not None:
        return EmitEvent("Normal", "Imported", f"Imported {text}")
    if version.state == "Published":
        return EmitEvent("Normal", "Published", text) if is_new else None
    if version.state != "Rejected":
        return EmitEvent("Warning", "VersionRefused" if version.state == "Refused" else version.state, text)
    if version.warm_start is not None:
        return EmitEvent("Normal", "WarmStartRejected", f"{text}; trained from nothing")
    stalled = find(status.conditions, "Stalled")
    is_why = stalled is not None and stalled.status == "True" and stalled.message == version.message
    return EmitEvent("Warning", stalled.reason if stalled and is_why else "VersionRejected", text)


def rank_events(old: LoraAdapterStatus, new: LoraAdapterStatus) -> list[EmitEvent]:
    """Return the event of a rank that was raised."""
    was = find(new.conditions, "Trained")
    if new.raised_rank is None or new.raised_rank == old.raised_rank or (was and was.reason == "RankDoubled"):
        return []
    return [EmitEvent("Normal", "RankDoubled", new.raised_rank.message)]


def rollout_events(old: LoraAdapterStatus, new: LoraAdapterStatus) -> list[EmitEvent]:
    """Return the events of a move of the alias: its beginning, a canary's steps, and its end."""
    events = []
    before, after = old.serving.target, new.serving.target
    if after is not None and before is not None and after.number != before.number:
        text = f"the alias moves from version {before.number} to {after.number}"
        events.append(EmitEvent("Normal", "RolloutStarted", text))
    events += canary_events(old.serving, new.serving)
    was_served = find(old.conditions, "Served")
    returns = was_served is not None and was_served.reason in ON_DEMAND
    if new.served_version is not None and new.served_version != old.served_version and not returns:
        before_it = f", before it version {old.served_version}" if old.served_version is not None else ""
        text = f"version {new.served_version} answers on every wanted replica{before_it}"
        events.append(EmitEvent("Normal", "VersionServed", text))
    return events


def canary_events(old: AdapterServingStatus, new: AdapterServingStatus) -> list[EmitEvent]:
    """Return the event of a canary's next step."""
    before, after, target = old.rollout, new.rollout, new.target
    if before is None or after is None or target is None or old.target != target or before.weight == after.weight:
        return []
    return [EmitEvent("Normal", "CanaryStep", f"version {target.number} is to answer {after.weight} % of the requests")]


def answering_events(old: LoraAdapterStatus, new: LoraAdapterStatus) -> list[EmitEvent]:
    """Return the events of an adapter that has stopped to answer, that waits for a place, or that comes and goes."""
    before, after = find(old.conditions, "Served"), find(new.conditions, "Served")
    if before is None or after is None or (before.status, before.reason) == (after.status, after.reason):
        return []
    if {before.reason, after.reason} & ON_DEMAND and after.reason != "NoFreeSlot":
        return [] if comes_and_goes(before, after) else [EmitEvent("Normal", after.reason, after.message)]
    if after.reason == "NoFreeSlot":
        return [EmitEvent("Warning", after.reason, after.message)]
    ready = find(new.conditions, "Ready")
    stopped = is_true(old.conditions, "Ready") and ready is not None and ready.status == "False"
    return [EmitEvent("Warning", "NotAnswering", ready.message)] if stopped and ready is not None else []


def stall_events(old: LoraAdapterStatus, new: LoraAdapterStatus) -> list[EmitEvent]:
    """Return the event of an adapter that waits for a person, and of what keeps it from being looked at."""
    before, after = find(old.conditions, "Stalled"), find(new.conditions, "Stalled")
    if after is None or after.status != "True" or not has_changed(before, after):
        return []
    return [EmitEvent("Warning", after.reason, after.message)]


def condition_events(old: Iterable[Condition], new: Iterable[Condition]) -> list[EmitEvent]:
    """Return one event per condition whose status or reason has changed; what one has told, others don't repeat."""
    before = tuple(old)
    events: list[EmitEvent] = []
    told: set[tuple[str, str]] = set()
    for condition in new:
        previous = find(before, condition.type)
        if condition.type in SILENT or condition.reason in USUAL or not has_changed(previous, condition):
            continue
        if previous is None and condition.status != "True" and not is_trouble(condition):
            continue  # a first "not yet" is no news
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
    if previous.status == condition.status:
        return {previous.reason, condition.reason} <= ON_DEMAND
    return condition.last_transition_time - previous.last_transition_time < STAY
