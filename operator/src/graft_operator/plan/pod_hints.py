"""What may help a pod that does not start: the platform's own words, and ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from graft_operator.api.pods.preparation import DEFAULT_RESOURCES
from graft_operator.plan.jobs import JobObserved

TRAINING: Final = "spec.pod"
"""Where an adapter sets what concerns the pods of its trainings."""

PREPARATION: Final = "spec.preparation"
"""Where it sets what concerns the pod that prepares their rows."""

DEFAULT_TO_PREPARE: Final = " ({cpu} CPUs and {memory} of memory when empty)".format_map(DEFAULT_RESOURCES.requests)
"""What that pod asks for where nobody has set anything, and who waits for it looks for in vain."""

Hints = tuple[tuple[re.Pattern[str], str], ...]
"""Parts of messages, and what helps; ``{pod}`` is where the place and the resources of the pod are set, such as
``spec.pod``, and ``{identity}`` where is said who it is."""

UNSCHEDULABLE: Final[Hints] = (
    (
        re.compile(r"Insufficient (?P<what>[a-z0-9.-]+/[a-z0-9._-]*[a-z0-9])"),
        "no node has so much {what} free, or none at all, which the scheduler says alike: wait for it, lower"
        " {pod}.resources.limits or take {what} out of it, or see that the node's device plugin runs (`kubectl graft"
        " doctor` tells what nodes offer)",
    ),
    (
        re.compile(r"Insufficient (?P<what>cpu|memory|ephemeral-storage)"),
        "no node has so much {what} free: lower {pod}.resources{default}, or add a node",
    ),
    (
        re.compile(r"didn't match Pod's node affinity/selector"),
        "no other node has the labels that {pod}.nodeSelector and {pod}.affinity ask for",
    ),
    (
        re.compile(r'persistentvolumeclaim "(?P<what>[^"]+)" not found'),
        "apply the PersistentVolumeClaim {what}",
    ),
    (
        re.compile(r"didn't match pod (anti-)?affinity rules|didn't satisfy existing pods anti-affinity rules"),
        "other pods keep it from every node: see {pod}.affinity, and that of the pods there",
    ),
    (
        re.compile(r"didn't match pod topology spread constraints"),
        "no place is left by {pod}.topologySpreadConstraints: use whenUnsatisfiable ScheduleAnyway, or add nodes",
    ),
    (
        re.compile(r"untolerated taint \{(?P<what>node\.kubernetes\.io/[a-z-]+)"),
        "a node is not well, as its taint {what} says: `kubectl describe node` tells why",
    ),
    (
        re.compile(r"untolerated taint(?! \{node(-role)?\.kubernetes\.io/)"),
        "a node keeps pods away by a taint: add a toleration to {pod}.tolerations if the pod is meant for it",
    ),
)
"""Parts of kube-scheduler's messages, and what helps. The wording is that of its plugins' ErrReason constants. Taints
come last: a cluster has nodes that are not meant for the pod, and what it lacks on the others is why it waits."""

CONTROL_PLANE: Final[Hints] = (
    (
        re.compile(r"untolerated taint \{node-role\.kubernetes\.io/"),
        "the nodes that are left keep pods away by a taint, as those of a control plane do: add a node, or a toleration"
        " to {pod}.tolerations if the pod is meant for them",
    ),
)
"""What helps where nothing else is named: few pods are meant for the nodes of a control plane."""

REFUSED: Final[Hints] = (
    (
        re.compile(r"failed quota: (?P<what>[^:]+): must specify (?P<missing>[a-z0-9.,/-]+)"),
        "ResourceQuota {what} takes only pods that say {missing} for every container: set {pod}.resources; those of"
        " Graft's own containers are podResources of its chart",
    ),
    (
        re.compile(r"exceeded quota: (?P<what>[^,]+),"),
        "ResourceQuota {what} is used up: wait for other pods to end, have it raised, or lower {pod}.resources",
    ),
    (
        re.compile(r"unable to validate against any security context constraint|runAsUser|fsGroup|runAsGroup"),
        "the cluster gives user ids itself: set podSecurity.userIds of Graft's chart to Platform",
    ),
    (
        re.compile(r"violates PodSecurity"),
        "something adds to Graft's pods, which keep to the restricted profile: see its webhooks",
    ),
    (
        re.compile(r"no PriorityClass with name (?P<what>\S+) was found"),
        "make the PriorityClass {what}, or change {identity}.priorityClassName or tenantPods.priorityClassName of the"
        " chart",
    ),
    (
        re.compile(r'serviceaccount "(?P<what>[^"]+)" not found'),
        "make the ServiceAccount {what}, or change {identity}.serviceAccountName",
    ),
    (
        re.compile(r'RuntimeClass "(?P<what>[^"]+)" not found'),
        "make the RuntimeClass {what}, or change {pod}.runtimeClassName",
    ),
)
"""Parts of what the API server, its admission plugins and OpenShift say when they refuse a pod, and what helps."""

UNMOUNTED: Final[Hints] = (
    (
        re.compile(r'"pull-secret" : secret "(?P<what>[^"]+)" not found'),
        "apply the Secret {what} of type kubernetes.io/dockerconfigjson, or correct spec.source.oci.pullSecretRef",
    ),
    (
        re.compile(r'"ca-bundle" : (configmap "(?P<what>[^"]+)" not found|references non-existent config key)'),
        "the certificates that caBundle names, in the chart or in {identity}, are not in this namespace",
    ),
)
"""Parts of the kubelet's messages on volumes, and what helps."""

NOT_CREATED: Final[Hints] = (
    (
        re.compile(r'failed to mkdir "": '),
        "the node's runtime mounts no images (containerd does from 2.1 on): upgrade it, or copy the model to S3, a hub"
        " or a claim and name that in spec.source",
    ),
)
"""Parts of what runtimes say when they can't make a container, and what helps."""

HINTS_BY_REASON: Final[Mapping[str, Hints]] = MappingProxyType(
    {
        "Unschedulable": UNSCHEDULABLE,
        "PodsRefused": REFUSED,
        "MountFailed": UNMOUNTED,
        "CreateContainerError": NOT_CREATED,
    }
)


def hint(platform_says: str, pod: str = TRAINING, hints: Hints = UNSCHEDULABLE, **places: str) -> str:
    """Return what may help, sentence by sentence; empty where nothing is known. ``pod`` is where its settings are;
    advice may name further ``places``."""
    default = DEFAULT_TO_PREPARE if pod == PREPARATION else ""
    named = {"pod": pod, "identity": identity_of(pod), "default": default, **places}
    return advised(platform_says, hints, named) or advised(platform_says, CONTROL_PLANE, named)


def advised(platform_says: str, hints: Hints, places: Mapping[str, str]) -> str:
    """Return what these hints say, sentence by sentence."""
    found = [(pattern.search(platform_says), advice) for pattern, advice in hints]
    return "; ".join(advice.format(**places, **match.groupdict()) for match, advice in found if match)


def settings_of(job: JobObserved) -> str:
    """Return where an adapter sets what concerns the pods of this Job of its trainings."""
    return PREPARATION if job.prepares else TRAINING


def identity_of(pod: str) -> str:
    """Return where is said who the pod is, given where its place and resources are."""
    return TRAINING if pod == PREPARATION else pod
