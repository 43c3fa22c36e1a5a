"""Living objects whose fields change and change back, with the operator at work."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.control_plane import ADAPTERS, BASES, ApiClient, ApiError, until
from tests.fields.against_server import KINDS, NAMESPACE, Report, is_taken
from tests.fields.cases import API_VERSION, PLAIN, Case, all_fields, placed
from tests.fields.schema import Field, specs
from tests.fields.values import limits
from tests.kstatus import kstatus
from tests.simulator import OperatorProcess, World, operator_environment

Object = dict[str, Any]
PATIENCE_SECONDS: Final = 300.0
CHANGE_SECONDS: Final = 120.0
"""So long after the change of all fields the operator may still be on its way: not every change has an end."""
Verdict = frozenset[tuple[str, str, str]]
"""Type, status and reason of each condition."""


@dataclass(slots=True)
class Living:
    """One object, of which one field changes."""

    field: Field
    name: str
    changed: Object
    before: Object = dataclasses.field(default_factory=dict)
    """The spec that it began with, defaults and all."""
    verdict: Verdict = frozenset()


async def try_living(world: World, report: Report, chosen: re.Pattern[str]) -> None:
    """Give each field an object of its own, change all of them at once, look, change all back, and look again."""
    client = world.client
    for namespace in ("graft-system", NAMESPACE):
        await client.ensure_namespace(namespace)
    living = await objects(client, chosen)
    log = Path(tempfile.gettempdir()) / "graft-fields.log"
    log.write_bytes(b"")
    async with OperatorProcess.start(operator_environment(world.plane.kubeconfig(), world.registry), log):
        await begin(client, living, report)
        print(f"{len(living)} objects have settled", flush=True)
        changed = [item for item in living if await written(client, item, item.changed)]
        await until(lambda: all_are(client, changed, lambda _, body: has_arrived(body)), CHANGE_SECONDS)
        for item, body in await present(client, changed):
            report.take("looked at while changed", unclear(item, body))
        print(f"{len(changed)} have been changed and looked at", flush=True)
        for item in changed:
            await written(client, item, item.before)
        await until(lambda: all_are(client, changed, is_as_before), PATIENCE_SECONDS)
        for item, body in await present(client, changed):
            report.take("as before after all", "" if is_as_before(item, body) else difference(item, body))
    report.wrong += [f"the simulator itself: {error}" for error in world.simulator.errors]
    report.wrong += [f"the API server refused what the operator wrote: {line[:500]}" for line in refusals(log)]


def refusals(log: Path) -> list[str]:
    """Return the first lines of the operator's log that tell of a status that is not valid."""
    return [line for line in log.read_text().splitlines() if "/status:" in line and "(422)" in line][:5]


async def objects(client: ApiClient, chosen: re.Pattern[str]) -> list[Living]:
    """Return an object for each chosen field that has a value which the server takes and the plain object has not."""
    schemas, made = specs(), []
    for number, found in enumerate(field for field in all_fields() if chosen.search(str(field))):
        schema = schemas[found.kind]
        values = [value for _, value in limits(found.node) if await is_taken(client, found, schema, value)]
        differing = [spec for value in values if (spec := placed(found, schema, value)) != PLAIN[found.kind]]
        if differing:
            made.append(Living(found, f"field-{number:03d}", differing[-1]))
    return made


async def begin(client: ApiClient, living: list[Living], report: Report) -> None:
    """Create all objects and wait until the operator has settled them."""
    places = PLAIN["BaseModel"] | {"serving": {"maxLoadedAdapters": 1024}}
    tiny = {"apiVersion": API_VERSION, "kind": "BaseModel", "metadata": {"name": "tiny"}, "spec": places}
    await client.create(BASES, NAMESPACE, tiny)
    for item in living:
        body = Case(item.field, "", "", PLAIN[item.field.kind]).manifest(item.name)
        item.before = (await client.create(KINDS[item.field.kind], NAMESPACE, body))["spec"]
    await until(lambda: all_are(client, living, lambda _, body: kstatus_of(body) == "Current"), PATIENCE_SECONDS)
    for item, body in await present(client, living):
        item.verdict = verdict(body)
        if kstatus_of(body) != "Current":
            report.wrong.append(f"{item.field}: {item.name} does not settle as it is: {sorted(item.verdict)}")


