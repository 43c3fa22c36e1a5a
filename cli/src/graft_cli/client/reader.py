"""Reading bases and adapters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from graft_cli.client.connection import TIMEOUT, Connection, no_answer_of_the_api, translated
from graft_cli.client.objects import ADAPTERS, API, BASES, KINDS, Adapter, Base
from graft_cli.errors import Gone, NotFound

PAGE: Final = 500


class GraftReader(ABC):
    """What can be read; ``namespace`` None stands for all of them."""

    def adapters(self, namespace: str | None = None) -> list[Adapter]:
        """Return the adapters, by namespace and name."""
        return [Adapter.parse(body) for body in self._list(ADAPTERS, namespace)]

    def bases(self, namespace: str | None = None) -> list[Base]:
        """Return the bases, by namespace and name."""
        return [Base.parse(body) for body in self._list(BASES, namespace)]

    def adapter(self, namespace: str, name: str) -> Adapter:
        """Return one adapter. Raises NotFound."""
        return Adapter.parse(self._get(ADAPTERS, namespace, name))

    def base(self, namespace: str, name: str) -> Base:
        """Return one base. Raises NotFound."""
        return Base.parse(self._get(BASES, namespace, name))

    @abstractmethod
    def _get(self, plural: str, namespace: str, name: str) -> Mapping[str, Any]:
        """Return one object as it stands in YAML. Raises NotFound."""

    @abstractmethod
    def _list(self, plural: str, namespace: str | None) -> Iterable[Mapping[str, Any]]:
        """Return the objects of a kind, by namespace and name."""


class ClusterReader(GraftReader):
    """Reads from a cluster. Every method raises Forbidden and Unreachable, too."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def _get(self, plural: str, namespace: str, name: str) -> Any:
        what = f"read {KINDS[plural]} {namespace}/{name}"
        if not name:  # or the list would be read
            raise NotFound(f"can't {what}: a name is missing", fix="see `kubectl graft status`")
        with translated(what):
            found = self._objects.get_namespaced_custom_object(
                **API, namespace=namespace, plural=plural, name=name, _request_timeout=TIMEOUT
            )
        if not isinstance(found, Mapping) or "name" not in (found.get("metadata") or {}):
            raise no_answer_of_the_api(what)
        return found

    def _list(self, plural: str, namespace: str | None) -> Iterator[Any]:
        for answer in self.pages(plural, namespace):
            yield from answer.get("items") or ()

    def pages(self, plural: str, namespace: str | None) -> list[Any]:
        """Return the objects of a kind as the API server lists them, some hundred at a time.

        A list that takes longer than the API server remembers its state is asked for again, as a whole.
        """
        try:
            return list(self._pages(plural, namespace, {"limit": PAGE}))
        except Gone:
            return list(self._pages(plural, namespace, {}))

    def _pages(self, plural: str, namespace: str | None, page: dict[str, Any]) -> Iterator[Any]:
        what = f"list {plural} {f'in namespace {namespace}' if namespace else 'in all namespaces'}"
        while True:
            with translated(what):
                listing, place = self.listing(namespace)
                answer = listing(**API, **place, plural=plural, _request_timeout=TIMEOUT, **page)
            if not isinstance(answer, Mapping) or not isinstance(answer.get("metadata"), Mapping):
                raise no_answer_of_the_api(what)
            yield answer
            token = answer["metadata"].get("continue")
            if not token:
                return
            page["_continue"] = token

    def listing(self, namespace: str | None) -> tuple[Callable[..., Any], dict[str, str]]:
        """Return the client's function that lists or watches a kind, and what tells it where."""
        if namespace:
            return self._objects.list_namespaced_custom_object, {"namespace": namespace}
        return self._objects.list_cluster_custom_object, {}

    @property
    def _objects(self) -> Any:
        from kubernetes.client import CustomObjectsApi

        return CustomObjectsApi(self.connection.api)
