"""Whole lives of bases and adapters of which the API server refuses a child: it is told, and the rest goes on."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.reconcilers.simulation import NAMESPACE, Simulation

from graft_operator.api.base_model import BaseModelStatus
from graft_operator.api.conditions import Condition, find
from graft_operator.cluster.errors import Forbidden, Invalid, NamespaceTerminating, Unavailable
from graft_operator.controller_runtime.keys import BaseKey

QUOTA = Forbidden('PATCH /apis/apps/v1/x: deployments.apps "x" is forbidden: exceeded quota: team-a (403)')
NOT_VALID = Invalid("PATCH /apis/apps/v1/x: spec.template: Invalid value (422)")
MERGED: dict[str, Any] = {"serving": {"mode": "Merged"}}


def base_condition(run: Simulation, kind: str) -> Condition:
    status = BaseModelStatus.model_validate(run.world.cluster.objects["BaseModel", "tiny"]["status"])
    found = find(status.conditions, kind)
    assert found is not None
    return found


def is_resolved(run: Simulation) -> bool:
    """Whether the base can be trained on."""
    return bool(run.world.cluster.objects["BaseModel", "tiny"].get("status", {}).get("resolved"))


def warnings(run: Simulation, name: str) -> list[str]:
    """Return what the events tell of rejections."""
    return [text for about, reason, text in run.world.cluster.events if about == name and reason == "ObjectRefused"]


async def test_a_serving_deployment_that_a_quota_refuses_is_told_and_comes_when_there_is_room() -> None:
    run = Simulation()
    run.world.cluster.refuses["Deployment"] = QUOTA
    await run.settle()
    for kind in ("Ready", "ServingReady"):
        assert (base_condition(run, kind).status, base_condition(run, kind).reason) == ("False", "ObjectRefused")
    assert (base_condition(run, "Stalled").status, base_condition(run, "Stalled").reason) == ("True", "ObjectRefused")
    assert "exceeded quota: team-a" in base_condition(run, "Ready").message
    assert run.health("BaseModel", "tiny") == "Failed"
    assert len(warnings(run, "tiny")) == 1
    assert len(run.world.trained) == 1, "trainings need no serving"
    assert {kind for kind, _ in run.world.cluster.objects} >= {"ConfigMap", "Service", "PodDisruptionBudget"}
    run.world.cluster.refuses.clear()
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert run.health("BaseModel", "tiny") == "Current"


@pytest.mark.parametrize("kind", ["ConfigMap", "PodDisruptionBudget", "ServiceAccount", "Role", "RoleBinding"])
async def test_whatever_else_is_refused_holds_up_nothing_but_itself(kind: str) -> None:
    run = Simulation()
    run.world.cluster.refuses[kind] = QUOTA
    await run.rounds(12)
    assert f"refuses {kind} " in base_condition(run, "Stalled").message
    assert run.world.cluster.of_kind("Deployment")
    run.world.cluster.refuses.clear()
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert run.health("BaseModel", "tiny") == "Current"


async def test_what_is_not_valid_is_told_and_tried_again_as_well() -> None:
    run = Simulation()
    run.world.cluster.refuses["Deployment"] = NOT_VALID
    await run.settle()
    assert base_condition(run, "Stalled").reason == "ObjectRefused"
    assert "Invalid value" in base_condition(run, "Stalled").message
    run.world.cluster.refuses.clear()
    await run.settle()
    assert run.answers() == {"v1@a"}


async def test_an_update_that_is_refused_leaves_what_answers_alone_and_new_adapters_get_through() -> None:
    run = Simulation()
    await run.settle()
    run.world.cluster.refuses["Deployment"] = QUOTA
    run.write_base(serving={"replicas": 2})
    run.write_adapter("sales")
    run.write_adapter(lora={"rank": 8})
    await run.rounds(15)
    assert run.answers() == {"v2@a"}
    assert run.answers("sales") == {"v1@a"}
    assert base_condition(run, "Stalled").reason == "ObjectRefused"
    assert len(warnings(run, "tiny")) == 1


async def test_a_training_that_is_refused_is_told_and_its_siblings_train() -> None:
    run = Simulation("support", "sales")
    while not is_resolved(run):
        await run.round(["tiny"])
    run.world.cluster.refuses["Job"] = QUOTA
    while run.reason("Trained") != "ObjectRefused":
        await run.round()
    refused = find(run.status().conditions, "Trained")
    assert refused is not None
    assert "exceeded quota" in refused.message
    assert run.reason("UpToDate") == run.reason("Ready") == run.reason("Stalled") == "ObjectRefused"
    assert not any(reason == "TrainingJobCreated" for _, reason, _ in run.world.cluster.events)
    (name,) = {name for kind, name in run.world.cluster.attempts if kind == "Job" and "support-train" in name}
    run.world.cluster.refuses = {f"Job/{name}": QUOTA}
    await run.settle()
    assert (run.answers("support"), run.answers("sales")) == ({"nobody"}, {"v1@a"})
    assert (run.health("LoraAdapter", "support"), run.health("LoraAdapter", "sales")) == ("Failed", "Current")
    run.world.cluster.refuses.clear()
    await run.settle()
    assert run.answers("support") == {"v1@a"}
    assert len(warnings(run, "support")) == 1
    assert len(run.world.trained) == 2


async def test_a_version_goes_on_being_served_while_its_successor_may_not_be_trained() -> None:
    run = Simulation()
    await run.settle()
    run.world.cluster.refuses["Job"] = QUOTA
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert (run.reason("Ready"), run.reason("Trained")) == ("Serving", "ObjectRefused")


@pytest.mark.parametrize("kind", ["Deployment", "Service"])
async def test_a_merged_model_that_is_refused_is_told_by_its_adapter(kind: str) -> None:
    run = Simulation()
    run.write_adapter(**MERGED)
    run.world.cluster.refuses[f"{kind}/graft-support-merged"] = QUOTA
    await run.settle()
    assert (run.reason("Stalled"), run.reason("Served")) == ("ObjectRefused", "ObjectRefused")
    assert run.health("BaseModel", "tiny") == "Current"
    run.world.cluster.refuses.clear()
    await run.settle()
    assert (run.health(), run.status().served_version) == ("Current", 1)


async def test_what_is_served_is_not_handed_over_to_pods_that_nobody_reaches() -> None:
    run = Simulation()
    await run.settle()
    run.world.cluster.refuses["Service/graft-support-merged"] = QUOTA
    run.write_adapter(**MERGED)
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert run.reason("Stalled") == "ObjectRefused"
    run.world.cluster.refuses.clear()
    await run.settle()
    assert (run.health(), run.status().served_version) == ("Current", 2)


async def test_a_bumped_base_is_not_moved_to_while_its_service_is_refused() -> None:
    run = Simulation()
    await run.settle()
    services = {name for kind, name in run.world.cluster.objects if kind == "Service"}
    run.write_base("b")
    while len(base_revisions(run)) < 2:
        await run.round()
    (new,) = base_revisions(run) - services
    run.world.cluster.remove(("Service", new))
    run.world.cluster.remove(("Deployment", new))
    run.world.restart_operator()
    run.world.cluster.refuses[f"Service/{new}"] = QUOTA
    await run.rounds(20)
    assert run.answers() == {"v1@a"}
    assert base_condition(run, "Ready").reason == "ObjectRefused"
    run.world.cluster.refuses.clear()
    await run.settle()
    assert run.answers() == {"v2@b"}


def base_revisions(run: Simulation) -> set[str]:
    """Return the names of the Deployments of the base's revisions."""
    return {body["metadata"]["name"] for body in run.world.cluster.of_kind("Deployment")}


