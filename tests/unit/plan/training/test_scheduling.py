"""What may help a pod that does not start: the platform's own words, and ours."""

from __future__ import annotations

import pytest

from graft_operator.plan.pod_hints import REFUSED, UNMOUNTED, hint

SAID = {
    "no GPU is free": (
        "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 3 No preemption"
        " victims found for incoming pod.",
        ["no node has so much nvidia.com/gpu free, or none at all", "kubectl graft doctor"],
    ),
    "the GPU nodes are tainted and the others have none": (
        "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint {nvidia.com/gpu:"
        " present}.",
        ["spec.pod.tolerations", "spec.pod.resources.limits"],
    ),
    "a release that doesn't name the taint": (
        "0/1 nodes are available: 1 node(s) had untolerated taint(s).",
        ["spec.pod.tolerations"],
    ),
    "memory is short": ("0/1 nodes are available: 1 Insufficient memory.", ["so much memory free", "add a node"]),
    "no node has the label": (
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
        ["spec.pod.nodeSelector"],
    ),
    "the claim is not there": (
        'persistentvolumeclaim "rows" not found',
        ["apply the PersistentVolumeClaim rows"],
    ),
    "other pods are in the way": (
        "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules.",
        ["spec.pod.affinity"],
    ),
    "no zone is left": (
        "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints.",
        ["spec.pod.topologySpreadConstraints"],
    ),
}


@pytest.mark.parametrize(("scheduler_says", "hints"), SAID.values(), ids=SAID)
def test_hint(scheduler_says: str, hints: list[str]) -> None:
    found = hint(scheduler_says)
    assert all(part in found for part in hints)


CONTROL_PLANE = "1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }"
SAID_IN_ORDER = {
    "the cause comes before the taint": (
        "0/2 nodes are available: 1 node(s) had untolerated taint {dedicated: gpu}, 1 Insufficient cpu.",
        ["so much cpu free", "by a taint"],
        "",
    ),
    "a control plane is none of the causes": (
        f"0/2 nodes are available: {CONTROL_PLANE}, 1 Insufficient cpu. preemption: 0/2 nodes are available.",
        ["so much cpu free"],
        "taint",
    ),
    "nor is that of an older release": (
        "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint"
        " {node-role.kubernetes.io/master: }.",
        ["nvidia.com/gpu free"],
        "taint",
    ),
    "a control plane with a node of another taint": (
        f"0/2 nodes are available: {CONTROL_PLANE}, 1 node(s) had untolerated taint {{dedicated: gpu}}.",
        ["a node keeps pods away by a taint"],
        "control plane",
    ),
    "a control plane alone": (f"0/1 nodes are available: {CONTROL_PLANE}.", ["control plane", "tolerations"], ""),
    "a node whose disk is full": (
        "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }.",
        ["node.kubernetes.io/disk-pressure", "kubectl describe node"],
        "tolerations",
    ),
}


@pytest.mark.parametrize(("scheduler_says", "in_order", "unsaid"), SAID_IN_ORDER.values(), ids=SAID_IN_ORDER)
def test_taints_are_told_after_what_the_other_nodes_lack(scheduler_says: str, in_order: list[str], unsaid: str) -> None:
    found = hint(scheduler_says)
    places = [found.index(part) for part in in_order]
    assert places == sorted(places)
    assert not unsaid or unsaid not in found


def test_who_has_set_nothing_is_told_what_the_preparation_asks_for() -> None:
    said = "0/1 nodes are available: 1 Insufficient cpu."
    assert "spec.preparation.resources (2 CPUs and 4Gi of memory when empty)" in hint(said, "spec.preparation")
    assert "when empty" not in hint(said, "spec.pod")


def test_words_that_nobody_knows_get_no_hint() -> None:
    assert hint("0/1 nodes are available: 1 node(s) had a bad day.") == ""


SAID_OF_PODS = {
    "a quota on limits": (
        'Error creating: pods "support-train-1-x" is forbidden: failed quota: compute: must specify limits.cpu for:'
        " trainer; limits.memory for: trainer",
        ["ResourceQuota compute", "limits.cpu", "spec.pod.resources", "podResources"],
    ),
    "a quota of an older release": (
        'pods "x" is forbidden: failed quota: q: must specify limits.cpu,limits.memory',
        ["ResourceQuota q", "limits.cpu,limits.memory"],
    ),
    "a quota that is used up": (
        'pods "x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1, used:'
        " requests.nvidia.com/gpu=4, limited: requests.nvidia.com/gpu=4",
        ["ResourceQuota gpus is used up"],
    ),
    "OpenShift": (
        'pods "x" is forbidden: unable to validate against any security context constraint: [provider "anyuid":'
        " Forbidden: not usable by user or serviceaccount, spec.initContainers[0].securityContext.runAsUser: Invalid"
        " value: 65532: must be in the ranges: [1000650000, 1000659999]]",
        ["podSecurity.userIds"],
    ),
    "a policy of one's own on user ids": (
        'admission webhook "validate.kyverno.svc-fail" denied the request: spec.securityContext.runAsUser must be above'
        " 1000650000",
        ["podSecurity.userIds"],
    ),
    "a PriorityClass that is not there": (
        'pods "x" is forbidden: no PriorityClass with name batch was found',
        ["PriorityClass batch", "spec.pod.priorityClassName"],
    ),
    "an account that is not there": (
        'pods "x" is forbidden: error looking up service account team-a/s3-reader: serviceaccount "s3-reader" not'
        " found",
        ["ServiceAccount s3-reader", "spec.pod.serviceAccountName"],
    ),
    "a RuntimeClass that is not there": (
        'pods "x" is forbidden: pod rejected: RuntimeClass "nvidia" not found',
        ["RuntimeClass nvidia", "spec.pod.runtimeClassName"],
    ),
}


@pytest.mark.parametrize(("server_says", "hints"), SAID_OF_PODS.values(), ids=SAID_OF_PODS)
def test_what_helps_where_a_pod_is_refused(server_says: str, hints: list[str]) -> None:
    found = hint(server_says, "spec.pod", REFUSED)
    assert all(part in found for part in hints), found


def test_certificates_that_are_not_in_the_namespace() -> None:
    said = 'MountVolume.SetUp failed for volume "ca-bundle" : configmap "certificates" not found'
    assert "caBundle" in hint(said, "spec.serving", UNMOUNTED)
    assert "spec.serving" in hint(said, "spec.serving", UNMOUNTED)
