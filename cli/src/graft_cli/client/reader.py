"""Reading bases and adapters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from graft_cli.client.connection import TIMEOUT, Connection, translated
from graft_cli.client.objects import ADAPTERS, API, BASES, KINDS, Adapter, Base

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
        with translated(f"read {KINDS[plural]} {namespace}/{name}"):
            return self._objects.get_namespaced_custom_object(
                **API, namespace=namespace, plural=plural, name=name, _request_timeout=TIMEOUT
            )

    def _list(self, plural: str, namespace: str | None) -> Iterator[Any]:
        for answer in self.pages(plural, namespace):
            yield from answer.get("items", ())

    def pages(self, plural: str, namespace: str | None) -> Iterator[Any]:
        """Yield the objects of a kind as the API server lists them, some hundred at a time."""
        where = f"in namespace {namespace}" if namespace else "in all namespaces"
        page: dict[str, Any] = {"limit": PAGE, "_request_timeout": TIMEOUT}
        while True:
            with translated(f"list {plural} {where}"):
                listing, place = self.listing(namespace)
                answer = listing(**API, **place, plural=plural, **page)
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
