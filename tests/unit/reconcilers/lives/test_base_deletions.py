"""A base is deleted: it serves for as long as adapters name it, however it was deleted, and then all of it goes."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.reconcilers.simulation import Simulation

from graft_operator.cluster import Forbidden, Invalid
from graft_operator.uninstall import release_everything


def uids(run: Simulation) -> dict[tuple[str, str], str]:
    """Return what there is of the base, Jobs aside."""
    return {
        key: body["metadata"]["uid"]
        for key, body in run.world.cluster.objects.items()
        if body["metadata"].get("labels", {}).get("graft.dev/owner-kind") == "BaseModel"
        and key[0] not in ("Job", "Pod")
    }


@pytest.mark.parametrize("foreground", [False, True])
@pytest.mark.parametrize("restarts", [False, True])
async def test_a_base_is_deleted_after_its_last_adapter_and_not_before(foreground: bool, restarts: bool) -> None:
    run = Simulation()
    await run.settle()
    kept = uids(run)
    if restarts:
        run.world.restart_operator()
    run.delete_base(foreground=foreground)
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert uids(run) == kept
    run.world.registry.is_away = True
    run.delete_adapter()
    await run.settle()
    assert ("BaseModel", "tiny") not in run.world.cluster.objects
    assert uids(run) == {}


async def test_a_base_that_was_deleted_in_the_foreground_still_follows_its_adapters() -> None:
    run = Simulation("support", "sales")
    await run.settle()
    run.delete_base(foreground=True)
    await run.settle()
    kept = uids(run)
    run.write_adapter("sales", lora={"rank": 8})
    await run.settle()
    assert run.answers("sales") == {"v2@a"}
    assert uids(run) == kept


async def test_what_an_older_operator_has_made_is_anchored() -> None:
    run = Simulation()
    await run.settle()
    (anchor,) = (key for key in run.world.cluster.objects if key[1].endswith("-anchor"))
    run.world.cluster.remove(anchor)
    run.world.restart_operator()
    await run.settle()
    kept = uids(run)
    assert anchor in kept
    run.delete_base(foreground=True)
    await run.settle()
    assert uids(run) == kept


@pytest.mark.parametrize("is_watched", [True, False], ids=["the operator is there", "the operator is away"])
@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_finalizer_that_somebody_takes_off_leaves_nothing_behind(is_watched: bool, comes_back: bool) -> None:
    run = Simulation()
    await run.settle()
    before = uids(run)
    run.delete_adapter()
    await run.settle()
    run.world.cluster.remove(("BaseModel", "tiny"))
    if comes_back:
        run.write_base("a", serving={"replicas": 1})
    if not is_watched:
        run.world.restart_operator()
    await run.settle()
    after = uids(run)
    assert not set(before.values()) & set(after.values())
    assert bool(after) == comes_back


@pytest.mark.parametrize("is_watched", [True, False], ids=["the operator is there", "the operator is away"])
async def test_a_base_that_comes_back_from_a_copy_with_its_finalizer_leaves_nothing_behind(is_watched: bool) -> None:
    run = Simulation()
    await run.settle()
    before = uids(run)
    run.delete_adapter()
    await run.settle()
    copy = run.world.cluster.objects["BaseModel", "tiny"]
    run.world.cluster.remove(("BaseModel", "tiny"))
    kept = {"finalizers": copy["metadata"]["finalizers"]}
    run.world.cluster.put("BaseModel", "tiny", spec=copy["spec"], metadata=kept)
    if not is_watched:
        run.world.restart_operator()
    await run.settle()
    assert not set(before.values()) & set(uids(run).values())
    assert uids(run)


async def test_an_anchor_that_is_refused_is_told_and_keeps_nothing_from_being_served() -> None:
    run = Simulation()
    run.world.cluster.refuses["ConfigMap/graft-tiny-uid-1-anchor"] = Forbidden("exceeded quota (403)")
    await run.settle()
    assert "exceeded quota" in str(run.world.cluster.objects["BaseModel", "tiny"]["status"]["conditions"])


@pytest.mark.parametrize("foreground", [False, True])
async def test_uninstalling_leaves_nothing_of_a_base_that_was_held(foreground: bool) -> None:
    run = Simulation()
    await run.settle()
    run.delete_base(foreground=foreground)
    await run.settle()
    cluster: Any = run.world.cluster
    await release_everything(cluster)
    assert uids(run) == {}


async def test_uninstalling_lets_what_is_served_go_with_its_base() -> None:
    run = Simulation()
    await run.settle()
    kept, cluster = uids(run), run.world.cluster
    given: Any = cluster
    await release_everything(given)
    assert {key for key in kept if not key[1].endswith("-anchor")} == uids(run).keys()
    run.delete_base()
    assert uids(run) == {}


async def test_an_anchor_that_may_not_be_deleted_keeps_no_finalizer_on() -> None:
    run = Simulation()
    await run.settle()
    cluster: Any = run.world.cluster
    cluster.keeps["ConfigMap/graft-tiny-uid-1-anchor"] = Invalid("denied request (422)")
    await release_everything(cluster)
    assert cluster.objects["BaseModel", "tiny"]["metadata"]["finalizers"] == []


async def test_an_anchor_of_a_former_base_that_may_not_be_deleted_holds_up_nothing() -> None:
    run = Simulation()
    await run.settle()
    run.world.cluster.keeps["ConfigMap/graft-tiny-uid-1-anchor"] = Forbidden("denied (403)")
    run.delete_adapter()
    await run.settle()
    run.world.cluster.objects.pop(("BaseModel", "tiny"))
    run.write_base("b", serving={"replicas": 1})
    await run.settle()
    assert run.world.cluster.objects["BaseModel", "tiny"]["metadata"]["finalizers"]
    assert run.reason("Ready", "tiny", "BaseModel") == "Serving"


async def test_a_namespace_that_took_our_rights_with_it_is_not_held_up() -> None:
    run = Simulation()
    await run.settle()
    run.delete_adapter()
    await run.settle()
    cluster = run.world.cluster
    cluster.keeps["ConfigMap/graft-tiny-uid-1-anchor"] = Forbidden("configmaps is forbidden (403)")
    cluster.unknown_kinds.add("ConfigMap")
    run.delete_base()
    await run.rounds(3)
    assert ("BaseModel", "tiny") not in cluster.objects


async def test_a_base_whose_anchor_may_not_be_deleted_stays_and_says_why() -> None:
    run = Simulation()
    await run.settle()
    run.delete_adapter()
    await run.settle()
    run.world.cluster.keeps["ConfigMap/graft-tiny-uid-1-anchor"] = Forbidden("denied by a webhook (403)")
    run.delete_base()
    await run.settle()
    assert "denied by a webhook" in run.told("Stalled", "tiny", "BaseModel")
    del run.world.cluster.keeps["ConfigMap/graft-tiny-uid-1-anchor"]
    await run.settle()
    assert ("BaseModel", "tiny") not in run.world.cluster.objects
    assert uids(run) == {}


async def test_a_held_base_is_left_alone_while_its_anchor_can_not_be_seen() -> None:
    run = Simulation()
    await run.settle()
    run.delete_base(foreground=True)
    await run.settle()
    kept, cluster = uids(run), run.world.cluster
    cluster.unknown_kinds.add("ConfigMap")
    run.world.restart_operator()
    await run.rounds(3)
    cluster.ask_deletion("BaseModel", "tiny", run.world.now, foreground=True)
    assert uids(run) == kept
