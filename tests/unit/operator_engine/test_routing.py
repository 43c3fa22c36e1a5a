from typing import Any

import pytest

from graft_operator import routing
from graft_operator.engine.keys import AdapterKey, BaseKey

SUPPORT, SALES, TINY, LARGE = (
    AdapterKey("a", "support"),
    AdapterKey("a", "sales"),
    BaseKey("a", "tiny"),
    BaseKey("a", "large"),
)


def adapter(name: str, base: str | None) -> dict[str, Any]:
    spec = {} if base is None else {"baseModelRef": {"name": base}}
    return {"metadata": {"namespace": "a", "name": name}, "spec": spec}


def base(name: str) -> dict[str, Any]:
    return {"metadata": {"namespace": "a", "name": name}}


def test_an_adapter_event_concerns_the_adapter_and_its_base() -> None:
    assert routing.keys_of_adapter(routing.AdaptersByBase(), adapter("support", "tiny"), deleted=False) == [
        SUPPORT,
        TINY,
    ]


def test_an_adapter_that_changes_its_base_concerns_both_bases() -> None:
    known = routing.AdaptersByBase()
    routing.keys_of_adapter(known, adapter("support", "tiny"), deleted=False)
    assert routing.keys_of_adapter(known, adapter("support", "large"), deleted=False) == [SUPPORT, TINY, LARGE]
    assert routing.keys_of_base(known, base("tiny")) == [TINY]
    assert routing.keys_of_base(known, base("large")) == [LARGE, SUPPORT]


@pytest.mark.parametrize("spec", [None, {}, {"baseModelRef": None}, {"baseModelRef": {"name": ""}}])
def test_an_adapter_without_a_usable_reference_concerns_only_itself(spec: Any) -> None:
    body = {**adapter("support", None), "spec": spec}
    assert routing.keys_of_adapter(routing.AdaptersByBase(), body, deleted=False) == [SUPPORT]


def test_a_base_event_concerns_all_its_adapters_of_the_same_namespace() -> None:
    known = routing.AdaptersByBase()
    for name in ("support", "sales"):
        routing.keys_of_adapter(known, adapter(name, "tiny"), deleted=False)
    stranger = {**adapter("other", "tiny"), "metadata": {"namespace": "b", "name": "other"}}
    routing.keys_of_adapter(known, stranger, deleted=False)
    assert routing.keys_of_base(known, base("tiny")) == [TINY, SALES, SUPPORT]


def test_a_deleted_adapter_leaves_the_map() -> None:
    known = routing.AdaptersByBase()
    routing.keys_of_adapter(known, adapter("support", "tiny"), deleted=False)
    assert routing.keys_of_adapter(known, adapter("support", "tiny"), deleted=True) == [SUPPORT, TINY]
    assert routing.keys_of_base(known, base("tiny")) == [TINY]


def test_a_listing_replaces_what_events_told() -> None:
    known = routing.AdaptersByBase()
    known.put(SUPPORT, TINY)
    known.replace_all({SALES: TINY})
    assert known.adapters_of(TINY) == [SALES]
    assert known.base_of(SUPPORT) is None


def child(labels: dict[str, str] | None, annotations: dict[str, str] | None) -> dict[str, Any]:
    return {"metadata": {"namespace": "a", "name": "x", "labels": labels, "annotations": annotations}}


@pytest.mark.parametrize(
    ("labels", "annotations", "expected"),
    [
        ({"graft.dev/owner-kind": "LoraAdapter"}, {"graft.dev/owner-name": "support"}, SUPPORT),
        ({"graft.dev/owner-kind": "BaseModel"}, {"graft.dev/owner-name": "n" * 253}, BaseKey("a", "n" * 253)),
        ({"graft.dev/owner-kind": "Deployment"}, {"graft.dev/owner-name": "support"}, None),
        ({"graft.dev/owner-kind": "LoraAdapter"}, None, None),
        (None, {"graft.dev/owner-name": "support"}, None),
    ],
)
def test_a_child_belongs_to_whom_its_marks_name(
    labels: dict[str, str] | None, annotations: dict[str, str] | None, expected: AdapterKey | BaseKey | None
) -> None:
    assert routing.owner_key(child(labels, annotations)) == expected


def test_serving_pods_are_known_by_their_component() -> None:
    assert routing.is_serving_pod(child({"graft.dev/component": "serving"}, None))
    assert not routing.is_serving_pod(child({"graft.dev/component": "training"}, None))
    assert not routing.is_serving_pod(child(None, None))
