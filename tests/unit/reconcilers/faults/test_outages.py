"""The registry is away, or the API server takes no Jobs: what is served is decided about all the same, and told."""

from __future__ import annotations

import pytest
from tests.unit.reconcilers.moments import CANARY, parts, told, until_split
from tests.unit.reconcilers.simulation import NAMESPACE, Simulation

from graft_operator.api.base_model import BaseModelStatus
from graft_operator.cluster.errors import Unavailable
from graft_operator.controller_runtime.controller import TransientError
from graft_operator.controller_runtime.keys import AdapterKey

WEBHOOK = Unavailable('POST jobs: failed calling webhook "mjob.kb.io" (500)')


async def with_a_canary_that_fails() -> Simulation:
    """Return a life in which version 2 has just got its first requests, and answers none of them."""
    run = Simulation()
    run.write_adapter(serving=CANARY)
    await run.settle()
    run.world.fails.add(("support", 2))
    run.write_adapter(lora={"rank": 8})
    await until_split(run)
    return run


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_canary_that_fails_is_rolled_back_while_the_registry_is_away(restarts: bool) -> None:
    run = await with_a_canary_that_fails()
    run.world.registry.is_away = True
    if restarts:
        run.world.restart_operator()
    await run.rounds(10)
    assert parts(run) == {((1, 100),)}
    entry = next(item for item in run.status().versions if item.number == 2)
    assert entry.state == "RolledBack"


async def test_a_canary_that_fails_is_rolled_back_while_no_job_can_be_made() -> None:
    run = await with_a_canary_that_fails()
    run.world.cluster.refuses["Job"] = WEBHOOK
    run.write_adapter(lora={"rank": 4})
    await run.rounds(10)
    assert parts(run) == {((1, 100),)}
    assert told(run, "Reconciling") == ("True", "ObjectRefused")
    run.world.cluster.refuses.clear()
    await run.settle()
    assert run.answers() == {"v3@a"}


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_base_is_scaled_while_the_registry_is_away(restarts: bool) -> None:
    run = Simulation()
    await run.settle()
    run.world.registry.is_away = True
    if restarts:
        run.world.restart_operator()
    run.write_base(serving={"replicas": 3})
    await run.rounds(8)
    assert len(run.world.pods) == 3
    assert run.answers() == {"v1@a"}


async def test_an_operator_that_starts_while_the_registry_is_away_leaves_everything_as_it_is() -> None:
    run = Simulation("support", "sales")
    await run.settle()
    before = {name: run.status(name) for name in run.adapters()}
    run.world.registry.is_away = True
    run.world.restart_operator()
    await run.settle()
    assert {name: run.status(name) for name in run.adapters()} == before
    base = BaseModelStatus.model_validate(run.world.cluster.objects["BaseModel", "tiny"]["status"])
    assert {item.type: item.reason for item in base.conditions if item.status == "True"} == {
        "Reconciling": "RegistryUnavailable",
        "Ready": "Serving",
        "Resolved": "Resolved",
        "ServingReady": "Serving",
        "AdaptersUpToDate": "UpToDate",
        "RegistrySafe": "ConditionalWrites",
    }


async def test_a_new_spec_waits_for_a_registry_that_hangs_and_says_so() -> None:
    run = Simulation()
    await run.settle()
    run.world.registry.store.switches.hangs = lambda key: True
    run.write_adapter(lora={"rank": 8})
    await run.rounds(3)
    assert told(run, "Reconciling") == ("True", "RegistryUnavailable")
    assert run.answers() == {"v1@a"}
    run.world.registry.store.switches.hangs = lambda key: False
    await run.settle()
    assert run.answers() == {"v2@a"}


async def test_a_promotion_is_heard_though_the_registry_was_away_at_that_moment() -> None:
    run = await with_a_canary_that_fails()
    await run.settle()
    assert parts(run) == {((1, 100),)}
    run.world.fails.clear()
    run.write_adapter(serving={"rollout": CANARY["rollout"] | {"promote": 2}})
    run.world.registry.is_away = True
    await run.reconcile("support")
    run.world.registry.is_away = False
    await run.settle()
    assert run.answers() == {"v2@a"}


async def test_another_try_is_made_though_the_registry_was_away_when_the_spec_changed() -> None:
    run = await with_a_canary_that_fails()
    await run.settle()
    run.world.fails.clear()
    run.world.registry.is_away = True
    run.write_adapter(serving=CANARY | {"replicas": 1})
    await run.rounds(3)
    run.world.registry.is_away = False
    await run.settle()
    assert run.answers() == {"v2@a"}


async def test_a_status_that_could_not_be_written_is_written_with_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Simulation()
    await run.settle()
    run.write_adapter(lora={"rank": 8})

    async def away(*_: object, **__: object) -> None:
        raise Unavailable("PATCH status: no answer (503)")

    with monkeypatch.context() as patch:
        patch.setattr(run.world.cluster, "apply_status", away)
        run.world.cluster.sync()
        with pytest.raises(TransientError):
            await run.world.reconcilers.reconcile(AdapterKey(NAMESPACE, "support"))
    await run.settle()
    assert run.answers() == {"v2@a"}
    assert len(run.world.trained) == 2


@pytest.mark.parametrize("kind", ["ServiceAccount", "Service", "ConfigMap", "Deployment"])
async def test_a_webhook_that_is_down_for_a_part_of_the_serving_is_told(kind: str) -> None:
    run = Simulation()
    run.world.cluster.refuses[kind] = Unavailable(f"PATCH {kind}: failed calling webhook validate.kyverno.svc (500)")
    await run.rounds(10)
    base = BaseModelStatus.model_validate(run.world.cluster.objects["BaseModel", "tiny"]["status"])
    told = {item.type: item for item in base.conditions}
    assert (told["ServingReady"].status, told["ServingReady"].reason) == ("False", "ObjectRefused")
    assert f"{kind}: failed calling webhook validate.kyverno.svc (500)" in told["ServingReady"].message
    assert (told["Stalled"].status, told["Reconciling"].status) == ("False", "True")
    run.world.cluster.refuses.clear()
    await run.settle()
    assert run.answers() == {"v1@a"}
