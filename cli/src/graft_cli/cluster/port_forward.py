"""A way into a pod, by the person's own right to forward ports: network policies and services stay out of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any, Final

from graft_cli.client.connection import Connection, answered, message_of, root_cause
from graft_cli.cluster.workloads import Pod
from graft_cli.errors import GraftError, Unreachable

_opening: Final = threading.Lock()
"""The Kubernetes client replaces a method of its own while it opens one."""


@contextmanager
def forwarded(connection: Connection, pod: Pod, port: int, *, seconds: float) -> Iterator[HTTPConnection]:
    """Yield an HTTP connection to a port of a pod. Raises NotFound, Forbidden, and Unreachable for its OSErrors."""
    what = f"forward port {port} of pod {pod.namespace}/{pod.name}"
    tunnel = _opened(connection, pod, port, what)
    way = HTTPConnection(pod.name, port)
    way.sock = tunnel.socket(port)
    way.sock.settimeout(seconds)
    try:
        yield way
    except OSError as error:
        reason = tunnel.error(port) or root_cause(error)
        raise Unreachable(
            f"can't {what}: {reason}", fix="`kubectl graft status` tells whether the pod answers"
        ) from error
    finally:
        way.close()
        tunnel.close()


def _opened(connection: Connection, pod: Pod, port: int, what: str) -> Any:
    from kubernetes.client import CoreV1Api
    from kubernetes.client.exceptions import ApiException
    from kubernetes.stream import portforward

    try:
        with _opening:
            return portforward(
                CoreV1Api(connection.api).connect_get_namespaced_pod_portforward,
                pod.name,
                pod.namespace,
                ports=str(port),
            )
    except (ApiException, AttributeError) as error:  # the latter where the client looks for the body of its own error
        raise _refused(what, error) from error


def _refused(what: str, error: BaseException) -> GraftError:
    """Return the error of a connection that was not opened: the answer is in what the client's error was caused by."""
    chain = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(before)
    answer = next((item for item in chain if hasattr(item, "status_code")), None)
    if answer is None:
        return Unreachable(f"can't {what}: {chain[-1]}", fix="see whether `kubectl cluster-info` works")
    status, body = getattr(answer, "status_code", None), getattr(answer, "resp_body", None)
    return answered(what, status, message_of(body) or f"status {status}")
