"""A reader of objects in memory, for the tests of programs that use the client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from graft_cli.client.objects import KINDS
from graft_cli.client.reader import GraftReader
from graft_cli.errors import NotFound


class FakeGraft(GraftReader):
    """Holds objects as they stand in YAML; what only a cluster would fill in, such as a uid, may be missing."""

    def __init__(self, objects: Iterable[Mapping[str, Any]] = ()) -> None:
        self._objects = {_key(body): _filled(body) for body in objects}

    def put(self, body: Mapping[str, Any]) -> None:
        """Add an object, or replace the one of its name."""
        self._objects[_key(body)] = _filled(body)

    def _get(self, plural: str, namespace: str, name: str) -> dict[str, Any]:
        found = self._objects.get((KINDS[plural], namespace, name))
        if found is None:
            raise NotFound(f'can\'t read {KINDS[plural]} {namespace}/{name}: {plural} "{name}" not found')
        return found

    def _list(self, plural: str, namespace: str | None) -> list[dict[str, Any]]:
        kind = KINDS[plural]
        keys = sorted(key for key in self._objects if key[0] == kind and namespace in (None, key[1]))
        return [self._objects[key] for key in keys]


def _key(body: Mapping[str, Any]) -> tuple[str, str, str]:
    metadata = body["metadata"]
    return body["kind"], metadata.get("namespace", "default"), metadata["name"]


def _filled(body: Mapping[str, Any]) -> dict[str, Any]:
    kind, namespace, name = _key(body)
    metadata = {"namespace": namespace, "uid": f"uid-of-{name}", "generation": 1} | dict(body["metadata"])
    return dict(body) | {"kind": kind, "metadata": metadata}
