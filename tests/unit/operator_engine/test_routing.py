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


METADATA = {"namespace": "a", "name": "support"}
MOVED = {"serving": {"target": {"number": 2}, "loaded": 0}}
LOADING = {"serving": {"target": {"number": 2}, "loaded": 1}}
SERVED = {**LOADING, "conditions": [{"type": "UpToDate", "status": "True"}]}


@pytest.mark.parametrize(
    ("changed", "concerns_base"),
    [
        pytest.param(
            {"spec": {"baseModelRef": {"name": "tiny"}, "version": 1}}, False, id="a pin is the adapter's own"
        ),
        pytest.param({"status": {}}, False, id="nothing has changed"),
        pytest.param({"status": {"observedGeneration": 2}}, False, id="a status that no base reads"),
        pytest.param({"status": MOVED}, True, id="another target is to be loaded"),
        pytest.param({"status": {"serving": {"novelty": 1}}}, True, id="what nobody has thought of here"),
        pytest.param({"spec": {"baseModelRef": {"name": "tiny"}, "serving": {"replicas": 1}}}, True, id="fewer pods"),
        pytest.param({"status": {"training": {"step": 1}}}, True, id="a training has begun"),
        pytest.param(
            {"metadata": {"namespace": "a", "name": "support", "deletionTimestamp": "…"}}, True, id="deletion"
        ),
        pytest.param({"metadata": {"namespace": "a", "name": "support", "uid": "new"}}, True, id="a namesake"),
    ],
)
def test_an_adapter_concerns_its_base_only_where_it_shows_news(changed: dict[str, Any], concerns_base: bool) -> None:
    known = routing.AdaptersByBase()
    routing.keys_of_adapter(known, adapter("support", "tiny"), deleted=False)
    keys = routing.keys_of_adapter(known, adapter("support", "tiny") | changed, deleted=False)
    assert keys == ([SUPPORT, TINY] if concerns_base else [SUPPORT])


def test_the_statuses_of_a_swap_concern_the_base_when_the_target_moves_and_when_it_is_served() -> None:
    known = routing.AdaptersByBase()
    told = [
        routing.keys_of_adapter(known, adapter("support", "tiny") | {"status": status}, deleted=False)
        for status in ({}, MOVED, LOADING, SERVED)
    ]
    assert told == [[SUPPORT, TINY], [SUPPORT, TINY], [SUPPORT], [SUPPORT, TINY]]


@pytest.mark.parametrize(
    ("changed", "concerns_adapters"),
    [
        pytest.param({"status": {"adapters": {"upToDate": 1}, "conditions": []}}, False, id="it counts its adapters"),
        pytest.param({"status": {"serving": [{"digest": "sha256:a", "replicas": 2}]}}, True, id="a revision is served"),
        pytest.param({"status": {"novelty": 1}}, True, id="what nobody has thought of here"),
        pytest.param({"status": {"resolved": {"digest": "sha256:a"}}}, True, id="its source is resolved"),
        pytest.param({"spec": {"serving": {"replicas": 3}}}, True, id="its spec has changed"),
    ],
)
def test_a_base_concerns_its_adapters_only_where_it_shows_news(
    changed: dict[str, Any], concerns_adapters: bool
) -> None:
    known = routing.AdaptersByBase()
    routing.keys_of_adapter(known, adapter("support", "tiny"), deleted=False)
    routing.keys_of_base(known, base("tiny"))
    assert routing.keys_of_base(known, base("tiny") | changed) == ([TINY, SUPPORT] if concerns_adapters else [TINY])


def test_a_place_that_changes_hands_concerns_two_adapters() -> None:
    known = routing.AdaptersByBase()
    for name in ("support", "sales", "legal"):
        routing.keys_of_adapter(known, adapter(name, "tiny"), deleted=False)

    def absent(*names: str, revision: str = "a") -> dict[str, Any]:
        return base("tiny") | {"status": {"serving": [{"digest": f"sha256:{revision}", "notResident": list(names)}]}}

    assert len(list(routing.keys_of_base(known, absent("legal", "sales")))) == 4
    keys = routing.keys_of_base(known, absent("legal", "support"))
    assert keys == [TINY, AdapterKey("a", "sales"), SUPPORT]
    assert routing.keys_of_base(known, absent("legal", "support")) == [TINY]


def test_a_base_that_is_applied_again_is_news() -> None:
    known = routing.AdaptersByBase()
    routing.keys_of_adapter(known, adapter("support", "tiny"), deleted=False)
    for _ in range(2):
        assert routing.keys_of_base(known, base("tiny")) == [TINY, SUPPORT]
        assert routing.keys_of_base(known, base("tiny"), deleted=True) == [TINY, SUPPORT]


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
