"""Whole lives of adapters, step by step: see `simulation.py` for what is checked at every step."""

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


async def test_a_third_version_that_arrives_while_the_second_rolls_out_takes_its_place() -> None:
    for rounds in range(4, 10):
        run = Simulation(replicas=2)
        await run.settle()
        run.write_adapter(lora={"rank": 8})
        await run.rounds(rounds)
        run.write_adapter(lora={"rank": 4})
        await run.settle()
        assert run.status().serving.target is not None
        assert run.health() == "Current"
        assert run.status().served_version == max(number for _, number in run.world.registry.versions)


async def test_a_revert_while_the_second_version_rolls_out_keeps_the_first() -> None:
    for rounds in range(1, 10):
        run = Simulation(replicas=2)
        await run.settle()
        run.write_adapter(lora={"rank": 8})
        await run.rounds(rounds)
        run.write_adapter(lora=None)
        await run.settle()
        assert run.answers() == {"v1@a"}
        assert run.health() == "Current"


async def test_a_version_that_pods_refuse_is_given_up_and_stays_given_up() -> None:
    run = Simulation(replicas=2)
    await run.settle()
    run.world.refuses.add(("support", 2))
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert run.health() == "Failed"
    assert run.reason("Stalled") == "VersionRefused"
    assert run.reason("UpToDate") == "VersionRefused"


async def test_a_first_version_that_pods_refuse_is_told_and_leaves_its_siblings_alone() -> None:
    run = Simulation("support", "sales")
    run.world.refuses.add(("support", 1))
    await run.settle()
    assert run.health() == "Failed"
    assert run.answers("sales") == {"v1@a"}


async def test_a_version_that_the_gate_rejects_is_stored_and_not_served() -> None:
    run = Simulation()
    run.world.losses[2] = 1.5
    await run.settle()
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert run.reason("Stalled") == "WorseThanLive"
    assert ("support", 2) in run.world.registry.versions


async def test_a_revert_to_a_version_with_a_worse_loss_is_a_persons_word() -> None:
    run = Simulation()
    run.world.losses = {1: 1.5, 2: 1.0}
    await run.settle()
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    run.write_adapter(lora=None)
    await run.settle()
    assert run.answers() == {"v1@a"}


async def test_a_pin_serves_the_named_version_and_stops_training() -> None:
    run = Simulation()
    await run.settle()
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    run.write_adapter(lora={"rank": 4})
    await run.round()
    run.write_adapter(version=1)
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert len(run.world.trained) == 2
    assert run.health() == "Current"


async def test_a_pin_says_which_version_the_spec_asks_for_until_that_is_the_pinned_one() -> None:
    run = Simulation()
    await run.settle()
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    run.write_adapter(version=1)
    await run.settle()
    assert run.told("UpToDate") == "version 1 is pinned; the spec asks for another one (version 2)"
    assert (run.reason("UpToDate"), run.reason("Ready"), run.health()) == ("Pinned", "Serving", "Current")
    assert run.reason("AdaptersUpToDate", "tiny", "BaseModel") == "AdaptersBehind"
    run.write_adapter(lora=None)
    await run.settle()
    assert (run.reason("UpToDate"), run.told("UpToDate")) == ("UpToDate", "version 1")


async def test_a_pin_to_the_spec_s_own_version_is_not_up_to_date_once_the_base_has_changed() -> None:
    run = Simulation()
    await run.settle()
    run.write_adapter(version=1)
    await run.settle()
    assert run.reason("UpToDate") == "UpToDate"
    run.write_base("b")
    await run.settle()
    assert (run.reason("UpToDate"), run.answers(), run.health()) == ("Pinned", {"v1@a"}, "Current")
    run.write_base("a")
    await run.settle()
    assert run.reason("UpToDate") == "UpToDate"
    assert len(run.world.trained) == 1


