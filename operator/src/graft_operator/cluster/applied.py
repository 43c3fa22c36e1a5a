"""A memo of applies, so that applying the same object again costs no request."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from graft_operator.cluster.resources import Resource

MAX_AGE_SECONDS = 600.0
"""An apply is repeated after this time in any case, as a safety net."""
MAX_ENTRIES = 20_000


@dataclass(frozen=True, slots=True)
class _Applied:
    digest: str
    uid: str
    resource_version: str
    at: float


class AppliedMemo:
    """Remembers, per object, what was applied and the resourceVersion that resulted.

    An apply may be skipped if the same body was applied before and the live object has not been written since, by
    anyone: then it would be a no-op. The memo is lost on restart, which costs one no-op apply per object.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: OrderedDict[tuple[str, str, str, str], _Applied] = OrderedDict()

    def makes_needless(self, resource: Resource, body: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
        """Tell whether applying `body` over `live`, a fresh read of the same object, would change nothing."""
        entry = self._entries.get(_key(resource, body))
        return (
            entry is not None
            and entry.digest == _digest(body)
            and entry.uid == live["metadata"]["uid"]
            and entry.resource_version == live["metadata"]["resourceVersion"]
            and self._clock() - entry.at < MAX_AGE_SECONDS
        )

    def record(self, resource: Resource, body: Mapping[str, Any], applied: Mapping[str, Any]) -> None:
        """Remember that applying `body` resulted in the object `applied`."""
        key = _key(resource, body)
        metadata = applied["metadata"]
        self._entries[key] = _Applied(_digest(body), metadata["uid"], metadata["resourceVersion"], self._clock())
        self._entries.move_to_end(key)
        if len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)


def _key(resource: Resource, body: Mapping[str, Any]) -> tuple[str, str, str, str]:
    metadata = body["metadata"]
    return resource.group, resource.plural, metadata.get("namespace", ""), metadata["name"]


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
