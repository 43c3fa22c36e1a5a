"""What the rules of a cluster ask of a pod: its labels, its credentials for images, its environment, its priority.

Everything that is named lies in the namespace of the object. There are no free volumes, no command and no privileges.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from graft_operator.api.meta import ApiModel, LocalObjectReference, ObjectName, SecretKeyReference
from graft_operator.api.pods.affinity import LabelValue
from graft_operator.api.pods.placement import Placement

KEY: Final = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
"""A label's or an annotation's key."""
RESERVED_DOMAIN: Final = re.compile(r"(.*[.-])?(graft\.dev|kubernetes\.io|k8s\.io)/")
"""Domains by which Graft, Kubernetes and what extends it find their pods, or are told what to do with them."""
RESERVED_LABELS: Final = ("job-name", "controller-uid", "pod-template-hash")
OPEN_DOMAIN: Final = "cluster-autoscaler.kubernetes.io/"
"""Of annotations: whether the autoscaler may evict a pod is for its owner to say."""
OWN_PREFIX: Final = "GRAFT_"
OWN_VARIABLES: Final = (
    *("HOME", "HF_HOME", "HF_HUB_OFFLINE", "VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
    # What would have pickles loaded, which run the code of whoever wrote them.
    *("VLLM_ALLOW_INSECURE_SERIALIZATION", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"),
)
"""Variables on which a pod depends as Graft sets them, or leaves them."""
OPERATORS_PREFIXES: Final = ("AWS_ENDPOINT_URL", "SOURCE_", "PYTHON", "LD_")
OPERATORS_VARIABLES: Final = ("HF_ENDPOINT",)
"""Variables that no object may set, though the chart or a Secret may: they lead a pod's credentials to another host, or
have it run other code beside them. Whoever may write an object need not be allowed to read those credentials."""
SYSTEM_PRIORITY: Final = "system-"
"""PriorityClasses of what a node or a cluster can't do without."""


def checked_labels(labels: dict[str, str]) -> dict[str, str]:
    """Return labels for pods. Raises ValueError for a key that others go by."""
    for key in labels:
        if not KEY.fullmatch(key) or RESERVED_DOMAIN.match(key) or key in RESERVED_LABELS:
            raise ValueError(
                f"labels: {key}: each key must be a label's name outside graft.dev, kubernetes.io and k8s.io, and none"
                f" of {', '.join(RESERVED_LABELS)}"
            )
    return labels


def checked_annotations(annotations: dict[str, str]) -> dict[str, str]:
    """Return annotations for anything of ours. Raises ValueError for a key that others go by."""
    for key in annotations:
        reserved = RESERVED_DOMAIN.match(key) and not key.startswith(OPEN_DOMAIN)
        if not KEY.fullmatch(key) or reserved:
            raise ValueError(
                f"annotations: {key}: each key must be an annotation's name outside graft.dev, kubernetes.io and"
                f" k8s.io; of those only {OPEN_DOMAIN} is free"
            )
    return annotations


def checked_variables(names: Iterable[str]) -> None:
    """Raise ValueError for a variable that is ours."""
    for name in names:
        if name.startswith(OWN_PREFIX) or name in OWN_VARIABLES:
            raise ValueError(
                f"env must not contain {name}: names that begin with {OWN_PREFIX} are Graft's, and so are"
                f" {', '.join(OWN_VARIABLES)}"
            )


def checked_object_variables(names: Iterable[str]) -> None:
    """Raise ValueError for a variable that is not for an object to set."""
    checked_variables(names := tuple(names))
    for name in names:
        if name.startswith(OPERATORS_PREFIXES) or name in OPERATORS_VARIABLES:
            raise ValueError(
                f"env must not contain {name}: another hub or store is set by HF_ENDPOINT or AWS_ENDPOINT_URL of the"
                f" Secret graft-registry (SOURCE_*: of credentialsSecretRef), and PYTHON* and LD_*"
                f" by tenantPods.env of the chart"
            )


def checked_priority(name: str) -> str:
    """Return the name of a PriorityClass for tenants' pods. Raises ValueError for one of the cluster's own."""
    if name.startswith(SYSTEM_PRIORITY):
        raise ValueError(
            f"priorityClassName must not begin with {SYSTEM_PRIORITY}, as {name} does: such pods push out what the"
            f" cluster runs by; name a PriorityClass for workloads"
        )
    return name


AnnotationValue = Annotated[str, StringConstraints(max_length=4096)]
Labels = Annotated[dict[str, LabelValue], Field(max_length=16), AfterValidator(checked_labels)]
Annotations = Annotated[dict[str, AnnotationValue], Field(max_length=16), AfterValidator(checked_annotations)]
WorkloadPriority = Annotated[ObjectName, AfterValidator(checked_priority)]
PullSecrets = Annotated[tuple[LocalObjectReference, ...], Field(max_length=8)]


class ConfigMapKeyReference(ApiModel):
    """A key of a ConfigMap in the same namespace."""

    name: ObjectName
    """ConfigMap in the same namespace."""
    key: Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]
    """Key of the ConfigMap."""


class VariableSource(ApiModel):
    """Where the value of a variable comes from: one of the fields."""

    secret_key_ref: SecretKeyReference | None = None
    """Key of a Secret of the same namespace."""
    config_map_key_ref: ConfigMapKeyReference | None = None
    """Key of a ConfigMap of the same namespace."""

    @model_validator(mode="after")
    def _exactly_one(self) -> VariableSource:
        if (self.secret_key_ref is None) == (self.config_map_key_ref is None):
            raise ValueError("valueFrom must have exactly one of secretKeyRef and configMapKeyRef")
        return self


class EnvironmentVariable(ApiModel):
    """One variable of the environment."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)]
    """Name of the variable."""
    value: Annotated[str, StringConstraints(max_length=4096)] | None = None
    """Value of the variable; empty without one."""
    value_from: VariableSource | None = None
    """Where the value comes from instead."""

    @model_validator(mode="after")
    def _one_value(self) -> EnvironmentVariable:
        if self.value is not None and self.value_from is not None:
            raise ValueError("env: value and valueFrom must not both be set; remove one")
        return self


Variables = Annotated[tuple[EnvironmentVariable, ...], Field(max_length=32)]


class PodSettings(Placement):
    """How a pod fits the rules of its cluster. What the chart sets for all pods (``tenantPods``) holds besides."""

    labels: Labels = Field(default_factory=dict)
    """Labels of the pod, besides Graft's own, such as those of a cost centre or of workload identity."""
    annotations: Annotations = Field(default_factory=dict)
    """Annotations of the pod, such as those that a service mesh goes by."""
    priority_class_name: WorkloadPriority | None = None
    """PriorityClass of the pod."""
    image_pull_secrets: PullSecrets = ()
    """Secrets of the same namespace to pull images with."""
    env: Variables = ()
    """Further environment of every container of the pod."""
    ca_bundle: ConfigMapKeyReference | None = None
    """Certificates (PEM) that every container trusts, instead of those of its image and of the chart's ``caBundle``."""

    @model_validator(mode="after")
    def _variables_are_free(self) -> PodSettings:
        names = [variable.name for variable in self.env]
        if len(set(names)) < len(names):
            raise ValueError("env must not name one variable twice; remove one")
        checked_object_variables(names)
        return self
