"""What an adapter's life looks like to somebody who reads its events."""

from __future__ import annotations

from tests.unit.reconcilers.simulation import Simulation

from graft_operator.manifests import labels


async def let_live(run: Simulation) -> None:
    """Let time pass until nothing happens any more, with a pod for each training."""
    for _ in range(30):
        for job in run.world.cluster.of_kind("Job"):
            name, marks = job["metadata"]["name"], job["metadata"]["labels"]
            if marks[labels.COMPONENT] == "training" and not job.get("status"):
                metadata = {"labels": marks | {"job-name": name}, "ownerReferences": job["metadata"]["ownerReferences"]}
                run.world.cluster.put("Pod", f"{name}-0", metadata=metadata, status={"phase": "Running"})
        await run.round()


async def test_the_life_of_three_versions_is_told_by_a_dozen_events_in_order() -> None:
    run = Simulation()
    await let_live(run)
    for rank in (8, 4):
        run.write_adapter(lora={"rank": rank})
        await let_live(run)
    told = [reason for name, reason, _ in run.world.cluster.events if name == "support"]
    first, later = (
        ["Training", "Published", "VersionServed"],
        ["Training", "Published", "RolloutStarted", "VersionServed"],
    )
    assert told == ["Accepted", *first, *later, *later]
