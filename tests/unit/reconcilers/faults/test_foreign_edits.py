"""Somebody edits or deletes what is ours: it is as it was with the next look, which the edit itself brings about."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.reconcilers.cluster_in_memory import ClusterInMemory
from tests.unit.reconcilers.merged_deployment import is_merged
from tests.unit.reconcilers.simulation import NAMESPACE, Simulation

from graft_operator.cluster import Cache
from graft_operator.cluster.cached_form import scaled_by_autoscaler
from graft_operator.cluster.resources import BASE_MODELS
from graft_operator.controller_runtime.controller import Result
from graft_operator.controller_runtime.keys import AdapterKey, BaseKey
from graft_operator.manifests.labels import MANAGED_BY, MANAGER
from graft_operator.plan.actions import ApplyObject
from graft_operator.reconcilers.executor import REPAIR_SECONDS, ActionExecutor

SCALED_BY_AUTOSCALER: dict[str, Any] = {
    "manager": "kube-controller-manager",
    "operation": "Update",
    "subresource": "scale",
    "fieldsV1": {"f:spec": {"f:replicas": {}}},
}


async def settled(mode: str) -> tuple[Simulation, str]:
    """Return a settled life, and the name of the Deployment that serves the adapter."""
    run = Simulation(replicas=2)
    run.write_adapter(serving={"mode": mode})
    await run.settle()
    (name,) = [
        body["metadata"]["name"]
        for body in run.world.cluster.of_kind("Deployment")
        if is_merged(body) == (mode == "Merged")
    ]
    return run, name


async def look(run: Simulation, mode: str) -> Result:
    """Reconcile the owner, as the edit's own event asks for; no time passes."""
    run.world.cluster.sync()
    owner = AdapterKey(NAMESPACE, "support") if mode == "Merged" else BaseKey(NAMESPACE, "tiny")
    return await run.world.reconcilers.reconcile(owner)  # who lacks pods for a moment may not answer


def spec_of(run: Simulation, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = run.world.cluster.objects["Deployment", name]["spec"]
    return spec


@pytest.mark.parametrize("mode", ["MultiAdapter", "Merged"])
async def test_a_deployment_that_is_scaled_by_hand_is_as_it_was(mode: str) -> None:
    run, name = await settled(mode)
    run.world.cluster.put("Deployment", name, spec=spec_of(run, name) | {"replicas": 1})
    await look(run, mode)
    assert spec_of(run, name)["replicas"] == 2


@pytest.mark.parametrize("mode", ["MultiAdapter", "Merged"])
async def test_an_image_that_is_set_by_hand_is_as_it_was(mode: str) -> None:
    run, name = await settled(mode)
    before = spec_of(run, name)
    edited = before | {"template": before["template"] | {"spec": {"containers": [{"image": "mine"}]}}}
    run.world.cluster.put("Deployment", name, spec=edited)
    await look(run, mode)
    assert spec_of(run, name) == before


@pytest.mark.parametrize("mode", ["MultiAdapter", "Merged"])
async def test_a_deployment_that_is_deleted_by_hand_is_there_again(mode: str) -> None:
    run, name = await settled(mode)
    run.world.cluster.remove(("Deployment", name))
    await look(run, mode)
    assert ("Deployment", name) in run.world.cluster.objects


@pytest.mark.parametrize(
    "kind", ["Service", "ConfigMap", "PodDisruptionBudget", "ServiceAccount", "Role", "RoleBinding", "Deployment"]
)
@pytest.mark.parametrize("restarts", [False, True])
async def test_whatever_is_deleted_by_hand_is_there_again_with_the_next_look(kind: str, restarts: bool) -> None:
    run, _ = await settled("MultiAdapter")
    if restarts:
        run.world.restart_operator()
        await look(run, "MultiAdapter")
        run.world.now += timedelta(minutes=1)
    ours = [key for key in run.world.cluster.objects if key[0] == kind]
    assert ours
    for key in ours:
        run.world.cluster.objects.pop(key)
        await look(run, "MultiAdapter")
        assert key in run.world.cluster.objects
        run.world.now += timedelta(minutes=1)


@pytest.mark.parametrize("mode", ["MultiAdapter", "Merged"])
async def test_an_autoscaler_is_not_fought(mode: str) -> None:
    run, name = await settled(mode)
    run.world.cluster.put("Deployment", name, spec=spec_of(run, name) | {"replicas": 3})
    run.world.cluster.objects["Deployment", name]["metadata"]["managedFields"] = [SCALED_BY_AUTOSCALER]
    await look(run, mode)
    assert spec_of(run, name)["replicas"] == 3


async def test_what_nobody_has_edited_is_not_applied_again() -> None:
    run, name = await settled("MultiAdapter")
    before = run.world.cluster.attempts.count(("Deployment", name))
    await look(run, "MultiAdapter")
    assert run.world.cluster.attempts.count(("Deployment", name)) == before


async def test_a_controller_that_edits_all_the_time_is_answered_once_in_a_while() -> None:
    cluster, cache, seconds = ClusterInMemory(), Cache(), [0.0]
    cluster.watch(cache)
    effects = ActionExecutor(cluster, cache, None, lambda: seconds[0])  # type: ignore[arg-type]
    metadata = {"name": "x", "namespace": NAMESPACE, "labels": {MANAGED_BY: MANAGER}}
    deployment = {"kind": "Deployment", "metadata": metadata, "spec": {"replicas": 1}}
    owner = {"metadata": {"name": "tiny", "namespace": NAMESPACE, "uid": "u"}}
    for second in range(60):
        outcome = await effects.carry_out(BASE_MODELS, owner, (ApplyObject(deployment),))
        assert outcome.requeue_after is None or 0 < outcome.requeue_after <= REPAIR_SECONDS
        cluster.put("Deployment", "x", spec={"replicas": 2 + second})
        cluster.sync()
        seconds[0] += 1
    assert len(cluster.attempts) == 60 / REPAIR_SECONDS


FIELDS: dict[str, tuple[dict[str, Any], bool]] = {
    "the autoscaler's controller, by scale": ({}, True),
    "a person, by scale": ({"manager": "kubectl"}, False),
    "the Deployment's controller, of its status": ({"subresource": "status"}, False),
    "another field": ({"fieldsV1": {"f:spec": {"f:paused": {}}}}, False),
}


@pytest.mark.parametrize(("changes", "autoscaled"), FIELDS.values(), ids=FIELDS)
def test_who_has_set_the_replicas(changes: dict[str, Any], autoscaled: bool) -> None:
    assert scaled_by_autoscaler({"managedFields": [SCALED_BY_AUTOSCALER | changes]}) == autoscaled
    assert not scaled_by_autoscaler({})
