"""Which served version is looked up next, to notice that one has vanished from the registry or was damaged."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

_OF_ONE_ADAPTER = 2
"""The version that is served, and the one before it while they take over from one another."""


@dataclass(frozen=True, slots=True)
class Served:
    """A version that is served."""

    namespace: str
    adapter: str
    number: int
    digest: str


class Audit:
    """The served versions in round-robin order, at most two of each adapter."""

    def __init__(self) -> None:
        self._served: OrderedDict[tuple[str, str], OrderedDict[int, str]] = OrderedDict()

    def register(self, namespace: str, adapter: str, number: int, digest: str) -> None:
        """Let a version take its turns. The newest two of an adapter do."""
        versions = self._served.setdefault((namespace, adapter), OrderedDict())
        versions[number] = digest
        if len(versions) > _OF_ONE_ADAPTER:
            versions.popitem(last=False)

    def forget(self, namespace: str, adapter: str) -> None:
        """Let none of an adapter's versions take a turn any more."""
        self._served.pop((namespace, adapter), None)

    def next(self) -> Served | None:
        """Return the version whose turn it is, None where none is served."""
        if not self._served:
            return None
        (namespace, adapter), versions = next(iter(self._served.items()))
        self._served.move_to_end((namespace, adapter))
        number, digest = next(iter(versions.items()))
        versions.move_to_end(number)
        return Served(namespace, adapter, number, digest)
