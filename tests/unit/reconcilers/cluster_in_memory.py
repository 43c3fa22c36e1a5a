"""The API server as a dict: what the reconcilers need of it, and a failpoint after every write."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from tests.builders import NAMESPACE, NOW

from graft_operator.cluster.errors import AlreadyExists, Conflict, NotFound
from graft_operator.cluster.resources import Resource

Object = dict[str, Any]
Objects = list[Object]
T = TypeVar("T")


class OperatorKilledError(Exception):
    """The operator dies right after a write reached the API server."""


class ClusterInMemory:
    """Objects by kind and name, in one namespace. Everything that goes in or out is a copy."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.events: list[tuple[str, str, str]] = []
        self.unknown_kinds = {"InferencePool"}
        """Kinds whose CustomResourceDefinition is not installed."""
        self.refuses: dict[str, Exception] = {}
        """What a creation or an update of an object of the kind, or of ``kind/name``, is answered with."""
        self.keeps: dict[str, Exception] = {}
        """What a deletion of ``kind/name`` is answered with."""
        self.attempts: list[tuple[str, str]] = []
        """(kind, name) of every creation and update of a child that was asked for, taken or not."""
        self.writes = 0
        self.dies_after_write: int | None = None
        self._versions = itertools.count(1)

    # What the operator calls.

    async def serves(self, resource: Resource) -> bool:
        return resource.kind not in self.unknown_kinds

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return _copy(self.objects.get((resource.kind, name)))

    async def list(
        self,
        resource: Resource,
        namespace: str,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> Objects:
        found = [body for body in self.of_kind(resource.kind) if _has_labels(body, label_selector)]
        if field_selector is not None:
            path, _, value = field_selector.partition("=")
            found = [body for body in found if _at(body, path) == value]
        return _copy(found)

    async def create(self, resource: Resource, body: Mapping[str, Any]) -> Object:
        key = (resource.kind, body["metadata"]["name"])
        self._admit(*key)
        if key in self.objects:
            raise AlreadyExists(f"{key} exists")
        self._store(key, dict(body))
        self._written()
        return _copy(self.objects[key])

    async def apply(self, resource: Resource, body: Mapping[str, Any]) -> Object:
        # Kueue lets a Job run by its field suspend, which an apply of ours would take back.
        assert resource.kind != "Job", "a Job is created and deleted, never applied"
        key = (resource.kind, body["metadata"]["name"])
        self._admit(*key)
        live = self.objects.get(key, {})
        wanted = {name: value for name, value in body.items() if name != "metadata"}
        unchanged = all(live.get(name) == value for name, value in wanted.items())
        if not live or not unchanged:
            self._store(key, _copy(dict(live) | dict(body)), live=live)
            self._written()
        return _copy(self.objects[key])

    async def apply_status(
        self, resource: Resource, namespace: str, name: str, status: Mapping[str, Any], *, uid: str
    ) -> Object:
        body = self.objects.get((resource.kind, name))
        if body is None:
            raise NotFound(name)
        if body["metadata"]["uid"] != uid:
            raise Conflict(name)
        body["status"] = _copy(dict(status))
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        self._written()
        return _copy(body)

    async def patch_json(self, resource: Resource, namespace: str, name: str, ops: Objects) -> Object:
        body = self.objects.get((resource.kind, name))
        if body is None:
            raise NotFound(name)
        test, add = ops
        if body["metadata"]["resourceVersion"] != test["value"]:
            raise Conflict(name)
        body["metadata"]["finalizers"] = list(add["value"])
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        self._remove_if_released((resource.kind, name))
        self._written()
        return _copy(body)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str | None = None, propagation: str = "Background"
    ) -> bool:
        body = self.objects.get((resource.kind, name))
        if body is None or (uid is not None and body["metadata"]["uid"] != uid):
            return False
        if (kept := self.keeps.get(f"{resource.kind}/{name}")) is not None:
            raise kept
        self.remove((resource.kind, name))
        self._written()
        return True

    async def create_event(
        self, regarding: Mapping[str, Any], *, reason: str, message: str, action: str, warning: bool = False
    ) -> None:
        self.events.append((regarding["metadata"]["name"], reason, message))

    # What the rest of the world does.

    def of_kind(self, kind: str) -> Objects:
        return [body for (key, _), body in sorted(self.objects.items()) if key == kind]

    def put(self, kind: str, name: str, **fields: Any) -> None:
        """Create or edit an object as a person or another controller does."""
        body = self.objects.get((kind, name), {"kind": kind, "apiVersion": "graft.dev/v1alpha1", "metadata": {}})
        wanted = _copy(body | fields)
        wanted["metadata"] = {"name": name, "namespace": NAMESPACE} | body["metadata"] | fields.get("metadata", {})
        self._store((kind, name), wanted, live=body)

    def ask_deletion(self, kind: str, name: str, now: datetime) -> None:
        body = self.objects[kind, name]
        body["metadata"]["deletionTimestamp"] = now.isoformat()
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        self._remove_if_released((kind, name))

    def remove(self, key: tuple[str, str]) -> None:
        """Remove the object and, as the garbage collector does, all that it owns."""
        gone = self.objects.pop(key)["metadata"]["uid"]
        for child, body in list(self.objects.items()):
            owners = body["metadata"].get("ownerReferences", [])
            if any(owner["uid"] == gone for owner in owners) and child in self.objects:
                self.remove(child)

    def _admit(self, kind: str, name: str) -> None:
        self.attempts.append((kind, name))
        for refused in (kind, f"{kind}/{name}"):
            if refused in self.refuses:
                raise self.refuses[refused]

    def _remove_if_released(self, key: tuple[str, str]) -> None:
        metadata = self.objects[key]["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self.remove(key)

    def _store(self, key: tuple[str, str], body: Object, live: Mapping[str, Any] | None = None) -> None:
        number = next(self._versions)
        before = (live or {}).get("metadata", {})
        changed = (live or {}).get("spec") != body.get("spec")
        body["metadata"] = dict(body["metadata"]) | {
            "uid": before.get("uid", f"uid-{number}"),
            "generation": before.get("generation", 0) + changed,
            "resourceVersion": str(number),
            "creationTimestamp": before.get("creationTimestamp", (NOW + timedelta(seconds=number)).isoformat()),
        }
        self.objects[key] = body

    def _written(self) -> None:
        self.writes += 1
        if self.writes == self.dies_after_write:
            raise OperatorKilledError


def _has_labels(body: Object, selector: str | None) -> bool:
    wanted: Iterator[str] = filter(None, (selector or "").split(","))
    labels = body["metadata"].get("labels", {})
    return all(labels.get(part.partition("=")[0]) == part.partition("=")[2] for part in wanted)


def _at(body: Object, path: str) -> Any:
    value: Any = body
    for step in path.split("."):
        value = value.get(step, {})
    return value


def _copy(value: T) -> T:
    copied: T = pickle.loads(pickle.dumps(value))
    return copied  # several times faster than copy.deepcopy, on plain JSON