async def written(client: ApiClient, item: Living, spec: Object) -> bool:
    """Write another spec; tell whether the server took it: a field that must not change has been tried already."""
    kind = KINDS[item.field.kind]
    live = await client.get(kind, NAMESPACE, item.name)
    if live is None:
        return False
    body = {name: live[name] for name in ("apiVersion", "kind")} | {"spec": spec}
    body["metadata"] = {name: live["metadata"][name] for name in ("name", "namespace", "uid", "resourceVersion")}
    body["metadata"]["finalizers"] = live["metadata"].get("finalizers", [])
    try:
        await client.request("PUT", kind.path(NAMESPACE, item.name), body=body)
    except ApiError as error:
        # The operator has written its status meanwhile: once more.
        return await written(client, item, spec) if error.status == 409 else False
    return True


async def present(client: ApiClient, living: list[Living]) -> list[tuple[Living, Object]]:
    """Return the objects as they are now."""
    found: dict[tuple[str, str], Object] = {}
    for kind, collection in (("LoraAdapter", ADAPTERS), ("BaseModel", BASES)):
        for body in (await client.list(collection, NAMESPACE))[0]:
            found[kind, body["metadata"]["name"]] = body
    return [(item, found[item.field.kind, item.name]) for item in living if (item.field.kind, item.name) in found]


async def all_are(client: ApiClient, living: list[Living], true_of: Callable[[Living, Object], bool]) -> bool:
    """Whether something is true of all objects as they are now."""
    return all(true_of(item, body) for item, body in await present(client, living))


def has_arrived(body: Object) -> bool:
    """Whether the operator has seen the present spec and is not on its way any more."""
    return kstatus_of(body) in ("Current", "Failed")


def kstatus_of(body: Object) -> str:
    """Return what GitOps tools make of an object; one without conditions has not been seen yet."""
    return kstatus(body) if body.get("status", {}).get("conditions") else "InProgress"


def verdict(body: Object) -> Verdict:
    """Return what the conditions say, but for their words and times."""
    conditions = body.get("status", {}).get("conditions", ())
    return frozenset((item["type"], item["status"], item["reason"]) for item in conditions)


def unclear(item: Living, body: Object) -> str:
    """Return what is unclear about a changed object: it must be seen, and if it is not Ready, say in words why."""
    status = body.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    ready = conditions.get("Ready")
    if status.get("observedGeneration") != body["metadata"]["generation"]:
        return f"{item.field}: the changed spec has not been seen: {short(item.changed)}"
    if ready is None:
        return f"{item.field}: there is no condition Ready"
    if ready["status"] != "True" and not any(explanations(conditions)):
        return f"{item.field}: not Ready ({ready['reason']}), and no condition says why: {short(item.changed)}"
    return ""


def explanations(conditions: dict[str, Object]) -> Iterator[str]:
    """Yield the words of every condition that says that something is not well, or under way."""
    bad_if_true = ("Stalled", "Reconciling")
    for kind, each in conditions.items():
        if (each["status"] == "True") == (kind in bad_if_true):
            yield each.get("message", "")


def is_as_before(item: Living, body: Object) -> bool:
    """Whether an object has the spec that it began with, and the operator says the same of it."""
    seen = body.get("status", {}).get("observedGeneration") == body["metadata"]["generation"]
    return seen and body["spec"] == item.before and verdict(body) == item.verdict


def difference(item: Living, body: Object) -> str:
    """Return what differs from before."""
    now, then = sorted(verdict(body) - item.verdict), sorted(item.verdict - verdict(body))
    if body.get("status", {}).get("observedGeneration") != body["metadata"]["generation"]:
        return f"{item.field}: the spec that it began with has not been seen again"
    return f"{item.field}: after {short(item.changed)} and back: {now} instead of {then}"


def short(spec: Object) -> str:
    """Return a spec without the length of its longest texts."""
    return re.sub(r"(.)\1{9,}", r"\1…", str(spec))
