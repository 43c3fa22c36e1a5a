"""Pods and their logs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from graft_cli.client.connection import TIMEOUT, Connection, translated
from graft_cli.errors import GraftError
from graft_operator.manifests.naming import STATE_PORT

JOB_NAME: Final = "batch.kubernetes.io/job-name"

LINE_BYTES: Final = 1 << 20
"""Of one line that is kept in memory until it ends."""

STATE_BYTES: Final = 4 * 1024 * 1024
"""Of an agent's document; the operator reads no larger one, either."""
STATE_TIMEOUT: Final = (5, 10)

TEMPLATE_LABEL: Final = "pod-template-hash"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, and the containers that it has."""

    namespace: str
    name: str
    phase: str
    containers: tuple[str, ...]
    is_ready: bool = False
    """Whether it gets requests, and is not on its way out."""
    template: str = ""
    """Pods of one template run the same; empty where no Deployment has made it."""
    node: str = ""
    job: str = ""
    """The Job that it belongs to."""


def pods(connection: Connection, namespace: str, selector: str) -> list[Pod]:
    """Return the pods with these labels, the oldest first. Raises Forbidden, Unreachable."""
    from kubernetes.client import CoreV1Api

    with translated(f"list pods in namespace {namespace}"):
        found = CoreV1Api(connection.api).list_namespaced_pod(
            namespace, label_selector=selector, _request_timeout=TIMEOUT
        )
    by_age = sorted(found.items, key=lambda item: item.metadata.creation_timestamp)
    return [_pod(item) for item in by_age]


def one_of_each_first(found: Iterable[Pod]) -> list[Pod]:
    """Return the pods that are ready, those first of which each is of another template."""
    seen: Counter[str] = Counter()
    ranked = []
    for pod in found:
        if pod.is_ready:
            ranked.append((seen[pod.template], pod))
            seen[pod.template] += 1
    return [pod for _, pod in sorted(ranked, key=lambda entry: entry[0])]


def log_lines(
    connection: Connection, pod: Pod, container: str, *, follow: bool, tail: int | None, most: int | None = None
) -> Iterator[str]:
    """Yield the lines of a container's log, of ``most`` bytes at most; with ``follow`` until it ends.

    Raises NotFound, Forbidden, Unreachable.
    """
    from kubernetes.client import CoreV1Api

    chosen = {"tail_lines": tail, "limit_bytes": most}
    options: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    timeout = (TIMEOUT[0], None if follow else TIMEOUT[1])
    with translated(f"read the log of pod {pod.namespace}/{pod.name}"):
        response = CoreV1Api(connection.api).read_namespaced_pod_log(
            pod.name,
            pod.namespace,
            container=container,
            follow=follow,
            _preload_content=False,
            _request_timeout=timeout,
            **options,
        )
        try:
            yield from (line.decode(errors="replace") for line in lines_of(response.stream(amt=None)))
        finally:
            response.close()


def lines_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream; one that does not end comes in pieces."""
    pieces: list[bytes] = []
    size = 0
    for chunk in chunks:
        *ended, last = chunk.split(b"\n")
        for line in ended:
            yield b"".join((*pieces, line))
            pieces, size = [], 0
        pieces.append(last)
        size += len(last)
        if size > LINE_BYTES:
            yield b"".join(pieces)
            pieces, size = [], 0
    if size:
        yield b"".join(pieces)


def agent_state(connection: Connection, pod: Pod, port: int = STATE_PORT) -> Any:
    """Return what the pod's agent tells of itself, through the API server. Raises GraftError.

    It is what a pod has answered: plain JSON of any shape.
    """
    from kubernetes.client import CoreV1Api

    what = f"ask pod {pod.namespace}/{pod.name} what it holds"
    with translated(what):
        response = CoreV1Api(connection.api).connect_get_namespaced_pod_proxy_with_path(
            f"{pod.name}:{port}", pod.namespace, "state", _preload_content=False, _request_timeout=STATE_TIMEOUT
        )
        try:
            content = response.read(STATE_BYTES + 1)
        finally:
            response.close()
    if len(content) > STATE_BYTES:
        raise GraftError(f"can't {what}: its answer has more than {STATE_BYTES} bytes")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise GraftError(f"can't {what}: its answer is no JSON") from error


def _pod(item: Any) -> Pod:
    names = tuple(container.name for container in item.spec.containers)
    labels = item.metadata.labels or {}
    conditions = {condition.type: condition.status for condition in item.status.conditions or ()}
    return Pod(
        item.metadata.namespace,
        item.metadata.name,
        item.status.phase or "Unknown",
        names,
        is_ready=conditions.get("Ready") == "True" and item.metadata.deletion_timestamp is None,
        template=labels.get(TEMPLATE_LABEL, ""),
        node=item.spec.node_name or "",
        job=labels.get(JOB_NAME, ""),
    )
