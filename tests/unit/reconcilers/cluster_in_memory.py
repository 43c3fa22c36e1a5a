"""The API server as a dict: what the reconcilers need of it, and a failpoint after every write."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from tests.builders import NAMESPACE, NOW

from graft_operator.cluster import Cache
from graft_operator.cluster.errors import AlreadyExists, Conflict, NotFound
from graft_operator.cluster.resources import USER_CONFIG_MAPS, Resource
from graft_operator.cluster.watching import WATCHED
from graft_operator.manifests.labels import MANAGED_BY

Object = dict[str, Any]
Objects = list[Object]
T = TypeVar("T")


class OperatorKilledError(BaseException):
    """The operator dies at a write. Nothing of its own can catch that."""


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
        self.ends_slowly = False
        """Whether a Job that is deleted stays until :meth:`remove`, as its pods write their checkpoints."""
        self.attempts: list[tuple[str, str]] = []
        """(kind, name) of every creation and update of a child that was asked for, taken or not."""
        self.written: list[tuple[str, str]] = []
        """(kind, name) of every write of the operator's that took effect."""
        self.created: list[tuple[str, str]] = []
        """(kind, name) of every object that the operator has created."""
        self.dies_after_write: int | None = None
        self._versions = itertools.count(1)
        self._cache = Cache()
        self._told: dict[tuple[str, str], Object] = {}

    @property
    def writes(self) -> int:
        """How often the operator has written."""
        return len(self.written)

    # What the operator calls.

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return _copy(self.objects.get((resource.kind, name)))

    async def list(self, resource: Resource) -> Objects:
        return _copy(self.of_kind(resource.kind))

    async def create(self, resource: Resource, body: Mapping[str, Any]) -> Object:
        key = (resource.kind, body["metadata"]["name"])
        self._admit(*key)
        if key in self.objects:
            raise AlreadyExists(f"{key} exists")
        self._store(key, dict(body))
        self.created.append(key)
        self._written(key)
        return _copy(self.objects[key])

    async def apply(self, resource: Resource, body: Mapping[str, Any]) -> Object:
        # Kueue lets a Job run by its field suspend, which an apply of ours would take back.
        assert resource.kind != "Job", "a Job is created and deleted, never applied"
        key = (resource.kind, body["metadata"]["name"])
        self._admit(*key)
        live = self.objects.get(key, {})
        wanted = {name: value for name, value in body.items() if name != "metadata"}
        unchanged = all(live.get(name) == value for name, value in wanted.items())
        unchanged = unchanged and owners_of(live) == owners_of(body)
        if not live or not unchanged:
            self._store(key, _copy(dict(live) | dict(body)), live=live)
            self._written(key)
        return _copy(self.objects[key])

    async def apply_status(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        status: Mapping[str, Any],
        *,
        uid: str,
        version: str | None = None,
    ) -> Object:
        body = self.objects.get((resource.kind, name))
        if body is None:
            raise NotFound(name)
        if body["metadata"]["uid"] != uid or version not in (None, body["metadata"]["resourceVersion"]):
            raise Conflict(name)
        body["status"] = _copy(dict(status))
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        self._written((resource.kind, name))
        return _copy(body)

    async def patch_json(self, resource: Resource, namespace: str, name: str, ops: Objects) -> Object:
        body = self.objects.get((resource.kind, name))
        if body is None:
            raise NotFound(name)
        *tests, add = ops
        if any(body["metadata"]["resourceVersion"] != test["value"] for test in tests):
            raise Conflict(name)
        body["metadata"]["finalizers"] = list(add["value"])
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        self._remove_if_released((resource.kind, name))
        self._written((resource.kind, name))
        return _copy(body)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str | None = None, propagation: str = "Background"
    ) -> bool:
        body = self.objects.get((resource.kind, name))
        if body is None or (uid is not None and body["metadata"]["uid"] != uid):
            return False
        if (kept := self.keeps.get(f"{resource.kind}/{name}")) is not None:
            raise kept
        if resource.kind == "Job" and self.ends_slowly:
            body["metadata"] |= {"deletionTimestamp": NOW.isoformat(), "finalizers": ["foregroundDeletion"]}
        else:
            self.remove((resource.kind, name))
        self._written((resource.kind, name))
        return True

    def record_event(
        self, regarding: Mapping[str, Any], *, reason: str, message: str, action: str, warning: bool = False
    ) -> None:
        self.events.append((regarding["metadata"]["name"], reason, message))

    # What the operator's watches tell it.

    def watch(self, cache: Cache) -> None:
        """Let a cache know of everything there is, and of every change from now on that :meth:`sync` finds."""
        self._cache, self._told = cache, {}
        self.sync()

    def sync(self) -> None:
        """Tell the cache of what has changed since the last time. The world edits objects in place, so all are read."""
        self._tell_gone()
        for key, body in list(self.objects.items()):
            self._tell(key, body)
        self._tell_kinds()

    def _tell(self, key: tuple[str, str], body: Object, *, is_own: bool = False) -> None:
        if (told := self._told.get(key)) == body:
            return
        if told is not None and _version_of(told) == _version_of(body):
            body["metadata"]["resourceVersion"] = str(next(self._versions))
        self._told[key] = _copy(body)
        self._cache.put(_resource_of(key[0], body), _copy(body), is_own=is_own)

    def _tell_gone(self, *, is_own: bool = False) -> None:
        for key in [key for key in self._told if key not in self.objects]:
            self._cache.remove(_resource_of(key[0], self._told.pop(key)), NAMESPACE, key[1], is_own=is_own)

    def _tell_kinds(self) -> None:
        """Tell which kinds are listed: that of a CustomResourceDefinition comes and goes."""
        for resource in (watched.resource for watched in WATCHED):
            if resource.kind in self.unknown_kinds:
                self._cache.fail(resource, None, "the server does not know the kind (404)", is_closed=True)
            elif not self._cache.is_synced(resource, NAMESPACE):
                self._cache.replace(resource, None, self._cache.names(resource), 0)

    # What the rest of the world does.

    def of_kind(self, kind: str) -> Objects:
        return [body for (key, _), body in sorted(self.objects.items()) if key == kind]

    def put(self, kind: str, name: str, **fields: Any) -> None:
        """Create or edit an object as a person or another controller does."""
        body = self.objects.get((kind, name), {"kind": kind, "apiVersion": "graft.dev/v1alpha1", "metadata": {}})
        wanted = _copy(body | fields)
        wanted["metadata"] = {"name": name, "namespace": NAMESPACE} | body["metadata"] | fields.get("metadata", {})
        self._store((kind, name), wanted, live=body)

    def ask_deletion(self, kind: str, name: str, now: datetime, *, foreground: bool = False) -> None:
        """Ask for an object's deletion; in the foreground what it owns goes at once, whatever keeps itself."""
        body = self.objects[kind, name]
        body["metadata"]["deletionTimestamp"] = now.isoformat()
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        if foreground:
            self._collect(body["metadata"]["uid"])
        self._remove_if_released((kind, name))

    def remove(self, key: tuple[str, str]) -> None:
        """Remove the object and, as the garbage collector does, all that it owned alone."""
        self._collect(self.objects.pop(key)["metadata"]["uid"])

    def _collect(self, uid: str) -> None:
        """Remove what has no other owner than this one; what has another one belongs to that one alone from now on."""
        for child, body in list(self.objects.items()):
            if uid not in (owners := owners_of(body)) or child not in self.objects:
                continue
            there = {item["metadata"]["uid"] for item in self.objects.values()} - {uid}
            if not owners & there:
                self.remove(child)
                continue
            kept = [owner for owner in body["metadata"]["ownerReferences"] if owner["uid"] in there]
            body["metadata"] |= {"ownerReferences": kept, "resourceVersion": str(next(self._versions))}

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

    def _written(self, key: tuple[str, str]) -> None:
        self.written.append(key)
        # What others have changed meanwhile is told by the next sync: to compare everything after each write is slow.
        self._tell_gone(is_own=True)
        if (body := self.objects.get(key)) is not None:
            self._tell(key, body, is_own=True)
        if self.writes == self.dies_after_write:
            raise OperatorKilledError


def _resource_of(kind: str, body: Object) -> Resource:
    """Return what the operator watches an object as: a ConfigMap of a user's is another thing than one of ours."""
    if kind == "ConfigMap" and body and MANAGED_BY not in body["metadata"].get("labels", {}):
        return USER_CONFIG_MAPS
    return next(item.resource for item in WATCHED if item.resource.kind == kind)


def owners_of(body: Mapping[str, Any]) -> set[str]:
    """Return the UIDs of an object's owners."""
    return {owner["uid"] for owner in body.get("metadata", {}).get("ownerReferences", ())}


def _version_of(body: Object) -> str:
    return str(body["metadata"]["resourceVersion"])


def _copy(value: T) -> T:
    copied: T = pickle.loads(pickle.dumps(value))
    return copied  # several times faster than copy.deepcopy, on plain JSON
