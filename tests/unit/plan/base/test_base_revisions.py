"""The plan of a base that moves to another one: which are served side by side, and when the old one goes."""

from __future__ import annotations

import pytest
from tests.builders import adapter_of_base, base_id, base_seen, deployment, on_pod, pod, served_version
from tests.unit.plan.base.base_plan import ON_A, ON_B, bumped_to, deleted, name_of, plan, revisions

from graft_operator.manifests import naming
from graft_operator.plan.actions import ApplyObject
from graft_operator.plan.snapshot import BaseSnapshot

MOVING = adapter_of_base(target=served_version(2, "B"), previous=served_version(1))
QUIET_A = pod("pod-a")

REVISIONS: dict[str, tuple[BaseSnapshot, str, list[str]]] = {
    "nobody uses A, B does not answer yet: both": (
        base_seen(bumped_to("B"), bases="AB", deployments=(deployment("A"), deployment("B", ready=0))),
        "BA",
        [],
    ),
    "nobody uses A, B answers: A goes": (
        base_seen(bumped_to("B"), bases="AB", deployments=(deployment("A"), deployment("B"))),
        "B",
        ["A"],
    ),
    "B answers, an adapter is on A: both": (
        base_seen(bumped_to("B"), bases="AB", adapters=(ON_A,), deployments=(deployment("A"), deployment("B"))),
        "BA",
        [],
    ),
    "the adapter is on its way: both": (
        base_seen(bumped_to("B"), bases="AB", adapters=(MOVING,), deployments=(deployment("A"), deployment("B"))),
        "BA",
        [],
    ),
    "the adapter has moved, a pod of A still answers: both": (
        base_seen(
            bumped_to("B"),
            bases="AB",
            adapters=(ON_B,),
            deployments=(deployment("A"), deployment("B")),
            pods=(pod("pod-a", on_pod(served_version(1)), active=(1,)),),
        ),
        "BA",
        [],
    ),
    "the adapter has moved, a pod of A still drains: both": (
        base_seen(
            bumped_to("B"),
            bases="AB",
            adapters=(ON_B,),
            deployments=(deployment("A"), deployment("B")),
            pods=(pod("pod-a", on_pod(served_version(1), "Draining")),),
        ),
        "BA",
        [],
    ),
    "the adapter has moved and the pods of A only forward: A goes": (
        base_seen(
            bumped_to("B"),
            bases="AB",
            adapters=(ON_B,),
            deployments=(deployment("A"), deployment("B")),
            pods=(QUIET_A,),
        ),
        "B",
        ["A"],
    ),
    "B is just being changed: A waits": (
        base_seen(
            bumped_to("B"),
            bases="AB",
            adapters=(ON_B,),
            deployments=(deployment("A"), deployment("B", settled=False)),
            pods=(QUIET_A,),
        ),
        "BA",
        [],
    ),
    "two bumps, an adapter on A: A and C stay, B goes": (
        base_seen(
            bumped_to("C", resolved="B"),
            bases="ABC",
            adapters=(ON_A,),
            deployments=(deployment("A"), deployment("B"), deployment("C")),
        ),
        "CA",
        ["B"],
    ),
    "an unknown Deployment is left alone": (
        base_seen(deployments=(deployment("A"), deployment("C"))),
        "A",
        [],
    ),
}


@pytest.mark.parametrize(("given", "serving", "retired"), REVISIONS.values(), ids=REVISIONS)
def test_revisions(given: BaseSnapshot, serving: str, retired: list[str]) -> None:
    assert revisions(given) == serving
    # The Deployment goes last: while it is there, a pass that was cut short is made up for.
    kinds = ("Service", "ConfigMap", "PodDisruptionBudget", "Deployment")
    assert deleted(given) == [(kind, name_of(letter)) for letter in retired for kind in kinds]


def test_the_old_base_forwards_requests_for_the_base_once_the_new_one_answers() -> None:
    for ready, forward_to in ((0, None), (1, naming.service_url("team-a", "tiny", base_id("B")))):
        given = base_seen(
            bumped_to("B"), bases="AB", adapters=(ON_A,), deployments=(deployment("A"), deployment("B", ready=ready))
        )
        sets = {
            action.manifest["metadata"]["name"]: action.manifest["data"]["wanted.json"]
            for action in plan(given).actions
            if isinstance(action, ApplyObject) and "data" in action.manifest
        }
        expected = f'"forwardTo":"{forward_to}","name":"tiny"' if forward_to else '"forwardTo":null,"name":"tiny"'
        assert expected in sets[name_of("A")]


def test_two_bases_side_by_side_need_no_polling() -> None:
    given = base_seen(bumped_to("B"), bases="AB", adapters=(ON_A,), deployments=(deployment("A"), deployment("B")))
    assert plan(given).requeue_after is None
