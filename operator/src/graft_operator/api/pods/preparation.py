"""How rows are prepared before a training asks for a GPU."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from graft_operator.api.meta import ApiModel
from graft_operator.api.pods.placement import LabelText, QueueName, Resources, Toleration

DEFAULT_RESOURCES: Final = Resources(requests={"cpu": "2", "memory": "4Gi"})
"""A request without a limit: rows are held on disk, and what is in memory grows only with the longest of them."""

OF_KUBERNETES: Final = re.compile(r"([^/]*\.)?kubernetes\.io/")


def without_devices(resources: Resources) -> Resources:
    """Return resources for a pod that only computes. Raises ValueError where they ask for a device, such as a GPU."""
    for kind, amounts in (("requests", resources.requests), ("limits", resources.limits)):
        for name in amounts:
            if is_device(name):
                raise ValueError(
                    f"resources.{kind} must not contain {name}: rows are prepared without a device; those of the"
                    " training are asked for in spec.pod.resources"
                )
    return resources


def is_device(resource: str) -> bool:
    """Whether a resource is an extended one, by the names that device plugins give: a GPU, a TPU, a network card."""
    return "/" in resource and not OF_KUBERNETES.match(resource)


class Preparation(ApiModel):
    """The Job that reads and renders the rows before the training Job is made.

    It has the labels, the environment and the credentials of ``spec.pod``, but a place of its own: ``spec.pod`` chooses
    nodes with GPUs.
    """

    mode: Literal["Auto", "Always", "Never"] = "Auto"
    """Auto: in a Job of its own where ``spec.pod.resources`` ask for a GPU or another device. Always: in such a Job
    whatever they ask for. Never: by the training itself, which holds its GPU meanwhile. With Auto the training does it,
    too, once that Job has waited ten minutes for its pod to run, or has failed for another reason than the rows."""
    resources: Annotated[Resources, AfterValidator(without_devices)] | None = None
    """Resources of its container; when empty, requests of 2 CPUs and 4Gi of memory. As many processes render as there
    are CPUs, eight at most."""
    queue_name: QueueName | None = None
    """LocalQueue of Kueue that decides when it may run; at once when empty, whatever queue the training waits in."""
    node_selector: dict[str, LabelText] = Field(default_factory=dict, max_length=32)
    """Node labels that its pod needs; with mode Auto also ``kubernetes.io/arch`` and ``kubernetes.io/os`` of
    ``spec.pod``, where they are not named here."""
    tolerations: tuple[Toleration, ...] = Field(default=(), max_length=16)
    """Taints that its pod tolerates; with mode Auto those of ``spec.pod`` when empty."""

    @property
    def effective_resources(self) -> Resources:
        """Return the resources with their default applied."""
        return self.resources or DEFAULT_RESOURCES