async def test_a_version_that_is_let_through_though_it_is_much_worse_is_told() -> None:
    run = Simulation()
    run.world.losses = {1: 1.0, 2: 1.9}
    run.write_adapter(evaluation={"maxRegression": "1"})
    await run.settle()
    assert run.reason("Accepted") == "Accepted"
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    assert (run.answers(), run.reason("Accepted")) == ({"v2@a"}, "AcceptedWithAdvice")
    assert "version 2 is 90% worse than version 1 on the same rows and was let through by 1" in run.told("Accepted")
    run.write_adapter(version=1)
    await run.settle()
    assert run.reason("Accepted") == "Accepted"
    compared = {entry.number: entry.compared_with for entry in run.status().versions}
    assert compared[1] is None
    assert compared[2] is not None
    assert (compared[2].number, compared[2].loss_change) == (1, "0.9000")


async def test_a_training_that_fails_for_good_stalls_until_the_spec_is_mended() -> None:
    run = Simulation()
    run.world.training_fails = "BadDataset"
    await run.settle()
    assert run.health() == "Failed"
    assert run.reason("Trained") == "BadDataset"
    run.world.training_fails = None
    run.write_adapter(dataset={"s3": {"uri": "s3://data/better.jsonl"}})
    await run.settle()
    assert run.answers() == {"v1@a"}


async def test_a_training_that_fails_for_now_is_tried_again() -> None:
    run = Simulation()
    run.world.training_fails = "RegistryUnavailable"
    await run.rounds(10)
    assert run.health() == "InProgress"
    run.world.training_fails = None
    await run.settle()
    assert run.answers() == {"v1@a"}


async def test_a_job_that_is_reaped_after_its_success_is_not_missed() -> None:
    run = Simulation()
    await run.settle()
    for name in run.jobs():
        run.world.cluster.remove(("Job", name))
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert len(run.world.trained) == 1


async def test_a_lost_cluster_is_served_from_the_registry_without_training() -> None:
    first = Simulation()
    await first.settle()
    second = Simulation()
    second.world.registry = first.world.registry
    second.world.restart_operator()
    await second.settle()
    assert second.answers() == {"v1@a"}
    assert second.world.trained == []


async def test_a_version_that_has_vanished_from_the_registry_is_trained_again() -> None:
    run = Simulation()
    await run.settle()
    run.world.registry.lose_versions()
    run.world.trained.clear()
    await run.settle()
    assert len(run.world.trained) == 1


async def test_a_version_that_is_only_published_is_missed_just_the_same() -> None:
    run = Simulation()
    run.write_adapter(serving={"mode": "None"})
    await run.settle()
    run.world.registry.lose_versions()
    run.world.trained.clear()
    await run.settle()
    assert len(run.world.trained) == 1
    assert run.reason("Trained") == "Trained"


async def test_deletion_during_training_leaves_nothing_in_the_registry() -> None:
    for rounds in range(1, 9):
        run = Simulation()
        await run.settle()
        run.write_adapter(deletionPolicy="Delete", lora={"rank": 8})
        await run.rounds(rounds)
        run.delete_adapter()
        await run.settle()
        assert run.adapters() == []
        assert run.jobs() == [] or all("import" in name for name in run.jobs())
        assert run.world.registry.versions == {}


async def test_deletion_does_not_wait_for_a_registry_that_is_gone() -> None:
    run = Simulation()
    run.write_adapter(deletionPolicy="Delete")
    await run.settle()
    run.world.registry.is_away = True
    run.delete_adapter()
    await run.rounds(40)
    assert run.adapters() == []


async def test_an_adapter_of_mode_none_is_ready_when_it_is_published() -> None:
    run = Simulation()
    run.write_adapter(serving={"mode": "None"})
    await run.settle()
    assert run.health() == "Current"
    assert run.answers() == {"nobody"}


async def test_ready_holds_through_a_rollout() -> None:
    run = Simulation(replicas=3)
    await run.settle()
    run.write_adapter(lora={"rank": 8})
    seen = set()
    for _ in range(20):
        await run.round()
        seen |= {condition.status for condition in run.status().conditions if condition.type == "Ready"}
    assert seen == {"True"}


async def test_a_bucket_that_ignores_conditional_writes_is_told_of_once() -> None:
    run = Simulation()
    run.world.registry.is_safe = False
    await run.settle()
    told = [name for name, reason, _ in run.world.cluster.events if reason == "ConditionalWritesIgnored"]
    assert told == ["tiny"]
    assert run.answers() == {"v1@a"}
