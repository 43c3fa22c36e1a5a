"""What the plan of a base comes to, in the terms of its tests: kinds and names of objects, letters of bases."""

from __future__ import annotations

from typing import Any

from tests.builders import (
    NOW,
    PLATFORM,
    adapter_of_base,
    base_id,
    base_model,
    served_version,
    source_of,
)

from graft_operator.api.base_model import BaseModel, BaseModelStatus
from graft_operator.api.conditions import Condition, find
from graft_operator.manifests import naming
from graft_operator.plan.actions import ApplyObject, DeleteObject, Plan
from graft_operator.plan.base.plan import IN_USE_FINALIZER, plan_base
from graft_operator.plan.snapshot import BaseSnapshot

FINALIZER = {"finalizers": (IN_USE_FINALIZER,)}
ON_A = adapter_of_base(target=served_version(1))
ON_B = adapter_of_base(target=served_version(2, "B"), up_to_date=True)


def plan(given: BaseSnapshot) -> Plan:
    return plan_base(given, NOW, PLATFORM)


def status_of(given: BaseSnapshot) -> BaseModelStatus:
    status = plan(given).status
    assert isinstance(status, BaseModelStatus)
    return status


def applied(given: BaseSnapshot) -> list[tuple[str, str]]:
    manifests = [action.manifest for action in plan(given).actions if isinstance(action, ApplyObject)]
    return [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]


def deleted(given: BaseSnapshot) -> list[tuple[str, str]]:
    return [(action.kind, action.name) for action in plan(given).actions if isinstance(action, DeleteObject)]


def revisions(given: BaseSnapshot) -> str:
    names = {base_id(letter): letter for letter in "ABC"}
    return "".join(names[revision.digest] for revision in status_of(given).serving)


def name_of(letter: str) -> str:
    return naming.revision_name("tiny", base_id(letter))


def bumped_to(letter: str, resolved: str = "A", **fields: Any) -> BaseModel:
    return base_model(resolved=resolved, source=source_of(letter), meta=FINALIZER, **fields)


def condition(status: BaseModelStatus, kind: str) -> Condition:
    found = find(status.conditions, kind)
    assert found is not None
    return found
