"""Traces of requests: one span for each try. Where nobody asks for traces, nothing of OpenTelemetry is loaded.

The parent of a span is what the client's `traceparent` says, and the span of the try goes on in its place, to the
engine or to another pod: so a request that passes several pods, and vLLM's own spans, are one trace. Nothing of
prompt, answer, key or session is told.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

TRACE_HEADERS: Final = frozenset({"traceparent", "tracestate"})
"""Of the W3C's trace context."""
CANCELLED: Final = "cancelled"
"""Outcome of a try whose client went away."""

Value = str | int | float


class Tried(Protocol):
    """The span of one try."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Trace headers to send instead of those that came; empty where nobody listens: what came is sent on then."""

    def end(self, outcome: str, *, failed: bool, told: Mapping[str, Value | None]) -> None:
        """Say how the try has ended. What is None in `told` is left out."""


class Tracing(Protocol):
    """Makes spans."""

    def tried(self, path: str, headers: Mapping[str, str], *, adapter: str, pod: str) -> AbstractContextManager[Tried]:
        """The span of a try of a request with these headers: `pod` is asked for `adapter`."""

    def shut_down(self) -> None:
        """Send what waits; takes seconds at most."""


class _NoSpan:
    """What is told of a try where nobody listens."""

    headers: Mapping[str, str] = {}

    def end(self, outcome: str, *, failed: bool, told: Mapping[str, Value | None]) -> None:
        """Tell nobody."""


class NoTracing:
    """Makes no spans; what came of trace headers is sent on."""

    def __init__(self) -> None:
        """One span for all: it holds nothing."""
        self._span = nullcontext(_NoSpan())

    def tried(self, path: str, headers: Mapping[str, str], *, adapter: str, pod: str) -> AbstractContextManager[Tried]:
        """A span that nobody is told of."""
        return self._span

    def shut_down(self) -> None:
        """Nothing waits."""


@dataclass(slots=True)
class _Tried:
    """A span that is recorded, or that only carries on a trace which others have decided not to keep."""

    span: "Span"
    headers: dict[str, str] = field(default_factory=dict)
    has_ended: bool = False

    def end(self, outcome: str, *, failed: bool, told: Mapping[str, Value | None]) -> None:
        """Say how the try has ended."""
        from opentelemetry.trace import StatusCode

        self.has_ended = True
        self.span.set_attribute("graft.outcome", outcome)
        for name, value in told.items():
            if value is not None:
                self.span.set_attribute(name, value)
        if failed:
            self.span.set_status(StatusCode.ERROR)
        self.span.end()


class OtlpTracing:
    """Sends spans by OTLP over HTTP, in a thread of its own; they wait in a bounded queue and are dropped beyond it."""

    def __init__(
        self,
        endpoint: str,
        *,
        sample_ratio: float,
        pod: str,
        namespace: str,
        exporter: "Callable[[], SpanExporter] | None" = None,
    ) -> None:
        """Send to `endpoint` + `/v1/traces` the spans of `pod`, or to what `exporter` makes."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        resource = {"service.name": "graft-agent", "k8s.pod.name": pod, "k8s.namespace.name": namespace}
        self._provider = TracerProvider(
            resource=Resource.create(resource),
            sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
            shutdown_on_exit=False,
        )
        sends_to = exporter() if exporter else OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(sends_to))
        self._tracer = self._provider.get_tracer("graft_serving")
        self._context = TraceContextTextMapPropagator()

    @contextmanager
    def tried(self, path: str, headers: Mapping[str, str], *, adapter: str, pod: str) -> Iterator[Tried]:
        """The span of a try."""
        from opentelemetry.trace import SpanKind, set_span_in_context

        span = self._tracer.start_span(
            path,
            context=self._context.extract(headers),
            kind=SpanKind.CLIENT,
            attributes={"graft.adapter": adapter, "graft.pod": pod},
        )
        tried = _Tried(span)
        self._context.inject(tried.headers, set_span_in_context(span))
        try:
            yield tried
        finally:
            if not tried.has_ended:
                tried.end(CANCELLED, failed=False, told={})

    def shut_down(self) -> None:
        """Send what waits."""
        self._provider.shutdown()


def tracing_to(endpoint: str | None, sample_ratio: float, pod: str, namespace: str) -> Tracing:
    """What makes the spans of requests; nothing where there is no endpoint."""
    if endpoint is None:
        return NoTracing()
    return OtlpTracing(endpoint, sample_ratio=sample_ratio, pod=pod, namespace=namespace)
