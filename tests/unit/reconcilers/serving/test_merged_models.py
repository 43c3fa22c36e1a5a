"""Whole lives of merged models: they are served beside their base, by pods of their own."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.reconcilers.merged_deployment import answering
from tests.unit.reconcilers.simulation import Simulation

MERGED: dict[str, Any] = {"serving": {"mode": "Merged"}}


def versions(run: Simulation) -> list[int]:
    """Return the number of the version on every pod that answers."""
    return sorted(json.loads(text)["number"] for text in answering(run.world.cluster))


async def test_a_merged_model_is_served_by_its_own_pods_and_the_base_knows_nothing_of_it() -> None:
    run = Simulation(replicas=2)
    run.write_adapter(method="DoRA", **MERGED)
    await run.settle()
    assert versions(run) == [1, 1]
    assert run.answers() == {"nobody"}
    assert run.health() == "Current"
    assert run.status().served_version == 1
    assert run.status().serving.endpoint == "http://graft-support-merged.team-a.svc:8000"
    assert ("Service", "graft-support-merged") in run.world.cluster.objects


async def test_an_update_never_leaves_fewer_pods_that_answer() -> None:
    run = Simulation(replicas=2)
    run.write_adapter(**MERGED)
    await run.settle()
    run.write_adapter(lora={"rank": 8})
    for _ in range(30):
        await run.round()
        assert len(versions(run)) >= 2
        if versions(run) == [1, 2]:
            assert run.reason("Ready") == "Serving"
            assert run.status().served_version == 1
    assert versions(run) == [2, 2]
    assert run.status().served_version == 2
    assert run.status().serving.previous is None


async def test_a_base_bump_moves_a_merged_model_too() -> None:
    run = Simulation()
    run.write_adapter(**MERGED)
    await run.settle()
    run.write_base("b")
    await run.settle()
    assert versions(run) == [2]
    assert run.revisions() == {"B"}
    assert run.health() == "Current"


async def test_mode_none_takes_the_pods_away_at_once() -> None:
    run = Simulation()
    run.write_adapter(**MERGED)
    await run.settle()
    run.write_adapter(serving={"mode": "None"})
    await run.reconcile("support")
    assert versions(run) == []
    await run.settle()
    assert len(run.world.trained) == 1
    assert run.status().serving.mode is None


async def test_a_model_that_does_not_answer_as_its_manifest_says_is_given_up_for_the_one_before() -> None:
    run = Simulation(replicas=2)
    run.write_adapter(**MERGED)
    await run.settle()
    run.world.refuses.add(("support", 2))
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    assert versions(run) == [1, 1]
    assert run.status().served_version == 1
    assert [(item.number, item.state) for item in run.status().versions if item.number == 2] == [(2, "Refused")]
    assert run.reason("Ready") == "Serving"


async def test_a_first_model_that_does_not_answer_as_its_manifest_says_is_never_called_served() -> None:
    run = Simulation()
    run.world.refuses.add(("support", 1))
    run.write_adapter(**MERGED)
    for _ in range(20):
        await run.round()
    assert versions(run) == []
    assert run.reason("Ready") == "VersionRefused"
    assert run.status().served_version is None
    assert "ProofFailed" in run.status().serving.message


async def test_a_merged_model_asks_for_the_keys_of_its_base() -> None:
    run = Simulation()
    run.write_adapter(**MERGED)
    await run.settle()
    run.write_base(serving={"replicas": 1, "apiKeySecretRef": {"name": "keys", "key": "k"}})
    await run.settle()
    assert run.health() == "Current"
    pod = run.world.cluster.objects["Deployment", "graft-support-merged"]["spec"]["template"]["spec"]
    agent = next(container for container in pod["containers"] if container["name"] == "agent")
    assert "GRAFT_API_KEY_FILE" in {variable["name"] for variable in agent["env"]}
