"""What is read of Workloads, in the forms that servers send."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import msgspec
import pytest

from graft_operator.cluster.workload import OWNERS_KEPT, event_of, page_of, read_of

NAMED = {"name": "w", "namespace": "team-a", "uid": "u", "resourceVersion": "7"}
OWNER = {"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": "j"}

FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "it was just made": ({"metadata": NAMED}, {"metadata": NAMED}),
    "parts of it are null": (
        {"metadata": NAMED | {"creationTimestamp": None, "ownerReferences": None}, "spec": None, "status": None},
        {"metadata": NAMED},
    ),
    "it is on its way out": (
        {"metadata": NAMED | {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x"], "labels": {"a": "b"}}},
        {"metadata": NAMED | {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
    ),
    "it is inactive": (
        {"metadata": NAMED, "spec": {"active": False, "queueName": "gpus", "podSets": [{"template": {"spec": {}}}]}},
        {"metadata": NAMED, "spec": {"active": False, "queueName": "gpus"}},
    ),
    "a Job's": (
        {"metadata": NAMED | {"ownerReferences": [OWNER | {"controller": True, "blockOwnerDeletion": True}]}},
        {"metadata": NAMED | {"ownerReferences": [OWNER]}},
    ),
    "a large group's": (
        {"metadata": NAMED | {"ownerReferences": [OWNER] * 1000}},
        {"metadata": NAMED | {"ownerReferences": [OWNER] * OWNERS_KEPT}},
    ),
    "Kueue has said something": (
        {"metadata": NAMED, "status": {"conditions": [{"type": "Admitted"}], "admissionChecks": [], "admission": {}}},
        {"metadata": NAMED, "status": {"conditions": [{"type": "Admitted"}], "admissionChecks": []}},
    ),
}


@pytest.mark.parametrize(("body", "read"), FORMS.values(), ids=FORMS)
def test_the_same_is_read_of_a_listing_an_event_and_an_object(body: dict[str, Any], read: dict[str, Any]) -> None:
    metadata = {"resourceVersion": "9", "continue": "token", "remainingItemCount": 3}
    page = {"kind": "WorkloadList", "metadata": metadata, "items": [body]}
    assert page_of(json.dumps(page).encode()) == {"metadata": metadata, "items": [read]}
    assert event_of(json.dumps({"type": "ADDED", "object": body}).encode()) == {"type": "ADDED", "object": read}
    assert read_of(body) == read_of(read) == read


def test_templates_are_skipped_and_not_decoded() -> None:
    containers = [{"name": "main", "env": [{"name": f"E{number}", "value": "x" * 40} for number in range(10_000)]}]
    body = {"metadata": NAMED, "spec": {"podSets": [{"template": {"spec": {"containers": containers}}}]}}
    content = json.dumps({"metadata": {}, "items": [body] * 5}).encode()
    tracemalloc.start()
    try:
        page_of(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(content) / 100


def test_an_error_in_the_stream_is_a_status() -> None:
    status = {"kind": "Status", "code": 410, "message": "too old", "metadata": {}}
    assert event_of(json.dumps({"type": "ERROR", "object": status}).encode())["object"] == status


@pytest.mark.parametrize("content", [b"", b"[]", b"<html>a proxy's page</html>", b'{"type": "ADDED", "object": null}'])
def test_what_is_no_event_is_refused(content: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        event_of(content)


def test_an_empty_listing_may_be_null() -> None:
    assert page_of(b'{"metadata": {"resourceVersion": "1"}, "items": null}')["items"] is None
