"""Nothing is decided while a part of what it depends on can't be told; and nothing waits for what is not needed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.reconcilers.faults.test_lost_registries import in_a_new_cluster, lived
from tests.unit.reconcilers.faults.test_outages import with_a_canary_that_fails
from tests.unit.reconcilers.moments import CANARY, parts, told
from tests.unit.reconcilers.simulation import NAMESPACE, Simulation

from graft_operator.cluster.errors import NotFound, Unavailable
from graft_operator.cluster.resources import JOBS
from graft_operator.controller_runtime.controller import Result
from graft_operator.controller_runtime.keys import AdapterKey, BaseKey
from graft_registry.layout import AdapterLayout


async def test_a_version_is_not_judged_while_the_one_before_can_not_be_read() -> None:
    run = Simulation()
    await run.settle()
    run.world.losses[2] = 1.5
    run.write_adapter(lora={"rank": 8})
    await run.reconcile("tiny")
    await run.reconcile("support")
    for _ in range(12):
        run.world.tick()
    run.world.restart_operator()
    before, tries = AdapterLayout(NAMESPACE, "support").manifest(1), 0

    def hangs_once(key: str) -> bool:
        nonlocal tries
        tries += key == before
        return key == before and tries == 1

    run.world.registry.store.switches.hangs = hangs_once
    await run.rounds(20)
    assert tries > 1
    assert run.answers() == {"v1@a"}
    assert [version.state for version in run.status().versions if version.number == 2] == ["Rejected"]


async def test_a_cluster_that_is_built_anew_waits_for_the_verdicts() -> None:
    first = await lived(serving=CANARY)
    first.world.fails.add(("support", 2))
    first.write_adapter(lora={"rank": 8})
    await first.settle()
    assert first.answers() == {"v1@a"}
    second = in_a_new_cluster(first)
    second.write_adapter(serving=CANARY, lora={"rank": 8})
    switches = second.world.registry.store.switches
    switches.hangs = lambda key: "verdict" in key
    await second.rounds(6)
    assert second.status().versions == ()
    switches.hangs = lambda key: False
    second.world.now += timedelta(hours=1)
    await second.settle()
    assert second.answers() == {"v1@a"}


async def test_an_object_that_goes_while_it_is_looked_at_ends_nothing_but_its_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Simulation()
    run.world.cluster.sync()

    async def gone(*args: object, **options: object) -> None:
        raise NotFound("there is no such object (404)")

    for write in ("apply_status", "patch_json", "apply", "create"):
        monkeypatch.setattr(run.world.cluster, write, gone)
    for key in (BaseKey(NAMESPACE, "tiny"), AdapterKey(NAMESPACE, "support")):
        assert isinstance(await run.world.reconcilers.reconcile(key), Result)


async def test_no_finalizer_waits_for_a_namespace_to_be_opened_again() -> None:
    run = Simulation()
    await run.settle()
    run.delete_adapter()
    await run.settle()
    run.delete_base()
    run.world.cluster.sync()
    for scope in (NAMESPACE, None):
        run.world.cache.fail(JOBS, scope, "GET jobs: forbidden (403)", is_closed=True)
    await run.world.reconcilers.reconcile(BaseKey(NAMESPACE, "tiny"))
    assert ("BaseModel", "tiny") not in run.world.cluster.objects


async def test_what_pods_are_told_waits_for_no_webhook_of_another_kind() -> None:
    run = await with_a_canary_that_fails()
    assert parts(run) == {((1, 90), (2, 10))}
    run.world.restart_operator()
    run.world.cluster.refuses["Service"] = Unavailable("the webhook for services is down (500)")
    await run.rounds(30)
    assert parts(run) == {((1, 100),)}


async def test_a_job_that_nobody_can_see_is_told_of() -> None:
    run = Simulation()
    await run.settle()
    run.write_adapter(lora={"rank": 8})
    await run.reconcile("tiny")
    await run.reconcile("support")
    (name,) = (name for kind, name in run.world.cluster.objects if kind == "Job" and "train" in name)
    job = run.world.cluster.objects["Job", name]
    del job["metadata"]["labels"]["app.kubernetes.io/managed-by"]
    run.world.cache.remove(JOBS, NAMESPACE, name)
    await run.world.reconcilers.reconcile(AdapterKey(NAMESPACE, "support"))
    assert told(run, "Stalled") == ("True", "ObjectRefused")
