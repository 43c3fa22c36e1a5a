"""One HTTP request to the Kubernetes API: authentication, timeout, metrics, error mapping.

`ApiClient.call_api` is used with raw paths rather than the typed API classes: those validate bodies against the
client's own schema and drop unknown fields on reads, so a newer pod field in a user's template would be lost.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import msgspec
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.exceptions import ApiException

from graft_operator.cluster.errors import (
    TOO_LARGE,
    ClusterError,
    Conflict,
    TooLarge,
    Unavailable,
    error_from_response,
    is_failed_test,
)
from graft_operator.telemetry import metrics

Decode = Callable[[bytes], Any]
"""Parses JSON. Raises msgspec.DecodeError."""

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
# JSON is valid YAML, and this is the content type of server-side apply that every supported server knows.
APPLY_PATCH = "application/apply-patch+yaml"

REQUEST_TIMEOUT_SECONDS = 30.0
CONNECT_TIMEOUT_SECONDS = 10.0
LARGEST_ANSWER: Final = 8 * 2**20
"""Bytes of one page of a listing, or one event of a watch; an object has at most 1.5 MiB in etcd.

What others have made must not fill the operator's memory: some kinds are listed whoever's the objects are.
"""


class Transport:
    """Sends requests through one connection pool. Safe for concurrent use on one event loop."""

    def __init__(self, api: Any) -> None:
        self._api = api

    async def request(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        resource: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | list[dict[str, Any]] | None = None,
        content_type: str = JSON,
        metadata_only: str = "",
        decode: Decode = msgspec.json.decode,
        largest: int | None = None,
    ) -> dict[str, Any]:
        """Send one request and return the JSON object of the answer, as `decode` reads it.

        `verb` and `resource` only label the metrics. `metadata_only` asks for nothing but metadata: "List" of a
        collection. Raises a ClusterError of `cluster.errors`: TooLarge for more than `largest` bytes.
        """
        request = f"{method} {path}"
        call = self._call(
            method,
            path,
            query=query,
            body=body,
            headers={"Accept": _accept(metadata_only), "Content-Type": content_type},
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS, sock_connect=CONNECT_TIMEOUT_SECONDS),
        )
        try:
            status, content = await _measured(_read(call, request, largest), verb, resource)
        except (aiohttp.ClientError, TimeoutError, OSError, ApiException) as error:
            raise Unavailable(f"{request}: no answer: {error or type(error).__name__}") from error
        if not 200 <= status < 300:
            raise _refusal(request, status, content.decode(errors="replace"), content_type)
        return _json_object(content, request, decode)

    @asynccontextmanager
    async def stream(
        self, path: str, *, resource: str, query: Mapping[str, str], quiet_seconds: float, metadata_only: bool = False
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a watch and yield its lines, until the server ends it.

        Raises Unavailable where it says nothing for ``quiet_seconds``, TooLarge for an event of more than
        LARGEST_ANSWER bytes, and whatever the server answers instead.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS, sock_read=quiet_seconds)
        headers = {"Accept": _accept("Watch" if metadata_only else "")}
        metrics.API_REQUESTS.labels("watch", resource, "").inc()
        response: aiohttp.ClientResponse | None = None
        try:
            response = await self._call("GET", path, query=query, headers=headers, timeout=timeout)
            if response.status != 200:
                raise error_from_response(f"GET {path}", response.status, await response.text(errors="replace"))
            yield _lines(response, f"watch of {path}")
        except (aiohttp.ClientError, TimeoutError, OSError, ApiException) as error:
            raise Unavailable(f"watch of {path}: {error or type(error).__name__}") from error
        finally:
            if response is not None:
                response.close()

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 -- handed on to aiohttp
        body: Any = None,
    ) -> aiohttp.ClientResponse:
        response: aiohttp.ClientResponse = await self._api.call_api(
            path,
            method,
            query_params=list((query or {}).items()),
            header_params=dict(headers),
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=timeout,
        )
        return response


def _refusal(request: str, status: int, text: str, content_type: str) -> ClusterError:
    """Return the error for an answer that is none of success."""
    if content_type == JSON_PATCH and is_failed_test(status, text):
        return Conflict(f"{request}: the object changed since it was read")
    return error_from_response(request, status, text)


def _json_object(content: bytes, request: str, decode: Decode) -> dict[str, Any]:
    """Return the answer's object. Raises Unavailable for anything else, such as a proxy's page."""
    try:
        answer = decode(content)
    except msgspec.DecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise Unavailable(f"{request}: the answer is not a JSON object")
    return answer


def _accept(metadata_only: str) -> str:
    if not metadata_only:
        return JSON
    kind = "PartialObjectMetadataList" if metadata_only == "List" else "PartialObjectMetadata"
    return f"{JSON};as={kind};g=meta.k8s.io;v=v1"


async def _read(call: Awaitable[aiohttp.ClientResponse], request: str, largest: int | None) -> tuple[int, bytes]:
    async with await call as response:
        if largest is None:
            return response.status, await response.read()
        content = bytearray()
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > largest:
                response.close()  # the rest is not read, and the connection of no further use
                raise _too_large(f"{request}: the answer", largest)
        return response.status, bytes(content)


async def _lines(response: aiohttp.ClientResponse, request: str) -> AsyncIterator[bytes]:
    """Yield whole lines. Not ``readline``: that has a limit of its own, below the size of a large object."""
    rest = bytearray()
    async for chunk in response.content.iter_any():
        for position, part in enumerate(chunk.split(b"\n")):
            if position:  # a line has ended before this part
                if line := bytes(rest).strip():
                    yield line
                rest.clear()
            rest += part
            if len(rest) > LARGEST_ANSWER:
                raise _too_large(f"{request}: an event", LARGEST_ANSWER)


def _too_large(what: str, limit: int) -> TooLarge:
    return TooLarge(f"{what} has more than {limit} bytes {TOO_LARGE}")


async def _measured(call: Awaitable[tuple[int, bytes]], verb: str, resource: str) -> tuple[int, bytes]:
    """Wait for the answer, count it by its code, or 0 where there is none, and return it."""
    code = 0
    started = asyncio.get_running_loop().time()
    try:
        code, content = await call
    finally:
        metrics.API_REQUESTS.labels(verb, resource, str(code)).inc()
        metrics.API_REQUEST_SECONDS.labels(verb).observe(asyncio.get_running_loop().time() - started)
    return code, content


@asynccontextmanager
async def open_transport() -> AsyncIterator[Transport]:
    """Connect with the pod's service account or, outside a cluster, with the kubeconfig (`KUBECONFIG`)."""
    configuration = Configuration()
    # Watches stay open, ten or so for each namespace: none may keep a write waiting for a connection.
    configuration.connection_pool_maxsize = 0
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        # The client reads the variable at its import only.
        path = os.environ.get("KUBECONFIG")
        await config.load_kube_config(path, client_configuration=configuration, persist_config=False)
    async with ApiClient(configuration) as api:
        yield Transport(api)
