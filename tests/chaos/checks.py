"""What must be true at the end of a life, whatever has befallen the operator."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.chaos.script import BASE, UNSERVED, WORSENED, Script
from tests.control_plane import ADAPTERS, BASES, JOBS
from tests.kstatus import kstatus
from tests.simulator import World
from tests.simulator.publishing import BAD_SEED

from graft_registry.documents import StoredVersion

Object = dict[str, Any]
Versions = dict[int, StoredVersion]


async def complaints(world: World, namespace: str, script: Script) -> list[str]:
    """Return everything that is not as it must be; empty where all is well."""
    live = {item["metadata"]["name"]: item for item in (await world.client.list(ADAPTERS, namespace))[0]}
    base = await world.client.get(BASES, namespace, BASE)
    jobs, _ = await world.client.list(JOBS, namespace)
    names = {name for ns, name, _ in world.simulator.publisher.versions if ns == namespace}
    stored = {name: await asyncio.to_thread(world.simulator.publisher.stored, namespace, name) for name in names}
    found = [f"the simulator itself: {error}" for error in world.simulator.errors]
    found += trained_twice(world, namespace)
    found += versions_changed(world, namespace, stored)
    found += [f"{name} is still there" for name in sorted(live.keys() - script.adapters.keys())]
    found += [f"{name} is gone" for name in sorted(script.adapters.keys() - live.keys())]
    found += base_complaints(base, len(script.adapters))
    # What has never answered need not go on answering.
    exempt = set() if script.good_answered else {WORSENED}
    for name in sorted((script.adapters.keys() & live.keys()) - exempt):
        spec, body = script.adapters[name], live[name]
        answers = answering(world, namespace, name)
        told = [*adapter_complaints(name, spec, body, answers, stored.get(name, {}), script.base["source"])]
        found += [f"{name}: {text}" for text in told]
        found += [f"{name}: {situation(spec, body, stored.get(name, {}))}"] if told else []
    found += wanted_complaints(world, namespace, script)
    found += [
        f"Job {job['metadata']['name']} has no end" for job in jobs if not job.get("status", {}).get("conditions")
    ]
    return found


def situation(spec: Object, body: Object, versions: Versions) -> str:
    """Return in one line how an adapter stands, for whoever looks for the cause."""
    status = body.get("status", {})
    conditions = {item["type"]: f"{item['status']} {item['reason']}" for item in status.get("conditions", ())}
    manifests = {number: version.manifest for number, version in versions.items()}
    known = {number: (item.seed, item.shape.rank, item.base.revision[7:11]) for number, item in manifests.items()}
    wanted = (spec["training"]["seed"], spec["lora"]["rank"], f"pin {spec.get('version')}")
    return f"wanted {wanted}, there {known}, serving {status.get('serving')}, {conditions}"


def trained_twice(world: World, namespace: str) -> Iterator[str]:
    """Each recipe is trained once."""
    counts = Counter(item for item in world.simulator.publisher.trained if item[0] == namespace)
    for (_, adapter, recipe), count in counts.items():
        if count > 1:
            yield f"{adapter}: recipe {recipe[:15]} was trained {count} times"


def versions_changed(world: World, namespace: str, stored: dict[str, Versions]) -> Iterator[str]:
    """A version that was published is there, and is what it was."""
    for (owner, adapter, number), digest in world.simulator.publisher.versions.items():
        if owner != namespace:
            continue
        version = stored.get(adapter, {}).get(number)
        if version is None:
            yield f"{adapter}: version {number} is lost"
        elif version.digest != digest:
            yield f"{adapter}: version {number} has changed"


def answering(world: World, namespace: str, adapter: str) -> set[int] | None:
    """Return the versions that answer for an adapter, over all pods that have any; None where pods differ."""
    pods = [
        agent
        for (owner, _), revision in world.simulator.serving.revisions.items()
        if owner == namespace
        for pod in revision.pods.values()
        if (agent := pod.agent) is not None and pod.ready
    ]
    answers = [{share["number"] for share in agent.active(adapter)} for agent in pods if hasattr(agent, "active")]
    answers = [numbers for numbers in answers if numbers]
    if not answers:
        return set()
    return answers[0] if all(numbers == answers[0] for numbers in answers) else None


def adapter_complaints(
    name: str, spec: Object, body: Object, answers: set[int] | None, versions: Versions, source: Object
) -> Iterator[str]:
    """What answers is what the spec asks for, and the status says so."""
    status = body.get("status", {})
    if status.get("observedGeneration") != body["metadata"]["generation"]:
        yield f"status is of generation {status.get('observedGeneration')}, not {body['metadata']['generation']}"
    pinned = spec.get("version")
    if pinned is not None and pinned not in versions:
        return
    if name == UNSERVED:
        if answers:
            yield f"{answers} answer, though it is not to be served"
        if not any(is_of(version, spec, source) for version in versions.values()):
            yield "it has no version of its spec"
        return
    if answers is None or len(answers) != 1:
        yield f"{'different versions' if answers is None else answers or 'nobody'} answer"
        return
    (number,) = answers
    if status.get("servedVersion") != number:
        yield f"status says that version {status.get('servedVersion')} is served, and {number} answers"
    yield from right_version(name, spec, versions.get(number), source)
    if name != WORSENED and (health := kstatus(body)) != "Current":
        yield f"kstatus is {health}"


def right_version(name: str, spec: Object, version: StoredVersion | None, source: Object) -> Iterator[str]:
    """The version that answers is the pinned one, or of the present spec and base; never one that failed its gate."""
    if version is None:
        yield "what answers is not in the registry"
    elif version.manifest.seed == BAD_SEED:
        yield "a version answers that is worse than the base"
    elif (pinned := spec.get("version")) is not None:
        if version.manifest.number != pinned:
            yield f"version {version.manifest.number} answers, though {pinned} is pinned"
    elif name != WORSENED and not is_of(version, spec, source):
        yield f"version {version.manifest.number} answers, which is not of the present spec and base"


def is_of(version: StoredVersion, spec: Object, source: Object) -> bool:
    """Whether a version is what training a spec on a base's source gives."""
    manifest = version.manifest
    return (
        manifest.seed == spec["training"]["seed"]
        and manifest.shape.rank == spec["lora"]["rank"]
        and manifest.base.source.to_dict() == source
    )


def base_complaints(base: Object | None, adapters: int) -> Iterator[str]:
    """The base says that it serves and how many adapters it has."""
    if base is None:
        yield "the base is gone"
        return
    status = base.get("status", {})
    if status.get("observedGeneration") != base["metadata"]["generation"]:
        yield "the base's status is of an older generation"
    conditions = {item["type"]: item["status"] for item in status.get("conditions", ())}
    if conditions.get("Ready") != "True":
        yield f"the base is not Ready: {conditions}"
    if status.get("adapters", {}).get("total") != adapters:
        yield f"the base counts {status.get('adapters', {}).get('total')} adapters of {adapters}"


def wanted_complaints(world: World, namespace: str, script: Script) -> Iterator[str]:
    """No wanted set names an adapter that has been deleted."""
    for (owner, name), text in world.simulator.serving.wanted.items():
        if owner == namespace:
            named = {entry["name"] for entry in json.loads(text)["adapters"]}
            for adapter in sorted(named - script.adapters.keys()):
                yield f"wanted set {name} still names {adapter}"
