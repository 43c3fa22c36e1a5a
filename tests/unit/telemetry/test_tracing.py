"""One span for each pass of the operator, with what it has changed."""

from __future__ import annotations

import subprocess
import sys

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from graft_operator.telemetry import tracing


def test_a_pass_is_a_span_with_its_actions_as_events() -> None:
    exporter = InMemorySpanExporter()
    with tracing.sent_to("http://collector:4318", identity="operator-1", exporter=exporter):
        with tracing.one_pass("LoraAdapter", "team-a/support") as span:
            tracing.acted("CreateJob", "Job", "support-train-1")
            tracing.acted("EmitEvent")
            span.result = "success"
        with tracing.one_pass("BaseModel", "team-a/tiny") as span:
            span.result = "error"
    first, second = exporter.get_finished_spans()
    assert first.name == "reconcile LoraAdapter"
    assert dict(first.attributes or {}) == {
        "graft.kind": "LoraAdapter",
        "k8s.namespace.name": "team-a",
        "graft.name": "support",
        "graft.result": "success",
    }
    assert [(event.name, dict(event.attributes or {})) for event in first.events] == [
        ("CreateJob", {"k8s.object.kind": "Job", "k8s.object.name": "support-train-1"}),
        ("EmitEvent", {}),
    ]
    assert first.status.status_code is StatusCode.UNSET
    assert first.resource.attributes["service.name"] == "graft-operator"
    assert second.status.status_code is StatusCode.ERROR
    assert first.context is not None
    assert second.context is not None
    assert first.context.trace_id != second.context.trace_id


def test_a_part_of_the_passes_is_kept_where_that_is_asked_for() -> None:
    exporter = InMemorySpanExporter()
    with (
        tracing.sent_to("http://collector:4318", sample_ratio=0.0, exporter=exporter),
        tracing.one_pass("LoraAdapter", "team-a/support") as span,
    ):
        tracing.acted("CreateJob", "Job", "support-train-1")
        span.result = "success"
    assert exporter.get_finished_spans() == ()


def test_without_an_endpoint_nothing_is_loaded_and_nobody_told() -> None:
    program = """
import sys
from graft_operator.telemetry import tracing
with tracing.sent_to(None), tracing.one_pass("LoraAdapter", "a/b") as span:
    tracing.acted("CreateJob", "Job", "x")
    span.result = "success"
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
