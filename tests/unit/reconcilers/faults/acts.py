"""What may happen in a life: what people, other controllers, the platform, the registry and the operator's end do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from tests.unit.reconcilers.simulation import Simulation

from graft_operator.cluster.errors import Forbidden, Unavailable

Act = Callable[[Simulation, Random, str], None]
"""Does something in a life, to the adapter of the name where it is about one."""

LETTERS = "abc"
CANARY: dict[str, Any] = {"strategy": "Canary", "limits": {"waitSeconds": 0}}
REFUSED = ("Job", "Deployment", "ConfigMap", "Service")


def serving(run: Simulation, name: str, **fields: Any) -> None:
    """Change parts of ``spec.serving``; None removes one. Only what is served side by side may be on demand."""
    wanted = dict(run.world.cluster.objects["LoraAdapter", name]["spec"].get("serving", {})) | fields
    if wanted.get("mode", "MultiAdapter") != "MultiAdapter":
        wanted.pop("residency", None)
    run.write_adapter(name, serving={field: value for field, value in wanted.items() if value is not None})


def mode(run: Simulation, name: str) -> str:
    """Return ``spec.serving.mode``."""
    found: str = run.world.cluster.objects["LoraAdapter", name]["spec"].get("serving", {}).get("mode", "MultiAdapter")
    return found


def numbers(run: Simulation, name: str) -> list[int]:
    """Return the numbers of the adapter's versions; 1 where there is none."""
    return sorted(number for adapter, number in run.world.registry.versions if adapter == name) or [1]


def source(run: Simulation, rng: Random, name: str) -> None:
    """Import the adapter from somewhere, beside its rows; on every base, since all lives end on the present one."""
    place = {"s3": {"uri": f"s3://models/{rng.choice('xy')}/"}, "onBaseChange": "Import"}
    run.write_adapter(name, source=place | rng.choice([{}, {"interval": "1h"}]))


def upload(run: Simulation, rng: Random, name: str) -> None:
    run.world.contents[f"s3://models/{rng.choice('xy')}/"] = rng.choice("123")


def reside(run: Simulation, rng: Random, name: str) -> None:
    if mode(run, name) == "MultiAdapter":
        serving(run, name, residency=rng.choice(["Always", "OnDemand"]))


def kill_pod(run: Simulation, rng: Random, name: str) -> None:
    """Lose a pod, but not the last one that answers: nobody could help that."""
    by_deployment = Counter(pod.rpartition("-")[0] for pod, state in run.world.pods.items() if state.ready)
    if has_own_replicas(run):
        return
    if spare := [pod for pod in sorted(run.world.pods) if by_deployment[pod.rpartition("-")[0]] > 1]:
        run.world.kill_pod(rng.choice(spare))


def has_own_replicas(run: Simulation) -> bool:
    """Whether an adapter is on fewer pods than there are, so that one pod may be the only one that holds it."""
    bodies = run.world.cluster.of_kind("LoraAdapter")
    return any(body["spec"].get("serving", {}).get("replicas") for body in bodies)


def scale(run: Simulation, rng: Random, name: str) -> None:
    """Change the number of pods. One that goes has gone at once here, and answers no others while it drains.

    So there are not fewer of them while one may be the only one that holds an adapter.
    """
    replicas, before = rng.choice([1, 2, 3]), run.world.cluster.objects["BaseModel", "tiny"]["spec"]["serving"]
    if replicas >= before["replicas"] or not has_own_replicas(run):
        run.write_base(serving={"replicas": replicas})


def delete_job(run: Simulation, rng: Random, name: str) -> None:
    if jobs := run.jobs():
        run.world.cluster.remove(("Job", rng.choice(jobs)))


def reap_jobs(run: Simulation, rng: Random, name: str) -> None:
    for job in run.world.cluster.of_kind("Job"):
        if job.get("status"):
            run.world.cluster.remove(("Job", job["metadata"]["name"]))


def refuse(run: Simulation, rng: Random, name: str) -> None:
    run.world.cluster.refuses[rng.choice(REFUSED)] = rng.choice([Unavailable("500"), Forbidden("quota")])


