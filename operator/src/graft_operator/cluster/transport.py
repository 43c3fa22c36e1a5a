"""One HTTP request to the Kubernetes API: authentication, timeout, metrics, error mapping.

`ApiClient.call_api` is used with raw paths rather than the typed API classes: those validate bodies against the
client's own schema and drop unknown fields on reads, so a newer pod field in a user's template would be lost.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.exceptions import ApiException

from graft_operator.cluster.errors import Conflict, Unavailable, error_from_response, is_failed_test
from graft_operator.telemetry import metrics

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
# JSON is valid YAML, and this is the content type of server-side apply that every supported server knows.
APPLY_PATCH = "application/apply-patch+yaml"

REQUEST_TIMEOUT_SECONDS = 30.0

_ANSWER_TYPES = {200: "object", 201: "object", 202: "object"}


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
    ) -> dict[str, Any]:
        """Send one request and return the JSON object of the answer.

        `verb` and `resource` only label the metrics. Raises a ClusterError of `cluster.errors`.
        """
        call = self._api.call_api(
            path,
            method,
            query_params=list((query or {}).items()),
            header_params={"Accept": JSON, "Content-Type": content_type},
            body=body,
            response_types_map=_ANSWER_TYPES,
            auth_settings=["BearerToken"],
            _request_timeout=REQUEST_TIMEOUT_SECONDS,
        )
        try:
            answer = await _measured(call, verb, resource)
        except ApiException as error:
            if content_type == JSON_PATCH and is_failed_test(error.status, error.body):
                raise Conflict(f"{method} {path}: the object changed since it was read") from error
            raise error_from_response(f"{method} {path}", error.status, error.body) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{method} {path}: no answer: {error or type(error).__name__}") from error
        if not isinstance(answer, dict):
            raise Unavailable(f"{method} {path}: the answer is not a JSON object")
        return answer


async def _measured(call: Awaitable[tuple[Any, int, Any]], verb: str, resource: str) -> Any:
    """Wait for the answer, count it by its code, or 0 where there is none, and return it."""
    code = 0
    started = asyncio.get_running_loop().time()
    try:
        answer, code, _ = await call
    except ApiException as error:
        code = error.status
        raise
    finally:
        metrics.API_REQUESTS.labels(verb, resource, str(code)).inc()
        metrics.API_REQUEST_SECONDS.labels(verb).observe(asyncio.get_running_loop().time() - started)
    return answer


@asynccontextmanager
async def open_transport() -> AsyncIterator[Transport]:
    """Connect with the pod's service account or, outside a cluster, with the kubeconfig (`KUBECONFIG`)."""
    configuration = Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        # The client reads the variable at its import only.
        path = os.environ.get("KUBECONFIG")
        await config.load_kube_config(path, client_configuration=configuration, persist_config=False)
    async with ApiClient(configuration) as api:
        yield Transport(api)
