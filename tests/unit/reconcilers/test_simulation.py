"""Whole lives of adapters and bases, step by step: see `simulation.py` for what is checked at every step."""

from __future__ import annotations

from tests.unit.reconcilers.simulation import Simulation


async def test_a_new_adapter_is_trained_once_and_served() -> None:
    run = Simulation()
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert run.status().served_version == 1
    assert run.health() == "Current"
    assert run.health("BaseModel", "tiny") == "Current"
    assert len(run.world.trained) == 1


async def test_a_changed_spec_rolls_a_new_version_out_without_a_gap() -> None:
    run = Simulation(replicas=2)
    await run.settle()
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    assert run.answers() == {"v2@a"}
    assert run.status().served_version == 2
    assert run.status().serving.previous is None


async def test_a_revert_is_served_again_without_training() -> None:
    run = Simulation()
    await run.settle()
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    run.write_adapter(lora=None)
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert len(run.world.trained) == 2


async def test_a_base_bump_moves_every_adapter_and_retires_the_old_base() -> None:
    run = Simulation("support", "sales", "legal", replicas=2)
    await run.settle()
    run.write_base("b")
    await run.settle()
    for name in run.adapters():
        assert run.answers(name) == {"v2@b"}
        assert run.health(name=name) == "Current"
    assert run.revisions() == {"B"}
