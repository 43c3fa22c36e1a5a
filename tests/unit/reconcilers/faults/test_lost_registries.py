"""The bucket was emptied, damaged, restored or kept while the cluster was lost: what is good is served, once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.reconcilers.moments import CANARY, told
from tests.unit.reconcilers.simulation import NAMESPACE, Simulation

from graft_registry.layout import AdapterLayout

VERSIONS = AdapterLayout(NAMESPACE, "support")
LONGER_THAN_ANSWERS_HOLD = timedelta(hours=1)


async def lived(**spec: Any) -> Simulation:
    """Return a settled life."""
    run = Simulation()
    if spec:
        run.write_adapter(**spec)
    await run.settle()
    return run


def in_a_new_cluster(lost: Simulation) -> Simulation:
    """Return the beginning of a life with the registry of another one, whose cluster is gone."""
    run = Simulation()
    run.world.registry = lost.world.registry
    run.world.restart_operator()
    return run


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_bucket_that_was_lost_is_filled_again(restarts: bool) -> None:
    run = await lived()
    before = run.status().serving.target
    run.world.registry.lose_versions()
    run.world.trained.clear()
    if restarts:
        run.world.restart_operator()
        run.write_adapter(training={"epochs": 5})
    await run.settle()
    assert len(run.world.trained) == 1
    assert run.answers() == {"v1@a"}
    assert told(run, "Stalled") == ("False", "Progressing")
    assert run.health() == "Current"
    after = run.status().serving.target
    assert before is not None
    assert after is not None
    assert (after.number, after.digest) != (before.number, before.digest) or not restarts


async def test_a_bucket_that_was_restored_to_an_older_state_serves_what_it_holds() -> None:
    run = await lived()
    kept = dict(run.world.registry.store.objects)
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    run.world.registry.store.objects.clear()
    run.world.registry.store.objects.update(kept)
    run.world.trained.clear()
    await run.settle()
    assert run.answers() == {"v2@a"}
    assert len(run.world.trained) == 1, "what it lacks is trained again"
    assert run.health() == "Current"


@pytest.mark.parametrize("content", [b"", b"garbage", b"{}", b'{"schema": "graft.dev/version/v9"}'])
async def test_a_damaged_old_version_does_not_keep_a_new_cluster_from_serving_the_good_one(content: bytes) -> None:
    first = await lived()
    first.write_adapter(lora={"rank": 8})
    await first.settle()
    first.world.registry.store.objects[VERSIONS.manifest(1)] = content
    second = in_a_new_cluster(first)
    second.write_adapter(lora={"rank": 8})
    await second.settle()
    assert second.answers() == {"v2@a"}
    assert second.world.trained == []


async def test_a_damaged_version_that_is_served_is_told_and_goes_on_being_served() -> None:
    run = await lived()
    run.world.registry.store.objects[VERSIONS.manifest(1)] = b"garbage"
    await run.settle()
    assert told(run, "Stalled") == ("True", "RegistryCorrupt")
    assert run.answers() == {"v1@a"}
    assert len(run.world.trained) == 1, "a person says what becomes of it"


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_source_whose_base_is_gone_is_imported_again(restarts: bool) -> None:
    run = await lived()
    run.world.registry.lose_bases()
    for name in run.jobs():
        run.world.cluster.remove(("Job", name))
    if restarts:
        run.world.restart_operator()
    run.world.now += LONGER_THAN_ANSWERS_HOLD
    await run.settle()
    assert run.world.registry.bases
    assert run.answers() == {"v1@a"}
    assert run.health("BaseModel", "tiny") == "Current"


async def test_a_version_that_was_rolled_back_is_not_served_by_a_cluster_built_anew() -> None:
    first = await lived(serving=CANARY)
    first.world.fails.add(("support", 2))
    first.write_adapter(lora={"rank": 8})
    await first.settle()
    assert first.answers() == {"v1@a"}
    second = in_a_new_cluster(first)
    second.write_adapter(serving=CANARY, lora={"rank": 8})
    await second.settle()
    assert second.answers() == {"v1@a"}
    assert told(second, "Stalled") == ("True", "RolledBack")
    assert second.world.trained == []


async def test_a_version_that_was_rolled_back_is_not_served_though_the_first_look_was_at_half_a_registry() -> None:
    first = await lived(serving=CANARY)
    first.world.fails.add(("support", 2))
    first.write_adapter(lora={"rank": 8})
    await first.settle()
    second = in_a_new_cluster(first)
    second.write_adapter(serving=CANARY, lora={"rank": 8})
    await second.reconcile("tiny")
    switches = second.world.registry.store.switches
    switches.hangs = lambda key: "/recipes/" in key
    await second.rounds(2)
    assert told(second, "Reconciling") == ("True", "RegistryUnavailable")
    switches.hangs = lambda key: False
    await second.settle()
    assert second.answers() == {"v1@a"}


async def test_a_version_that_was_rolled_back_is_not_served_by_an_object_that_was_applied_again() -> None:
    run = await lived(serving=CANARY)
    run.world.fails.add(("support", 2))
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    run.delete_adapter()
    await run.settle()
    run.write_adapter(serving=CANARY, lora={"rank": 8})
    await run.settle()
    assert run.answers() == {"v1@a"}


async def test_a_version_that_pods_refused_is_not_served_by_a_cluster_built_anew() -> None:
    first = await lived()
    first.world.refuses.add(("support", 2))
    first.write_adapter(lora={"rank": 8})
    await first.settle()
    second = in_a_new_cluster(first)
    second.write_adapter(lora={"rank": 8})
    await second.settle()
    assert second.answers() == {"v1@a"}


async def test_a_verdict_that_is_taken_back_is_taken_back_in_the_registry() -> None:
    first = await lived(serving=CANARY)
    first.world.fails.add(("support", 2))
    first.write_adapter(lora={"rank": 8})
    await first.settle()
    first.world.fails.clear()
    first.write_adapter(serving={"rollout": CANARY["rollout"] | {"promote": 2}})
    await first.settle()
    assert first.answers() == {"v2@a"}
    second = in_a_new_cluster(first)
    second.write_adapter(serving=CANARY, lora={"rank": 8})
    await second.settle()
    assert second.answers() == {"v2@a"}
