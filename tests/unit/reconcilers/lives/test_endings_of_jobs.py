"""Jobs that are on their way out, that were left behind, or that nobody wants any more."""

from __future__ import annotations

from tests.unit.reconcilers.moments import told, training_jobs, until_training
from tests.unit.reconcilers.simulation import Simulation


def events_of(run: Simulation, reason: str) -> list[str]:
    """Return what the events of that reason say."""
    return [text for _, told, text in run.world.cluster.events if told == reason]


async def test_a_training_that_is_suspended_and_resumed_waits_for_the_end_of_its_job_and_says_so() -> None:
    run = Simulation()
    job = await until_training(run)
    await run.rounds(1)
    run.world.cluster.events.clear()
    run.world.cluster.ends_slowly = True
    run.write_adapter(suspend=True)
    await run.reconcile("support")
    run.write_adapter(suspend=False)
    for _ in range(40):
        await run.reconcile("support")
        assert told(run, "Trained") == ("False", "JobEnding")
    assert len(run.world.cluster.events) <= 4, run.world.cluster.events
    run.world.cluster.ends_slowly = False
    run.world.cluster.remove(("Job", job))
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert len(run.world.trained) == 1
    assert len(run.world.cluster.events) <= 8, run.world.cluster.events


async def test_a_spec_that_goes_and_comes_back_has_no_second_trainer() -> None:
    run = Simulation()
    first = await until_training(run)
    run.world.cluster.ends_slowly = True
    run.write_adapter(lora={"rank": 8})
    await run.rounds(2)
    run.write_adapter(lora=None)
    await run.rounds(2)
    assert training_jobs(run).count(first) == 1
    run.world.cluster.ends_slowly = False
    for job in training_jobs(run):
        if "deletionTimestamp" in run.world.cluster.objects["Job", job]["metadata"]:
            run.world.cluster.remove(("Job", job))
    await run.settle()
    assert run.answers() == {"v1@a"}


async def test_a_job_that_was_left_behind_is_told_with_what_to_do() -> None:
    run = Simulation()
    name = await until_training(run)
    orphan = run.world.cluster.objects.pop(("Job", name))
    run.delete_adapter()
    orphan["metadata"]["ownerReferences"] = []
    orphan["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
    run.world.cluster.objects["Job", name] = orphan
    run.write_adapter()
    await run.settle()
    assert told(run, "Stalled") == ("True", "JobNameTaken")
    assert len(events_of(run, "JobNameTaken")) == 1
    run.world.cluster.remove(("Job", name))
    await run.settle()
    assert run.answers() == {"v1@a"}


async def test_suspend_ends_a_training_whose_rows_are_gone() -> None:
    run = Simulation()
    run.world.cluster.put("ConfigMap", "rows", data={"train.jsonl": "{}"})
    run.write_adapter(dataset={"configMap": {"name": "rows", "key": "train.jsonl"}})
    await until_training(run)
    run.world.cluster.remove(("ConfigMap", "rows"))
    run.write_adapter(suspend=True)
    await run.reconcile("support")
    assert training_jobs(run) == []
    assert told(run, "Accepted") == ("False", "DatasetNotFound")


async def test_suspend_ends_a_training_whose_base_is_being_resolved() -> None:
    run = Simulation()
    await until_training(run)
    run.world.cluster.objects["BaseModel", "tiny"]["status"].pop("resolved")
    run.write_adapter(suspend=True)
    await run.reconcile("support")
    assert training_jobs(run) == []


async def test_a_training_that_fills_its_disk_again_and_again_ends_and_says_so() -> None:
    run = Simulation()
    name = await until_training(run)
    cluster = run.world.cluster
    full = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi."
    for number in range(cluster.objects["Job", name]["spec"]["backoffLimit"]):
        assert training_jobs(run) == [name], "it may try as often as with any failure"
        cluster.put(
            "Pod",
            f"{name}-{number}",
            metadata={
                "labels": {**cluster.objects["Job", name]["metadata"]["labels"], "job-name": name},
                "ownerReferences": [{"uid": cluster.objects["Job", name]["metadata"]["uid"], "name": name}],
            },
            status={"phase": "Failed", "reason": "Evicted", "message": full},
        )
        await run.reconcile("support")
        await run.reconcile("support")
    assert (training_jobs(run), told(run, "Stalled")) == ([], ("True", "Evicted"))
    run.world.restart_operator()
    await run.settle()
    assert (training_jobs(run), told(run, "Stalled")) == ([], ("True", "Evicted"))
    assert any(full in text for text in events_of(run, "Evicted"))
