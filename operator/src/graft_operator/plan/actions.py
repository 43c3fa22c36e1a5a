"""What a plan may ask for. Each action is idempotent, so a plan may be carried out twice, or half."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.api.base_model import BaseModelStatus

Kind = Literal["Job", "Deployment", "Service", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy", "InferencePool"]


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Keep the object until our own clean-up is done."""

    name: str


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Let the object go."""

    name: str


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Create a Job unless one of that name is there: the name holds what it does."""

    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ApplyObject:
    """Bring an object to the given state by server-side apply."""

    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeleteObject:
    """Delete one object, together with what it owns."""

    kind: Kind
    name: str
    uid: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteVersions:
    """Delete every published version of the adapter from the registry."""


@dataclass(frozen=True, slots=True)
class EmitEvent:
    """Tell people of a transition."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


Action = AddFinalizer | RemoveFinalizer | CreateJob | ApplyObject | DeleteObject | DeleteVersions | EmitEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now, what to say, and when to look again."""

    actions: tuple[Action, ...] = ()
    extras: tuple[Action, ...] = ()
    """Actions that nothing else depends on, such as the making of Jobs: the rest goes on where they fail."""
    status: LoraAdapterStatus | BaseModelStatus | None = None
    """None leaves the status as it is."""
    requeue_after: float | None = None
    """Seconds until the next look even if nothing happens; None relies on events and the resync."""