async def test_a_trainer_that_may_not_be_ended_has_no_other_beside_it() -> None:
    run = Simulation()
    while not any("support-train" in name for name in run.jobs()):
        await run.round()
    (first,) = [name for name in run.jobs() if "support-train" in name]
    run.world.cluster.keeps[f"Job/{first}"] = QUOTA
    run.write_adapter(lora={"rank": 8})
    await run.reconcile("support")
    assert [name for name in run.jobs() if "support-train" in name] == [first]
    assert run.reason("Stalled") == run.reason("Trained") == "ObjectRefused"
    run.world.cluster.keeps.clear()
    await run.settle()
    assert run.answers() == {"v1@a"}


async def attempts_after(run: Simulation, rounds: int) -> int:
    """Return how often a Deployment was asked for in so many rounds."""
    before = len(run.world.cluster.attempts)
    await run.rounds(rounds)
    return [kind for kind, _ in run.world.cluster.attempts[before:]].count("Deployment")


async def test_what_is_refused_is_tried_again_less_and_less_often_until_the_operator_starts_anew() -> None:
    run = Simulation()
    run.world.cluster.refuses["Deployment"] = QUOTA
    await run.rounds(20)
    assert 4 <= await attempts_after(run, 12) <= 8, "a round is 100 seconds, and the longest rest 150 to 300"
    run.world.restart_operator()
    await run.reconcile("tiny")
    assert run.world.cluster.attempts[-1][0] != "Job"
    assert base_condition(run, "Ready").reason == "ObjectRefused"


async def test_what_has_changed_is_tried_at_once() -> None:
    run = Simulation()
    run.world.cluster.refuses["Deployment"] = QUOTA
    await run.rounds(20)
    run.world.cluster.refuses.clear()
    run.write_base(serving={"replicas": 2})
    await run.reconcile("tiny")
    (deployment,) = run.world.cluster.of_kind("Deployment")
    assert deployment["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Unavailable("503"), "ObjectRefused"), (NamespaceTerminating("403"), "PodsNotReady")],
    ids=["away", "going"],
)
async def test_what_passes_by_itself_is_retried_as_a_whole(error: Exception, reason: str) -> None:
    run = Simulation()
    await run.settle()
    run.world.cluster.refuses["Deployment"] = error
    run.write_base(serving={"replicas": 2})
    run.world.cluster.sync()
    with pytest.raises(type(error)):
        await run.world.reconcilers.reconcile(BaseKey(NAMESPACE, "tiny"))
    assert run.health("BaseModel", "tiny") == "InProgress"
    assert base_condition(run, "ServingReady").reason == reason
    run.world.cluster.refuses.clear()
    await run.settle()
    assert run.health("BaseModel", "tiny") == "Current"
    assert len(run.world.pods) == 2
