"""Adapters whose status can't be read: what the pods were told of them stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.builders import (
    NOW,
    adapter_of_base,
    base_id,
    base_model,
    base_seen,
    deployment,
    served_version,
)
from tests.unit.plan.base.base_plan import FINALIZER, deleted, name_of, plan, revisions, status_of

from graft_operator.api.adapter_status import RolloutProgress
from graft_operator.plan.actions import ApplyObject
from graft_operator.plan.snapshot import BaseSnapshot

SERVING = base_model(meta=FINALIZER)


def entry(name: str, number: int = 7) -> dict[str, Any]:
    return {
        "name": name,
        "versions": [{"number": number, "manifestDigest": served_version(number).digest}],
        "route": [{"number": number, "weight": 100}],
        "forwardTo": None,
        "decision": {"target": number, "previous": None, "weight": 100},
    }


def wanted_sets(given: BaseSnapshot) -> dict[str, dict[str, Any]]:
    maps = [action.manifest for action in plan(given).actions if isinstance(action, ApplyObject)]
    return {
        item["metadata"]["name"]: {
            found["name"]: found for found in json.loads(item["data"]["wanted.json"])["adapters"]
        }
        for item in maps
        if "data" in item
    }


def with_unreadable(subject: Any = SERVING, **fields: Any) -> BaseSnapshot:
    told = {base_id("A"): {"adapters": [entry("odd"), entry("gone")]}}
    return base_seen(
        subject,
        **{
            "adapters": (adapter_of_base("odd"), adapter_of_base("other", target=served_version(1))),
            "unreadable": frozenset({"odd"}),
            "wanted": told,
            "deployments": (deployment(),),
        }
        | fields,
    )


def test_an_adapter_whose_status_can_not_be_read_stays_as_the_pods_were_told() -> None:
    told = wanted_sets(with_unreadable())[name_of("A")]
    assert told["odd"] == entry("odd")
    assert told["other"]["route"] == [{"number": 1, "weight": 100}]
    assert "gone" not in told


def test_one_that_is_deleted_goes_all_the_same() -> None:
    given = with_unreadable(adapters=(adapter_of_base("odd", deleting=True),))
    assert wanted_sets(given) == {name_of("A"): {}}


def test_it_keeps_its_place_and_its_base() -> None:
    newcomers = tuple(
        adapter_of_base(name, target=served_version(1), progress=RolloutProgress(start_time=NOW)) for name in "bc"
    )
    full = base_model(meta=FINALIZER, serving={"maxLoadedAdapters": 2, "maxActiveAdapters": 1})
    given = with_unreadable(full, adapters=(adapter_of_base("odd"), *newcomers))
    assert status_of(given).serving[0].waiting == ("c",)
    bumped = base_model(resolved="B", serves=("B", "A"), meta=FINALIZER)
    told = {base_id("A"): {"adapters": [entry("odd")]}}
    given = base_seen(
        bumped,
        bases="AB",
        adapters=(adapter_of_base("odd"),),
        unreadable=frozenset({"odd"}),
        wanted=told,
        deployments=(deployment("A"), deployment("B")),
    )
    assert revisions(given) == "BA"
    assert deleted(given) == []


@pytest.mark.parametrize(
    "document", [{}, {"adapters": None}, {"adapters": [7, {"name": 7}, {}]}, {"adapters": {"odd": {}}}]
)
def test_a_wanted_set_that_somebody_has_broken_is_written_anew(document: dict[str, Any]) -> None:
    assert set(wanted_sets(with_unreadable(wanted={base_id("A"): document}))[name_of("A")]) == {"other"}
