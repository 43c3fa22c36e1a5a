"""Where a pod runs, and what it takes there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from graft_operator.api.meta import ApiModel
from graft_operator.api.pods.affinity import Affinity, TopologySpreadConstraint

Quantity = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][-+]?[0-9]+)?$", max_length=32),
]
"""A Kubernetes quantity as a string, such as ``"2"``, ``"500m"`` or ``"8Gi"``."""

QueueName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
"""The name of a LocalQueue of Kueue, which is also a label's value."""

QueuePriority = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=63)]
"""The name of a WorkloadPriorityClass of Kueue, which is also a label's value."""

LabelText = Annotated[str, StringConstraints(max_length=63)]


class Resources(ApiModel):
    """Compute resources of one container."""

    requests: dict[str, Quantity] = Field(default_factory=dict, max_length=16)
    """What the scheduler reserves, such as ``{"cpu": "4", "memory": "32Gi"}``."""
    limits: dict[str, Quantity] = Field(default_factory=dict, max_length=16)
    """What the container may not exceed, such as ``{"nvidia.com/gpu": "1"}``."""

    @property
    def gpus(self) -> int:
        """Whole GPUs of the container, of any vendor: extended resources such as ``nvidia.com/gpu``."""
        amounts = {**self.requests, **self.limits}
        return sum(int(amount) for name, amount in amounts.items() if name.endswith("/gpu") and amount.isdigit())


class Toleration(ApiModel):
    """A Kubernetes toleration."""

    key: Annotated[str, StringConstraints(max_length=316)] | None = None
    """Taint key; empty with operator Exists means every taint."""
    operator: Literal["Exists", "Equal"] | None = None
    """How key and value are compared; Equal when empty."""
    value: LabelText | None = None
    """Taint value, with operator Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Taint effect; empty means all effects."""
    toleration_seconds: int | None = Field(default=None, ge=0)
    """How long a NoExecute taint is tolerated, in seconds."""

    @model_validator(mode="after")
    def _accepted_by_kubernetes(self) -> Toleration:
        if self.key is None and self.operator != "Exists":
            raise ValueError("operator must be Exists when key is empty")
        if self.value is not None and self.operator == "Exists":
            raise ValueError("value must not be set with operator Exists; use operator Equal")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise ValueError("effect must be NoExecute when tolerationSeconds is set")
        return self


class Placement(ApiModel):
    """Where a pod may run."""

    node_selector: dict[str, LabelText] = Field(default_factory=dict, max_length=32)
    """Node labels that the pod needs."""
    tolerations: tuple[Toleration, ...] = Field(default=(), max_length=16)
    """Taints that the pod tolerates."""
    runtime_class_name: Annotated[str, StringConstraints(max_length=253)] | None = None
    """RuntimeClass of the pod, such as ``nvidia``."""
    affinity: Affinity | None = None
    """Nodes and pods that the pod is drawn to, or kept away from."""
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = Field(default=(), max_length=4)
    """How the pods of this object are spread over zones or nodes; serving pods over nodes, as far as can be, when
    empty."""

    @model_validator(mode="after")
    def _spread_once(self) -> Placement:
        places = [(item.topology_key, item.when_unsatisfiable) for item in self.topology_spread_constraints]
        if len(set(places)) < len(places):
            raise ValueError(
                "topologySpreadConstraints must not name one topologyKey twice with the same whenUnsatisfiable; remove"
                " one"
            )
        return self
