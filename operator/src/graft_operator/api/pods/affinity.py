"""To which nodes, and beside or away from which pods, a pod is drawn.

The fields are Kubernetes' own, so that what works there can be copied. There are no defaults inside lists, which GitOps
tools would take for somebody's edits.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from graft_operator.api.meta import ApiModel

LabelName = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$", max_length=316
    ),
]
"""The key of a label, with or without a domain."""
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]
"""The value of a label."""
Weight = Annotated[int, Field(ge=1, le=100)]
LabelValues = Annotated[tuple[LabelValue, ...], Field(max_length=32)]

WITHOUT_VALUES = ("Exists", "DoesNotExist")
VALUES_ARE_GIVEN = "values must be given with operators In, NotIn, Gt and Lt, and with no other operator"


class NodeSelectorRequirement(ApiModel):
    """What the label of a node must be."""

    key: LabelName
    """Label of the node."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How the label is compared with the values."""
    values: LabelValues = ()
    """Values to compare with; one number with Gt and Lt, none with Exists and DoesNotExist."""

    @model_validator(mode="after")
    def _values_where_they_are_compared(self) -> NodeSelectorRequirement:
        if (self.operator in WITHOUT_VALUES) == bool(self.values):
            raise ValueError(VALUES_ARE_GIVEN)
        return self


class NodeSelectorTerm(ApiModel):
    """Requirements of a node that must all hold."""

    match_expressions: tuple[NodeSelectorRequirement, ...] = Field(max_length=16)
    """What its labels must be."""


class NodeSelector(ApiModel):
    """Terms of which one must hold."""

    node_selector_terms: tuple[NodeSelectorTerm, ...] = Field(max_length=8)
    """Nodes for which one of the terms holds are taken."""


class PreferredSchedulingTerm(ApiModel):
    """Nodes that are better than others."""

    weight: Weight
    """How much better, 1 to 100."""
    preference: NodeSelectorTerm
    """Which nodes."""


class NodeAffinity(ApiModel):
    """The nodes that a pod is drawn to."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    """Nodes that may take the pod."""
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredSchedulingTerm, ...] = Field(
        default=(), max_length=8
    )
    """Nodes that should."""


class LabelSelectorRequirement(ApiModel):
    """What the label of a pod must be."""

    key: LabelName
    """Label of the pod."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label is compared with the values."""
    values: LabelValues = ()
    """Values to compare with; none with Exists and DoesNotExist."""

    @model_validator(mode="after")
    def _values_where_they_are_compared(self) -> LabelSelectorRequirement:
        if (self.operator in WITHOUT_VALUES) == bool(self.values):
            raise ValueError(VALUES_ARE_GIVEN)
        return self


class LabelSelector(ApiModel):
    """Pods of the same namespace; with neither field, all of them."""

    match_labels: dict[str, LabelValue] = Field(default_factory=dict, max_length=16)
    """Labels that they have."""
    match_expressions: tuple[LabelSelectorRequirement, ...] = Field(default=(), max_length=16)
    """What their labels must be."""


class PodAffinityTerm(ApiModel):
    """Pods of the same namespace, and what is the same place."""

    label_selector: LabelSelector
    """Which pods."""
    topology_key: LabelName
    """Label of nodes whose value tells places apart, such as ``kubernetes.io/hostname``."""


class WeightedPodAffinityTerm(ApiModel):
    """Pods that it is better to be near to, or far from."""

    weight: Weight
    """How much better, 1 to 100."""
    pod_affinity_term: PodAffinityTerm
    """Which pods."""


class PodAffinity(ApiModel):
    """The pods that a pod is drawn to, or kept away from."""

    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] = Field(default=(), max_length=8)
    """What must hold."""
    preferred_during_scheduling_ignored_during_execution: tuple[WeightedPodAffinityTerm, ...] = Field(
        default=(), max_length=8
    )
    """What should."""


class Affinity(ApiModel):
    """Where a pod is drawn to."""

    node_affinity: NodeAffinity | None = None
    """Nodes."""
    pod_affinity: PodAffinity | None = None
    """Pods of the same namespace to be near to."""
    pod_anti_affinity: PodAffinity | None = None
    """Pods of the same namespace to be away from."""


class TopologySpreadConstraint(ApiModel):
    """How the pods of one kind are spread over places. Which pods count is known: those of the same object."""

    topology_key: LabelName
    """Label of nodes whose value tells places apart, such as ``topology.kubernetes.io/zone``."""
    max_skew: Annotated[int, Field(ge=1, le=1000)]
    """By how many pods two places may differ."""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    """What happens to a pod that would make them differ by more."""
