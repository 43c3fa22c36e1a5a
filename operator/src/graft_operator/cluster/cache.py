"""The read model of the cluster: what lists and watches have told, by kind, owner and name.

Passes read from here and nowhere else. Objects are kept as compressed JSON, without fields that nobody reads
(:mod:`cached_form`). They are decoded anew for each reader, so that nobody can change what another one reads; 10,000
adapters take some 20 MiB.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from graft_operator.cluster.cached_form import cached_form, indexes, label, of_uid
from graft_operator.cluster.resources import EVENTS, EVENTS_OF_PODS, LORA_ADAPTERS, REFUSED_PODS, WORKLOADS, Resource
from graft_operator.manifests import labels

Object = dict[str, Any]
Name = tuple[str, str]
"""Namespace and name."""

TOMBSTONES_KEPT: Final = 4096
"""Deleted objects that are remembered, so that a late event does not bring one back."""

EVENTS_KEPT: Final = 256
"""Of each sort and namespace, the newest."""

_decoder, _encoder = msgspec.json.Decoder(), msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Change:
    """What a watch, a list, or an answer to a write of our own has brought."""

    resource: Resource
    old: Object | None
    """None for one that was not known."""
    new: Object | None
    """None for one that is gone."""
    is_own: bool = False
    """Whether it is what we have just written: whoever has written it knows."""

    @property
    def body(self) -> Object:
        """The newest that is known of the object."""
        found = self.new or self.old
        if found is None:
            raise ValueError("a change has an object before it, after it, or both")
        return found


@dataclass(frozen=True, slots=True)
class _Entry:
    uid: str
    version: int
    indexes: tuple[str, ...]
    content: bytes

    def decoded(self) -> Object:
        found: Object = _decoder.decode(zlib.decompress(self.content))
        return found


class Cache:
    """Objects by kind, namespace and name. For one event loop.

    ``on_change`` is called for each object that is another one than before, in the order of their coming.
    """

    def __init__(self, on_change: Callable[[Change], object] = lambda change: None) -> None:
        self.on_change = on_change
        self._entries: defaultdict[Resource, dict[Name, _Entry]] = defaultdict(dict)
        self._indexed: defaultdict[tuple[Resource, str], set[Name]] = defaultdict(set)
        self._tombstones: dict[str, int] = {}
        self._synced: set[tuple[Resource, str | None]] = set()
        self._problems: dict[tuple[Resource, str | None], str] = {}

    def __len__(self) -> int:
        """Return the number of objects."""
        return sum(map(len, self._entries.values()))

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Return the object, or None where none is known."""
        entry = self._entries[resource].get((namespace, name))
        return None if entry is None else entry.decoded()

    def version(self, resource: Resource, namespace: str, name: str) -> tuple[str, int] | None:
        """Return uid and resourceVersion of the object, without decoding it."""
        entry = self._entries[resource].get((namespace, name))
        return None if entry is None else (entry.uid, entry.version)

    def owned(self, resource: Resource, namespace: str, uid: str, component: str | None = None) -> list[Object]:
        """Return what carries the owner's uid as a label in his namespace, by name; of one component if it is given."""
        found = self._by_index(resource, of_uid(namespace, uid))
        return [body for body in found if component is None or label(body, labels.COMPONENT) == component]

    def owned_versions(self, resource: Resource, namespace: str, uid: str) -> frozenset[tuple[Name, int]]:
        """Return names and resourceVersions of what carries the owner's uid in his namespace, without decoding it."""
        names = self._indexed.get((resource, of_uid(namespace, uid)), ())
        return frozenset((name, self._entries[resource][name].version) for name in names)

    def named_for(self, resource: Resource, namespace: str, owner: str) -> list[Object]:
        """Return the objects that were made for an owner of this name, whichever it was, sorted by name."""
        return self._by_index(resource, f"{namespace}/{owner}")

    def names_for(self, resource: Resource, namespace: str, owner: str) -> dict[str, str]:
        """Return the uids of the same objects by their names, without decoding them."""
        found = sorted(self._indexed.get((resource, f"{namespace}/{owner}"), ()))
        return {name[1]: self._entries[resource][name].uid for name in found}

    def adapters_of(self, namespace: str, base: str) -> list[Name]:
        """Return the names of the LoraAdapters that name the base, sorted."""
        return sorted(self._indexed.get((LORA_ADAPTERS, f"{namespace}/{base}"), ()))

    def events_of(self, namespace: str, uid: str) -> list[Object]:
        """Return what the platform has last said of an object, as far as it is watched for."""
        index = of_uid(namespace, uid)
        return [event for kind in (REFUSED_PODS, *EVENTS_OF_PODS) for event in self._by_index(kind, index)]

    def workloads_of(self, namespace: str, uid: str) -> list[Object]:
        """Return what Kueue has made of a Job."""
        return self._by_index(WORKLOADS, of_uid(namespace, uid))

    def names(self, resource: Resource) -> list[Name]:
        """Return the names of all objects of the kind, sorted."""
        return sorted(self._entries[resource])

    def objects(self, resource: Resource) -> Iterator[Object]:
        """Return the objects of the kind one by one, each as it is when its turn comes."""
        for name in self.names(resource):
            if (body := self.get(resource, *name)) is not None:
                yield body

    def _by_index(self, resource: Resource, index: str) -> list[Object]:
        entries = self._entries[resource]
        return [entries[name].decoded() for name in sorted(self._indexed.get((resource, index), ()))]

    def put(self, resource: Resource, body: Mapping[str, Any], *, is_own: bool = False) -> bool:
        """Take an object in, unless a newer one of it is known, or its end. Return whether anything is new."""
        metadata = body["metadata"]
        name, uid = (metadata.get("namespace", ""), metadata["name"]), metadata.get("uid", "")
        version, known = _number(metadata.get("resourceVersion")), self._entries[resource].get(name)
        if version <= self._tombstones.get(uid, -1) or (known and known.uid == uid and version <= known.version):
            return False
        if known is not None and known.uid != uid and version < known.version:
            return False
        content = cached_form(resource, body)
        new = _Entry(uid, version, indexes(resource, content), zlib.compress(_encoder.encode(content), 1))
        self._exchange(resource, name, new)
        if resource.kind == EVENTS.kind:
            self._make_room(resource, name[0])
        self.on_change(Change(resource, known.decoded() if known else None, content, is_own))
        return True

    def _make_room(self, resource: Resource, namespace: str) -> None:
        """Drop the oldest event of a namespace that has too many: whoever may write events could fill the memory."""
        names = self._indexed[resource, f"{namespace}/"]
        if len(names) > EVENTS_KEPT:
            self._exchange(resource, min(names, key=lambda name: self._entries[resource][name].version), None)

    def remove(
        self, resource: Resource, namespace: str, name: str, *, uid: str = "", version: int = 0, is_own: bool = False
    ) -> bool:
        """Take an object out, unless there is another one of its name by now. Return whether it was there."""
        if uid:
            self._remember(uid, version)
        known = self._entries[resource].get((namespace, name))
        if known is None or (uid and known.uid != uid) or (version and version < known.version):
            # The end of an older one: a selector that it did not match for a while says so, too.
            return False
        self._remember(known.uid, known.version)
        self._exchange(resource, (namespace, name), None)
        self.on_change(Change(resource, known.decoded(), None, is_own))
        return True

    def replace(self, resource: Resource, namespace: str | None, listed: Iterable[Name], version: int) -> None:
        """End a listing at ``version``: what was known in its scope, is older, and was not listed, is gone."""
        there = set(listed)
        gone = [
            (name, entry)
            for name, entry in self._entries[resource].items()
            if name not in there and namespace in (None, name[0]) and entry.version <= version
        ]
        for name, entry in gone:
            self.remove(resource, *name, uid=entry.uid, version=entry.version)
        self._synced.add((resource, namespace))
        self._problems.pop((resource, namespace), None)

    def fail(self, resource: Resource, namespace: str | None, problem: str, *, is_closed: bool = False) -> None:
        """Remember why a kind can't be listed or watched now; what is known of it stays.

        ``is_closed``: it is not there, or not to be read by us. What is known of it is not to be decided from then.
        """
        self._problems[resource, namespace] = problem
        if is_closed:
            self._synced.discard((resource, namespace))

    def is_synced(self, resource: Resource, namespace: str) -> bool:
        """Whether all objects of the kind in the namespace were listed at least once."""
        return (resource, None) in self._synced or (resource, namespace) in self._synced

    def problem(self, resource: Resource, namespace: str) -> str:
        """Return why the kind can't be read in the namespace at the moment; empty where it can."""
        return self._problems.get((resource, namespace)) or self._problems.get((resource, None), "")

    def _exchange(self, resource: Resource, name: Name, new: _Entry | None) -> None:
        old = self._entries[resource].pop(name, None)
        for index in old.indexes if old is not None else ():
            names = self._indexed[resource, index]
            names.discard(name)
            if not names:
                del self._indexed[resource, index]
        if new is not None:
            self._entries[resource][name] = new
            for index in new.indexes:
                self._indexed[resource, index].add(name)

    def _remember(self, uid: str, version: int) -> None:
        self._tombstones[uid] = max(version, self._tombstones.pop(uid, 0))
        if len(self._tombstones) > TOMBSTONES_KEPT:
            del self._tombstones[next(iter(self._tombstones))]


def _number(version: Any) -> int:
    """Return a resourceVersion as a number: of one kind they can be compared (KEP-5504)."""
    return int(version) if isinstance(version, str) and version.isascii() and version.isdigit() else 0
