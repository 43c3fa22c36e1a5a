"""The parts of objects that are told as figures. Reading these takes a tenth of the time of reading whole objects."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

import msgspec

View = TypeVar("View", bound="_View")


class _View(msgspec.Struct, rename="camel", frozen=True):
    """A part of an object; what else it has is passed over."""


class Metadata(_View, frozen=True):
    """Who an object is."""

    name: str
    namespace: str
    uid: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class ConditionView(_View, frozen=True):
    """One condition."""

    type: str
    status: str
    reason: str = ""


class VersionView(_View, frozen=True):
    """One entry of ``status.versions``."""

    number: int
    eval_loss: str | None = None
    base_eval_loss: str | None = None
    exact_match: str | None = None
    base_exact_match: str | None = None
    preference_accuracy: str | None = None
    train_seconds: float | None = None
    train_tokens: int | None = None


class TrainingView(_View, frozen=True):
    """The training that is under way."""

    step: int = 0
    max_steps: int = 0
    loss: str | None = None
    eta_seconds: float | None = None


class TargetView(_View, frozen=True):
    """The version that the alias is to point to."""

    number: int


class RolloutView(_View, frozen=True):
    """How far a rollout is."""

    start_time: datetime
    weight: int = 100
    step_time: datetime | None = None


class ServingView(_View, frozen=True):
    """What serving pods were told, and what they say."""

    target: TargetView | None = None
    rollout: RolloutView | None = None
    desired: int = 0
    loaded: int = 0
    failed: int = 0


class AdapterStatusView(_View, frozen=True):
    """The status of an adapter."""

    conditions: list[ConditionView] = []
    versions: list[VersionView] = []
    served_version: int | None = None
    training: TrainingView | None = None
    serving: ServingView = ServingView()


class BaseReference(_View, frozen=True):
    """The base that an adapter names."""

    name: str


class ServingSpecView(_View, frozen=True):
    """How an adapter is to be served."""

    rollout: dict[str, Any] | None = None


class AdapterSpecView(_View, frozen=True):
    """The spec of an adapter."""

    base_model_ref: BaseReference
    serving: ServingSpecView = ServingSpecView()


class AdapterView(_View, frozen=True):
    """A LoraAdapter."""

    metadata: Metadata
    spec: AdapterSpecView
    status: AdapterStatusView = AdapterStatusView()


class AdapterCountsView(_View, frozen=True):
    """The adapters of a base, counted."""

    total: int = 0


class RevisionView(_View, frozen=True):
    """One revision of a base that is served."""

    replicas: int = 0
    ready_replicas: int = 0


class BaseStatusView(_View, frozen=True):
    """The status of a base."""

    conditions: list[ConditionView] = []
    adapters: AdapterCountsView = AdapterCountsView()
    serving: list[RevisionView] = []


class BaseView(_View, frozen=True):
    """A BaseModel."""

    metadata: Metadata
    status: BaseStatusView = BaseStatusView()


class ResourcesView(_View, frozen=True):
    """What a container asks for."""

    limits: dict[str, str | int] = {}


class TerminatedView(_View, frozen=True):
    """How a container has ended."""

    finished_at: datetime | None = None


class StateView(_View, frozen=True):
    """What a container does."""

    terminated: TerminatedView | None = None


class ContainerStatusView(_View, frozen=True):
    """The status of a container."""

    state: StateView = StateView()


class ContainerView(_View, frozen=True):
    """A container."""

    resources: ResourcesView = ResourcesView()
    restart_policy: str = ""


class PodSpecView(_View, frozen=True):
    """The spec of a pod."""

    containers: list[ContainerView] = []
    init_containers: list[ContainerView] = []
    node_name: str = ""


class PodStatusView(_View, frozen=True):
    """The status of a pod."""

    phase: str = ""
    start_time: datetime | None = None
    container_statuses: list[ContainerStatusView] = []


class PodView(_View, frozen=True):
    """A pod of ours."""

    metadata: Metadata
    spec: PodSpecView = PodSpecView()
    status: PodStatusView = PodStatusView()


def view(body: Any, kind: type[View]) -> View | None:
    """Return the part of an object; None for one that is not as it should be: a newer release may have written it."""
    try:
        return msgspec.convert(_without_nulls(body), kind)
    except msgspec.ValidationError:
        return None


def _without_nulls(body: Any) -> Any:
    """Return the object without members that are null, which mean the same as those that are not there."""
    if isinstance(body, dict):
        return {name: _without_nulls(value) for name, value in body.items() if value is not None}
    return [_without_nulls(item) for item in body] if isinstance(body, list) else body
