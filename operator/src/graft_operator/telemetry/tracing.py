"""Traces: one span for each pass over an object, with an event for each action that has changed something.

Where no endpoint is set, nothing of OpenTelemetry is loaded, and a pass costs one look at a variable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

FAILED: Final = frozenset({"error", "timeout"})
"""Results of passes whose spans have the status Error: the others are in the course of things."""

_span: ContextVar[Span | None] = ContextVar("span", default=None)


@dataclass(slots=True)
class _Switch:
    """The process' one tracer, once it has been asked for."""

    tracer: Tracer | None = None


_switch: Final = _Switch()


@dataclass(slots=True)
class OnePass:
    """What is told of a pass at its end."""

    result: str = "cancelled"


@contextmanager
def one_pass(kind: str, key: str) -> Iterator[OnePass]:
    """Make a span of what is done within, if anybody wants to know; set `result` before its end."""
    made = OnePass()
    if _switch.tracer is None:
        yield made
        return
    from opentelemetry.trace import Status, StatusCode

    namespace, _, name = key.partition("/")
    told = {"graft.kind": kind, "k8s.namespace.name": namespace, "graft.name": name}
    with _switch.tracer.start_as_current_span(f"reconcile {kind}", attributes=told) as span:
        before = _span.set(span)
        try:
            yield made
        finally:
            _span.reset(before)
            span.set_attribute("graft.result", made.result)
            if made.result in FAILED:
                span.set_status(Status(StatusCode.ERROR))


def acted(action: str, kind: str = "", name: str = "") -> None:
    """Tell the pass' span of an action that has changed something; outside of one nobody is told."""
    if (span := _span.get()) is not None:
        span.add_event(action, {"k8s.object.kind": kind, "k8s.object.name": name} if kind else {})


@contextmanager
def sent_to(
    endpoint: str | None, *, sample_ratio: float = 1.0, identity: str = "", exporter: SpanExporter | None = None
) -> Iterator[None]:
    """Send spans by OTLP over HTTP to `endpoint` + `/v1/traces`, or to `exporter`, until the block ends."""
    if endpoint is None:
        yield
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    resource = Resource.create({"service.name": "graft-operator", "service.instance.id": identity})
    sampler = ParentBased(TraceIdRatioBased(sample_ratio))
    provider = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
    sends_to = exporter or OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(sends_to))
    _switch.tracer = provider.get_tracer("graft_operator")
    try:
        yield
    finally:
        _switch.tracer = None
        provider.shutdown()
