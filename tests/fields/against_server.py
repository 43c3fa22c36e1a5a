"""Each case against a real API server."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from tests.control_plane import ADAPTERS, BASES, ApiClient, ApiError
from tests.fields.cases import PLAIN, Case, all_fields, cases, placed
from tests.fields.schema import Field, Schema, specs
from tests.fields.values import limits

Object = dict[str, Any]
NAMESPACE: Final = "fields"
KINDS: Final = {"BaseModel": BASES, "LoraAdapter": ADAPTERS}


@dataclass(slots=True)
class Report:
    """What came of the cases."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def take(self, what: str, complaint: str = "") -> None:
        """Count a case, and keep what is wrong with it."""
        self.counts[what] += 1
        if complaint:
            self.wrong.append(complaint)


async def try_all(client: ApiClient, report: Report, chosen: re.Pattern[str]) -> None:
    """Try every case of every chosen field. The namespace must be there."""
    schemas = specs()
    for found in filter(lambda field: chosen.search(str(field)), all_fields()):
        for case in cases(found, schemas[found.kind]):
            await try_case(client, case, report)
        await try_live(client, found, schemas[found.kind], report)


async def try_case(client: ApiClient, case: Case, report: Report) -> None:
    """Ask the server what it would do with one object."""
    refusal = await refused(client, case)
    outcome = "refused" if refusal else "taken"
    expected = must_be_taken(case)
    complaint = ""
    if refusal and not names(refusal, case.field):
        complaint = f"{case} is refused without its name: {refusal}"
    elif refusal is None and expected is False:
        complaint = f"{case} is taken: {case.value!r}"
    elif refusal and expected is True and is_about_the_value_itself(refusal):
        complaint = f"{case} is refused: {refusal}"
    report.take(f"{case.sense} {outcome}", complaint)


def must_be_taken(case: Case) -> bool | None:
    """Return what the schema alone says of a case; None where a rule over several fields may say otherwise."""
    if case.sense == "nonsense":
        return False
    return not case.field.required if case.sense == "unset" else True


def is_about_the_value_itself(refusal: str) -> bool:
    """Whether a refusal comes from a bound, and not from a rule over several fields, which a limit may break."""
    return any(words in refusal for words in ("should be", "should have", "must be of type", "should match"))


async def refused(client: ApiClient, case: Case) -> str | None:
    """Return why the server would refuse the object; None: it would take it."""
    try:
        await client.create(KINDS[case.field.kind], NAMESPACE, case.manifest("tried"), dry_run=True)
    except ApiError as error:
        return error.message
    return None


def names(message: str, found: Field) -> bool:
    """Whether a message names the field, or by its whole path what the field is a part of."""
    parent = ".".join(found.path[:-1]).replace(".[]", "[0]")
    return found.name in message or f"{parent}: " in message


async def try_live(client: ApiClient, found: Field, schema: Schema, report: Report) -> None:
    """Change a field of a living object to each value that the server takes, and back."""
    values = [(label, value) for label, value in limits(found.node) if await is_taken(client, found, schema, value)]
    first = placed(found, schema, values[0][1]) if values else PLAIN[found.kind]
    live = await client.create(KINDS[found.kind], NAMESPACE, Case(found, "live", "", first).manifest("living"))
    try:
        for label, value in values[1:] or values:
            live = await change_and_revert(
                client, live, Case(found, "changed while live", label, placed(found, schema, value)), report
            )
    finally:
        await client.delete(KINDS[found.kind], NAMESPACE, "living")


async def change_and_revert(client: ApiClient, live: Object, case: Case, report: Report) -> Object:
    """Write another spec to a living object, and the one before again; return the object."""
    path, before = KINDS[case.field.kind].path(NAMESPACE, "living"), live["spec"]
    try:
        live = await client.request("PUT", path, body=live | {"spec": case.spec})
    except ApiError as error:
        named = names(error.message, case.field)
        report.take("change refused", "" if named else f"{case} is refused without its name: {error.message}")
        return live
    report.take("change taken")
    live = await client.request("PUT", path, body=live | {"spec": before})
    same = live["spec"] == before
    report.take("reverted", "" if same else f"{case}, and back: {live['spec']} instead of {before}")
    return live


async def is_taken(client: ApiClient, found: Field, schema: Schema, value: Any) -> bool:
    """Whether the server takes a value of the field."""
    return await refused(client, Case(found, "limit", "", placed(found, schema, value))) is None