def die_soon(run: Simulation, rng: Random, name: str) -> None:
    run.world.cluster.dies_after_write = run.world.cluster.writes + rng.randint(1, 6)


def recreate(run: Simulation, rng: Random, name: str) -> None:
    spec = run.world.cluster.objects["LoraAdapter", name]["spec"]
    run.delete_adapter(name)
    run.world.cluster.put("LoraAdapter", name, spec=spec)


def edit_by_hand(run: Simulation, rng: Random, name: str) -> None:
    if found := run.world.cluster.of_kind("Deployment"):
        body = rng.choice(found)
        run.world.cluster.put(
            "Deployment", body["metadata"]["name"], spec=body["spec"] | {"minReadySeconds": rng.randint(1, 9)}
        )


def delete_by_hand(run: Simulation, rng: Random, name: str) -> None:
    """Delete a child, but no Service: until it is there again nobody could answer."""
    kind = rng.choice(["ConfigMap", "Role", "PodDisruptionBudget", "ServiceAccount"])
    if found := run.world.cluster.of_kind(kind):
        run.world.cluster.objects.pop((kind, rng.choice(found)["metadata"]["name"]))


def is_away(away: bool) -> Act:
    def act(run: Simulation, rng: Random, name: str) -> None:
        run.world.registry.is_away = away

    return act


ACTS: dict[str, Act] = {
    "rank": lambda run, rng, name: run.write_adapter(name, lora={"rank": rng.choice([4, 8, 16])}),
    "another rank": lambda run, rng, name: run.write_adapter(name, lora={"rank": rng.choice([2, 32])}),
    "data": lambda run, rng, name: run.write_adapter(
        name, dataset={"s3": {"uri": f"s3://data/{rng.choice('xyz')}.jsonl"}}
    ),
    "prepared first": lambda run, rng, name: run.write_adapter(
        name, preparation={"mode": rng.choice(["Always", "Never"])}
    ),
    "source": source,
    "no source": lambda run, rng, name: run.write_adapter(name, source=None),
    "upload": upload,
    "base": lambda run, rng, name: run.write_base(rng.choice(LETTERS)),
    "another base": lambda run, rng, name: run.write_base(rng.choice(LETTERS)),
    "mode": lambda run, rng, name: serving(run, name, mode=rng.choice(["MultiAdapter", "Merged", "None"])),
    "canary": lambda run, rng, name: serving(run, name, rollout=CANARY),
    "immediate": lambda run, rng, name: serving(run, name, rollout={}),
    "pin": lambda run, rng, name: run.write_adapter(name, version=rng.choice(numbers(run, name))),
    "unpin": lambda run, rng, name: run.write_adapter(name, version=None),
    "suspend": lambda run, rng, name: run.write_adapter(name, suspend=rng.choice([True, False])),
    "replicas": scale,
    "own replicas": lambda run, rng, name: serving(run, name, replicas=rng.choice([None, 1, 2])),
    "residency": reside,
    "kill pod": kill_pod,
    "delete job": delete_job,
    "reap jobs": reap_jobs,
    "restart": lambda run, rng, name: run.world.restart_operator(),
    "registry away": is_away(True),
    "registry back": is_away(False),
    "registry back again": is_away(False),
    "refuse": refuse,
    "take": lambda run, rng, name: run.world.cluster.refuses.clear(),
    "take again": lambda run, rng, name: run.world.cluster.refuses.clear(),
    "die soon": die_soon,
    "recreate": recreate,
    "edit by hand": edit_by_hand,
    "delete by hand": delete_by_hand,
    "bases are near": lambda run, rng, name: run.world.registry.verdicts.update(dict.fromkeys(LETTERS.upper(), "Near")),
    "abort": lambda run, rng, name: serving(run, name, rollout=CANARY | {"abort": numbers(run, name)[-1]}),
    "promote": lambda run, rng, name: serving(run, name, rollout=CANARY | {"promote": numbers(run, name)[-1]}),
    "at most one at a time": lambda run, rng, name: run.write_base(readaptation={"maxParallel": 1}),
    "wait": lambda run, rng, name: None,
}
