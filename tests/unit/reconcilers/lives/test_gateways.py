"""Whole lives of a base behind a Gateway: the kind comes late, goes, and comes again; the field comes and goes."""

from __future__ import annotations

from typing import Any

from tests.unit.reconcilers.simulation import Simulation

from graft_operator.api.base_model import BaseModelStatus
from graft_operator.api.conditions import find
from graft_operator.cluster.errors import Forbidden

POOL = ("InferencePool", "graft-tiny")
GATEWAY: dict[str, Any] = {"gateway": {"endpointPickerRef": {"name": "picker"}}}


def gateway_reason(run: Simulation) -> str | None:
    status = BaseModelStatus.model_validate(run.world.cluster.objects["BaseModel", "tiny"]["status"])
    found = find(status.conditions, "GatewayReady")
    return found.reason if found else None


async def settled(*, installed: bool = True, **serving: Any) -> Simulation:
    run = Simulation()
    if installed:
        run.world.cluster.unknown_kinds.clear()
    run.write_base(serving={"replicas": 1} | serving)
    await run.settle()
    return run


async def test_the_kind_is_installed_later() -> None:
    run = await settled(installed=False, **GATEWAY)
    assert gateway_reason(run) == "GatewayApiMissing"
    assert POOL not in run.world.cluster.objects
    assert run.answers() == {"v1@a"}
    run.world.cluster.unknown_kinds.clear()
    await run.settle()
    assert gateway_reason(run) == "NoGateway"
    assert POOL in run.world.cluster.objects


async def test_the_field_is_removed() -> None:
    run = await settled(**GATEWAY)
    run.write_base(serving={"replicas": 1})
    await run.settle()
    assert POOL not in run.world.cluster.objects
    assert gateway_reason(run) is None
    assert run.health("BaseModel", "tiny") == "Current"
    assert run.answers() == {"v1@a"}


async def test_the_field_is_removed_while_the_operator_is_away() -> None:
    run = Simulation()
    run.world.cluster.unknown_kinds.clear()
    run.write_base(serving={"replicas": 1} | GATEWAY)
    while POOL not in run.world.cluster.objects:
        run.world.cluster.dies_after_write = run.world.cluster.writes + 1  # each write is the operator's last
        await run.round()
    run.world.cluster.dies_after_write = None
    run.write_base(serving={"replicas": 1})
    await run.settle()
    assert POOL not in run.world.cluster.objects


async def test_a_gateway_takes_the_pool() -> None:
    run = await settled(**GATEWAY)
    accepted = {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    parent = {"parentRef": {"name": "inference"}, "conditions": [accepted]}
    run.world.cluster.objects[POOL]["status"] = {"parents": [parent]}
    await run.settle()
    assert gateway_reason(run) == "Accepted"


async def test_the_kind_goes_with_all_pools_and_comes_again_at_once() -> None:
    run = await settled(**GATEWAY)
    run.world.cluster.unknown_kinds.add("InferencePool")
    run.world.cluster.remove(POOL)
    await run.settle()
    assert gateway_reason(run) == "GatewayApiMissing"
    run.world.cluster.unknown_kinds.clear()
    await run.round()
    assert POOL in run.world.cluster.objects, "the operator must not think that it has applied the pool already"


async def test_a_pool_that_an_admission_webhook_refuses_holds_nothing_else_up() -> None:
    run = Simulation()
    run.world.cluster.unknown_kinds.clear()
    run.world.cluster.refuses["InferencePool"] = Forbidden("admission webhook denied the request")
    run.write_base(serving={"replicas": 1} | GATEWAY)
    await run.settle()
    assert gateway_reason(run) == "ObjectRefused"
    assert run.answers() == {"v1@a"}
    assert (run.health(), run.health("BaseModel", "tiny")) == ("Current", "Current")
    run.world.cluster.refuses.clear()
    await run.settle()
    assert gateway_reason(run) == "NoGateway"
    assert POOL in run.world.cluster.objects


async def test_the_pool_goes_with_its_base() -> None:
    run = await settled(**GATEWAY)
    run.delete_adapter()
    run.delete_base()
    await run.settle()
    assert POOL not in run.world.cluster.objects


async def test_somebody_elses_pool_is_left_alone() -> None:
    run = Simulation()
    run.world.cluster.unknown_kinds.clear()
    run.world.cluster.put(*POOL, spec={"targetPorts": [{"number": 1}]})
    run.write_base(serving={"replicas": 1} | GATEWAY)
    await run.settle()
    assert gateway_reason(run) == "PoolNameTaken"
    run.write_base(serving={"replicas": 1})
    await run.settle()
    assert run.world.cluster.objects[POOL]["spec"] == {"targetPorts": [{"number": 1}]}
