"""What may help a pod that no node takes: kube-scheduler's own words, and ours."""

from __future__ import annotations

import pytest

from graft_operator.plan.training.progress import hint

SAID = {
    "no GPU is free": (
        "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 3 No preemption"
        " victims found for incoming pod.",
        ["no node has so much nvidia.com/gpu free"],
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
}


@pytest.mark.parametrize(("scheduler_says", "hints"), SAID.values(), ids=SAID)
def test_hint(scheduler_says: str, hints: list[str]) -> None:
    found = hint(scheduler_says)
    assert all(part in found for part in hints)


def test_words_that_nobody_knows_get_no_hint() -> None:
    assert hint("0/1 nodes are available: 1 node(s) had a bad day.") == ""
