"""What the cache takes in, what it forgets, and whom it tells."""

from __future__ import annotations

from typing import Any

import pytest

from graft_operator.cluster.cache import Cache, Change
from graft_operator.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    JOBS,
    LORA_ADAPTERS,
    PODS,
    REFUSED_MOUNTS,
    REFUSED_PODS,
    SERVICES,
    WORKLOADS,
)
from graft_operator.manifests import labels

NAMESPACE = "team-a"


def body(name: str = "support", version: int = 1, *, uid: str = "", **fields: Any) -> dict[str, Any]:
    metadata = {"namespace": NAMESPACE, "name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata | fields.pop("metadata", {}), **fields}


class Told:
    """Collects what a cache tells: name, kind of change, and whether it was our own."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def __call__(self, change: Change) -> None:
        self.changes.append(change)

    def names(self) -> list[str]:
        told = [f"{'-' if item.new is None else '+'}{item.body['metadata']['name']}" for item in self.changes]
        self.changes.clear()
        return told


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def cache(told: Told) -> Cache:
    return Cache(told)


def test_an_object_comes_out_as_it_went_in_with_its_type(cache: Cache) -> None:
    cache.put(JOBS, body(spec={"template": {"unknownField": [1, None, "é"]}}))
    found = cache.get(JOBS, NAMESPACE, "support")
    assert found is not None
    assert found["spec"] == {"template": {"unknownField": [1, None, "é"]}}
    assert (found["apiVersion"], found["kind"]) == ("batch/v1", "Job")


def test_nobody_can_change_what_another_reads(cache: Cache) -> None:
    cache.put(JOBS, body(spec={"a": [1]}))
    (cache.get(JOBS, NAMESPACE, "support") or {})["spec"]["a"].append(2)
    assert (cache.get(JOBS, NAMESPACE, "support") or {})["spec"] == {"a": [1]}


@pytest.mark.parametrize(
    ("versions", "kept", "times"),
    [
        pytest.param([1, 2], 2, 2, id="a newer one wins"),
        pytest.param([2, 1], 2, 1, id="an older one that comes late is nothing new"),
        pytest.param([2, 2], 2, 1, id="the same one twice is nothing new"),
        pytest.param([9, 10], 10, 2, id="versions are numbers, not texts"),
    ],
)
def test_events_may_come_twice_or_in_another_order(
    cache: Cache, told: Told, versions: list[int], kept: int, times: int
) -> None:
    for version in versions:
        cache.put(JOBS, body(version=version, spec={"version": version}))
    assert (cache.get(JOBS, NAMESPACE, "support") or {})["spec"] == {"version": kept}
    assert len(told.changes) == times


def test_a_late_event_does_not_bring_back_what_was_deleted(cache: Cache, told: Told) -> None:
    cache.put(JOBS, body(version=1))
    cache.remove(JOBS, NAMESPACE, "support", uid="uid-support", version=5)
    cache.put(JOBS, body(version=4))
    assert cache.get(JOBS, NAMESPACE, "support") is None
    assert told.names() == ["+support", "-support"]


def test_a_deletion_that_comes_before_the_creation_counts(cache: Cache) -> None:
    cache.remove(JOBS, NAMESPACE, "support", uid="uid-support", version=5)
    assert not cache.put(JOBS, body(version=4))


def test_a_namesake_that_was_made_anew_is_another_object(cache: Cache) -> None:
    cache.put(JOBS, body(version=1, uid="first"))
    cache.put(JOBS, body(version=7, uid="second"))
    cache.remove(JOBS, NAMESPACE, "support", uid="first", version=6)
    assert cache.version(JOBS, NAMESPACE, "support") == ("second", 7)


def test_what_a_listing_does_not_name_any_more_is_gone(cache: Cache, told: Told) -> None:
    for name in ("kept", "lost"):
        cache.put(JOBS, body(name, 3))
    cache.put(JOBS, body("new", 12))
    told.changes.clear()
    cache.replace(JOBS, None, [(NAMESPACE, "kept")], 10)
    assert told.names() == ["-lost"], "what is newer than the listing was made after it"
    assert [name for _, name in cache.names(JOBS)] == ["kept", "new"]


def test_a_listing_of_one_namespace_says_nothing_of_another(cache: Cache) -> None:
    cache.put(JOBS, body("here", 1))
    cache.put(JOBS, body("elsewhere", 1, metadata={"namespace": "team-b"}))
    cache.replace(JOBS, NAMESPACE, [], 10)
    assert cache.names(JOBS) == [("team-b", "elsewhere")]


def test_a_kind_is_read_once_it_was_listed_and_until_it_is_closed_to_us(cache: Cache) -> None:
    assert not cache.is_synced(JOBS, NAMESPACE)
    cache.replace(JOBS, NAMESPACE, [], 1)
    assert cache.is_synced(JOBS, NAMESPACE)
    assert not cache.is_synced(JOBS, "team-b")
    cache.fail(JOBS, NAMESPACE, "no answer")
    assert cache.is_synced(JOBS, NAMESPACE), "what is known stays known"
    assert cache.problem(JOBS, NAMESPACE) == "no answer"
    cache.fail(JOBS, NAMESPACE, "forbidden", is_closed=True)
    assert not cache.is_synced(JOBS, NAMESPACE)
    cache.replace(JOBS, NAMESPACE, [], 2)
    assert cache.problem(JOBS, NAMESPACE) == ""


def test_children_are_found_by_their_owner_and_component(cache: Cache) -> None:
    for name, owner, component in (("a", "u1", "serving"), ("b", "u1", "import"), ("c", "u2", "serving")):
        cache.put(PODS, body(name, metadata={"labels": {labels.OWNER_UID: owner, labels.COMPONENT: component}}))
    assert [pod["metadata"]["name"] for pod in cache.owned(PODS, NAMESPACE, "u1")] == ["a", "b"]
    assert [pod["metadata"]["name"] for pod in cache.owned(PODS, NAMESPACE, "u1", "serving")] == ["a"]
    cache.remove(PODS, NAMESPACE, "a")
    assert cache.owned(PODS, NAMESPACE, "u1", "serving") == []


def test_adapters_are_found_by_the_base_that_they_name_now(cache: Cache) -> None:
    cache.put(LORA_ADAPTERS, body(version=1, spec={"baseModelRef": {"name": "tiny"}}))
    cache.put(LORA_ADAPTERS, body(version=2, spec={"baseModelRef": {"name": "large"}}))
    assert cache.adapters_of(NAMESPACE, "tiny") == []
    assert cache.adapters_of(NAMESPACE, "large") == [(NAMESPACE, "support")]


def test_an_adapter_without_a_well_formed_spec_is_nobodys(cache: Cache) -> None:
    specs: tuple[Any, ...] = ({}, None, {"baseModelRef": None}, {"baseModelRef": {}})
    for version, spec in enumerate(specs, start=1):
        cache.put(LORA_ADAPTERS, body(version=version, spec=spec))
    assert cache.adapters_of(NAMESPACE, "") == []


def test_what_the_platform_says_is_found_by_whom_it_is_about(cache: Cache) -> None:
    cache.put(REFUSED_PODS, body("event", regarding={"uid": "uid-job"}, note="exceeded quota"))
    assert [event["note"] for event in cache.events_of(NAMESPACE, "uid-job")] == ["exceeded quota"]
    assert cache.events_of(NAMESPACE, "uid-other") == []


def test_managed_fields_are_not_kept_but_that_an_autoscaler_has_set_the_replicas_is(cache: Cache) -> None:
    scaled = {"manager": "kube-controller-manager", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    edited = {"manager": "kubectl", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    for name, fields in (("auto", [edited, scaled]), ("hand", [edited])):
        cache.put(DEPLOYMENTS, body(name, metadata={"managedFields": fields}))
    found = {name: (cache.get(DEPLOYMENTS, NAMESPACE, name) or {})["metadata"] for name in ("auto", "hand")}
    assert all("managedFields" not in metadata for metadata in found.values())
    assert "graft.dev/autoscaled" in found["auto"]["annotations"]
    assert "annotations" not in found["hand"]


def test_what_we_have_written_ourselves_is_told_as_our_own(cache: Cache, told: Told) -> None:
    cache.put(SERVICES, body(version=3), is_own=True)
    cache.put(SERVICES, body(version=3))
    assert [change.is_own for change in told.changes] == [True], "its event from the watch is nothing new"


def test_the_end_of_an_older_one_does_not_bury_what_we_have_mended(cache: Cache) -> None:
    """Its label was taken and given back: the selector tells of the end of version 11 after we know version 12."""
    cache.put(CONFIG_MAPS, body(version=12, uid="u1"))
    assert cache.remove(CONFIG_MAPS, NAMESPACE, "support", uid="u1", version=11) is False
    assert cache.version(CONFIG_MAPS, NAMESPACE, "support") == ("u1", 12)
    assert cache.put(CONFIG_MAPS, body(version=13, uid="u1")) is True


def test_whoever_may_write_events_fills_no_memory(cache: Cache) -> None:
    for number in range(300):
        event = body(version=number + 1, uid=f"e{number}", name=f"e{number}", regarding={"uid": "p1"}, note="x" * 5000)
        cache.put(REFUSED_MOUNTS, event)
    kept = cache.events_of(NAMESPACE, "p1")
    assert len(kept) == 256
    assert {len(event["note"]) for event in kept} == {1024}
    assert ("team-a", "e299") in cache.names(REFUSED_MOUNTS)


def test_of_what_kueue_makes_of_jobs_only_what_it_says_is_kept(cache: Cache) -> None:
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": "uid-of-job"}
    said = {"conditions": [{"type": "QuotaReserved"}], "admissionChecks": []}
    spec = {"queueName": "gpus", "active": False, "podSets": [{"template": "x" * 5000}]}
    mine = body("job-train", 3, metadata={"ownerReferences": [owner]}, spec=spec, status=said | {"admission": {}})
    cache.put(WORKLOADS, mine)
    cache.put(WORKLOADS, body("pod-group", 4, metadata={"ownerReferences": [owner | {"kind": "Pod"}]}))
    [found] = cache.workloads_of(NAMESPACE, "uid-of-job")
    assert (found["spec"], found["status"]) == ({"queueName": "gpus", "active": False}, said)
    assert cache.workloads_of(NAMESPACE, "uid-of-nobody") == []


def test_versions_of_what_somebody_owns_are_told_without_reading_it(cache: Cache) -> None:
    owned = {"labels": {"graft.dev/owner-uid": "uid-of-support"}}
    cache.put(JOBS, body("first", 3, metadata=owned))
    cache.put(JOBS, body("second", 4, metadata=owned))
    cache.put(JOBS, body("of-nobody", 5))
    of_support = cache.owned_versions(JOBS, NAMESPACE, "uid-of-support")
    assert of_support == {((NAMESPACE, "first"), 3), ((NAMESPACE, "second"), 4)}
    assert cache.owned_versions(JOBS, NAMESPACE, "uid-of-nobody") == frozenset()


def test_nothing_of_another_namespace_speaks_for_an_object_whose_uid_it_names(cache: Cache) -> None:
    forged = {"namespace": "attacker", "labels": {labels.OWNER_UID: "u1", labels.COMPONENT: "serving"}}
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": "u1", "controller": True}
    for kind in (JOBS, PODS, DEPLOYMENTS):
        cache.put(kind, body("forged", metadata=forged))
    cache.put(WORKLOADS, body("forged", metadata=forged | {"ownerReferences": [owner]}))
    cache.put(REFUSED_PODS, body("forged", metadata=forged, regarding={"uid": "u1", "namespace": NAMESPACE}))
    said = {"workloads": cache.workloads_of(NAMESPACE, "u1"), "events": cache.events_of(NAMESPACE, "u1")}
    assert said == {"workloads": [], "events": []}
    assert [cache.owned(kind, NAMESPACE, "u1") for kind in (JOBS, PODS, DEPLOYMENTS)] == [[], [], []]
    assert cache.owned_versions(JOBS, NAMESPACE, "u1") == frozenset()
    assert len(cache.workloads_of("attacker", "u1")) == len(cache.owned(JOBS, "attacker", "u1")) == 1


@pytest.mark.parametrize("name", ["u1", "uid/u1", f"uid:{NAMESPACE}/u1"])
def test_a_name_that_reads_like_a_uid_makes_nothing_another_ones(cache: Cache, name: str) -> None:
    cache.put(JOBS, body(metadata={"annotations": {labels.OWNER_NAME: name}}))
    assert cache.owned(JOBS, NAMESPACE, "u1") == []
