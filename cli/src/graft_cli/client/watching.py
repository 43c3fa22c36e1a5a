"""Objects that are kept up to date by watches: whoever looks often asks the API server for changes alone."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Generic, Self, TypeVar

from graft_cli.client.connection import TIMEOUT, translated
from graft_cli.client.objects import ADAPTERS, API, BASES, KINDS, Adapter, Base
from graft_cli.client.reader import ClusterReader, GraftReader
from graft_cli.errors import GraftError, NotFound, Unreachable

WATCH_SECONDS: Final = 20
"""Length of one watch."""
WATCH_TIMEOUT: Final = (TIMEOUT[0], WATCH_SECONDS + 5)
"""Seconds to connect, and between two bytes: so soon it is seen that the API server has gone without a word."""
PAUSE_SECONDS: Final = 2.0
"""Between two tries. Who may list and not watch has the objects listed as often."""

Thing = TypeVar("Thing", Adapter, Base)


class WatchedGraft(GraftReader):
    """The bases and adapters of a namespace (None: of all), as the API server has told of them by now.

        with WatchedGraft(connect(), "team-a") as graft:
            graft.adapters()                # costs the API server nothing, as often as it is called

    An adapter that has not changed is the same object in every answer. While the API server can't be asked, every
    method raises why: nobody takes for new what may be old.
    """

    def __init__(self, reader: ClusterReader, namespace: str | None) -> None:
        self._namespace = namespace
        self._followed_adapters = _Followed(reader, ADAPTERS, namespace, Adapter)
        self._followed_bases = _Followed(reader, BASES, namespace, Base)

    def __enter__(self) -> Self:
        """List everything once, and begin to watch. Raises Forbidden and Unreachable."""
        for followed in (self._followed_adapters, self._followed_bases):
            followed.begin()
        return self

    def __exit__(self, *_: object) -> None:
        """Watch no longer."""
        for followed in (self._followed_adapters, self._followed_bases):
            followed.end()

    def adapters(self, namespace: str | None = None) -> list[Adapter]:
        """Return the adapters, by namespace and name."""
        return self._followed_adapters.all(namespace)

    def bases(self, namespace: str | None = None) -> list[Base]:
        """Return the bases, by namespace and name."""
        return self._followed_bases.all(namespace)

    def _get(self, plural: str, namespace: str, name: str) -> Mapping[str, Any]:
        for item in self._list(plural, namespace):
            if item["metadata"]["name"] == name:
                return item
        raise NotFound(f'can\'t read {KINDS[plural]} {namespace}/{name}: {plural} "{name}" not found')

    def _list(self, plural: str, namespace: str | None) -> list[Mapping[str, Any]]:
        found: list[Adapter] | list[Base] = self.adapters(namespace) if plural == ADAPTERS else self.bases(namespace)
        return [item.raw for item in found]


class _Followed(Generic[Thing]):
    """The objects of one kind: listed once, then watched, and listed again whenever the watch breaks."""

    def __init__(self, reader: ClusterReader, plural: str, namespace: str | None, kind: type[Thing]) -> None:
        self._reader, self._plural, self._namespace = reader, plural, namespace
        self._kind: type[Thing] = kind
        self._known: dict[tuple[str, str], Thing] = {}
        self._problem: GraftError | None = Unreachable(f"{plural} have not been listed yet")
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def begin(self) -> None:
        version = self._relist()
        name = f"watch {self._plural}"
        threading.Thread(target=self._follow, args=(version,), name=name, daemon=True).start()

    def end(self) -> None:
        self._ended.set()

    def all(self, namespace: str | None) -> list[Thing]:
        with self._lock:
            if self._problem is not None:
                raise self._problem
            return [self._known[key] for key in sorted(self._known) if namespace in (None, key[0])]

    def _follow(self, version: str) -> None:
        while not self._ended.is_set():
            with suppress(Exception):  # why a watch broke is what the list that follows tells
                while not self._ended.is_set():
                    version = self._watch(version)
            version = self._relist_at_last() or version

    def _relist_at_last(self) -> str:
        """List until it succeeds, or nobody wants to know any more."""
        while not self._ended.wait(PAUSE_SECONDS):
            try:
                return self._relist()
            except GraftError as error:
                problem = error
            except Exception as error:  # noqa: BLE001 -- or nobody would ask any more, and old objects pass for new
                problem = GraftError(f"can't list {self._plural}: {type(error).__name__}: {error}")
            with self._lock:
                self._problem = problem
        return ""

    def _relist(self) -> str:
        """List all objects, and return the version of the list. Raises GraftError."""
        known: dict[tuple[str, str], Thing] = {}
        version = ""
        for page in self._reader.pages(self._plural, self._namespace):
            version = page["metadata"]["resourceVersion"]
            known |= {_key(body): self._kind.parse(body) for body in page.get("items") or ()}
        with self._lock:
            self._known, self._problem = known, None
        return version

    def _watch(self, version: str) -> str:
        """Take in what changes for a while, and return the version that is known then. Raises GraftError."""
        from kubernetes.watch import Watch

        listing, place = self._reader.listing(self._namespace)
        options = {"resource_version": version, "allow_watch_bookmarks": True, "timeout_seconds": WATCH_SECONDS}
        with translated(f"watch {self._plural}"):
            events = Watch().stream(
                listing, **API, **place, plural=self._plural, _request_timeout=WATCH_TIMEOUT, **options
            )
            for event in events:
                version = self._take(event["type"], event["raw_object"])
                if self._ended.is_set():
                    break
        return version

    def _take(self, kind: str, body: Mapping[str, Any]) -> str:
        """Take one event in, and return the version that it tells."""
        with self._lock:
            if kind == "DELETED":
                self._known.pop(_key(body), None)
            elif kind in ("ADDED", "MODIFIED"):
                self._known[_key(body)] = self._kind.parse(body)
        return str(body["metadata"]["resourceVersion"])


def _key(body: Mapping[str, Any]) -> tuple[str, str]:
    return body["metadata"]["namespace"], body["metadata"]["name"]
