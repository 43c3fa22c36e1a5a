"""Writes of Kubernetes objects, as plain dicts, and the few reads that the cache is not for."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, Final

from graft_operator.cluster.cache import Cache
from graft_operator.cluster.errors import Conflict, NotFound
from graft_operator.cluster.events import EventPoster, event_about
from graft_operator.cluster.resources import EVENTS, LEASES, Resource
from graft_operator.cluster.transport import APPLY_PATCH, JSON_PATCH, Transport, open_transport

Object = dict[str, Any]
"""A Kubernetes object as parsed JSON."""
Objects = list[Object]
JsonPatch = list[dict[str, Any]]
"""Operations of an RFC 6902 patch."""

FIELD_MANAGER: Final = "graft-operator"
LIST_CHUNK: Final = 500
UNCACHED: Final = frozenset({EVENTS, LEASES})
"""Kinds of which nobody reads what we have written."""


class Cluster:
    """The API server. Every method may raise the errors of `cluster.errors`; those listed are to be expected.

    What a write has made of an object is in the cache before the call returns, so that nobody decides from what was
    there before; only an object that is deleted at once stays there until its watch says so. Each write, but for
    those of the Lease itself and of events, which tell what has been, is made inside of `requesting`, which raises
    where this process may not write any more.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        identity: str = FIELD_MANAGER,
        cache: Cache | None = None,
    ) -> None:
        self.transport = transport
        self.requesting: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
        self._identity = identity
        self.events = EventPoster(self._post_event)
        self._cache = Cache() if cache is None else cache  # an empty one is one

    @classmethod
    @asynccontextmanager
    async def connect(cls, *, identity: str, cache: Cache | None = None) -> "AsyncIterator[Cluster]":
        """Open a connection pool. `identity` names this process as the reporter of events."""
        async with open_transport() as transport:
            yield cls(transport, identity=identity, cache=cache)

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """Return the live object, or None if there is none."""
        try:
            return await self.transport.request("get", "GET", resource.path(namespace, name), resource=resource.plural)
        except NotFound:
            return None

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> Objects:
        """Return the live objects of one namespace, or of all. Items carry `apiVersion` and `kind`, as from `get`."""
        query = {"limit": str(LIST_CHUNK)}
        if label_selector is not None:
            query["labelSelector"] = label_selector
        if field_selector is not None:
            query["fieldSelector"] = field_selector
        found: Objects = []
        while True:
            chunk = await self.transport.request(
                "list", "GET", resource.path(namespace), resource=resource.plural, query=query
            )
            # The server leaves the type of an item to the list's own kind.
            found += [
                {"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in chunk.get("items") or ()
            ]
            token = chunk.get("metadata", {}).get("continue")
            if not token:
                return found
            query["continue"] = token

    async def create(self, resource: Resource, body: Mapping[str, Any]) -> Object:
        """Create the object. Raises AlreadyExists, Invalid, Forbidden; NotFound if the namespace is missing."""
        return await self._write(
            "create",
            "POST",
            resource,
            resource.path(body["metadata"].get("namespace")),
            query={"fieldManager": FIELD_MANAGER},
            body=body,
        )

    async def apply(self, resource: Resource, body: Mapping[str, Any]) -> Object:
        """Create or update by server-side apply. `body` is the whole object as we want it to be.

        Fields that an earlier apply set and this one leaves out are removed; fields of others stay. An apply that
        changes nothing keeps the resourceVersion, so it causes no event.

        Raises Invalid, Forbidden; Conflict if `body` has a uid or resourceVersion that is not the live one.
        """
        return await self._patch_by_apply("apply", resource, body)

    async def apply_status(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        status: Mapping[str, Any],
        *,
        uid: str | None = None,
        version: str | None = None,
    ) -> Object:
        """Set the whole status of an existing object by server-side apply.

        Pass `uid` so that a status computed for an object never lands on a namesake created after its deletion, and
        `version`, the resourceVersion that it was decided from, so that it never lands on what others have written
        since. Raises NotFound; Conflict if either is another; Invalid.
        """
        metadata = {"name": name}
        if namespace is not None:
            metadata["namespace"] = namespace
        if uid is not None:
            metadata["uid"] = uid
        if version is not None:
            metadata["resourceVersion"] = version
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": metadata,
            "status": dict(status),
        }
        return await self._patch_by_apply("apply_status", resource, body, subresource="status")

    async def patch_json(self, resource: Resource, namespace: str | None, name: str, ops: JsonPatch) -> Object:
        """Apply an RFC 6902 patch. Raises NotFound; Conflict if a `test` does not hold; Invalid."""
        return await self._write(
            "patch",
            "PATCH",
            resource,
            resource.path(namespace, name),
            query={"fieldManager": FIELD_MANAGER},
            body=ops,
            content_type=JSON_PATCH,
        )

    async def replace(self, resource: Resource, body: Mapping[str, Any]) -> Object:
        """Write the whole object as it is in `body`. Raises Conflict if its resourceVersion is not the live one."""
        metadata = body["metadata"]
        return await self._write(
            "update",
            "PUT",
            resource,
            resource.path(metadata.get("namespace"), metadata["name"]),
            query={"fieldManager": FIELD_MANAGER},
            body=body,
        )

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        propagation: str = "Background",
    ) -> bool:
        """Ask for the object's deletion. Return False if the object, or the one with this `uid`, is gone already."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            await self._write("delete", "DELETE", resource, resource.path(namespace, name), body=options)
        except NotFound:
            self._cache.remove(resource, namespace or "", name, uid=uid or "", is_own=True)
            return False
        except Conflict:
            if uid is None:
                raise
            return False
        return True

    def record_event(
        self, regarding: Mapping[str, Any], *, reason: str, message: str, action: str, warning: bool = False
    ) -> None:
        """Have an event posted about the object `regarding` (with apiVersion, kind and metadata), soon.

        `reason` and `action` are CamelCase. Record on transitions only: nothing aggregates or limits events here.
        """
        event = event_about(regarding, reason=reason, message=message, action=action, warning=warning)
        self.events.put({**event, "reportingController": FIELD_MANAGER, "reportingInstance": self._identity})

    async def _post_event(self, event: Mapping[str, Any]) -> None:
        await self.create(EVENTS, event)

    async def _patch_by_apply(
        self, verb: str, resource: Resource, body: Mapping[str, Any], *, subresource: str | None = None
    ) -> Object:
        metadata = body["metadata"]
        return await self._write(
            verb,
            "PATCH",
            resource,
            resource.path(metadata.get("namespace"), metadata["name"], subresource),
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            body=body,
            content_type=APPLY_PATCH,
        )

    async def _write(self, verb: str, method: str, resource: Resource, path: str, **request: Any) -> Object:
        async with nullcontext() if resource in UNCACHED else self.requesting():
            answer = await self.transport.request(verb, method, path, resource=resource.plural, **request)
        # The answer to a deletion is the object, if something holds it back, or else only a Status.
        if answer.get("kind") == resource.kind and resource not in UNCACHED and "metadata" in answer:
            self._cache.put(resource, answer, is_own=True)
        return answer
