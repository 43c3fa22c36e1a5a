"""Spans of requests: one for each try, in the client's trace, and nothing where nobody asks for them."""

import asyncio
import gzip
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from tests.serving.conftest import Pod, pod_named
from tests.serving.published import wanted_adapter, wanted_set

from graft_registry.s3.store import ObjectStore
from graft_serving import agent
from graft_serving.telemetry.tracing import OtlpTracing

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Traces:
    """What all pods of a test have sent."""

    def __init__(self) -> None:
        self.exporters: list[InMemorySpanExporter] = []
        self.sample_ratio = 1.0

    def to(self, endpoint: str | None, sample_ratio: float, pod: str, namespace: str) -> OtlpTracing:
        assert (endpoint, sample_ratio) == (None, 1.0), "what agents have by default"
        return OtlpTracing(
            "http://collector:4318",
            sample_ratio=self.sample_ratio,
            pod=pod,
            namespace=namespace,
            exporter=self._exporter,
        )

    def _exporter(self) -> InMemorySpanExporter:
        self.exporters.append(InMemorySpanExporter())
        return self.exporters[-1]

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those of agents that have ended, in the order of their ends."""
        return [span for exporter in self.exporters for span in exporter.get_finished_spans()]

    def attributes(self) -> list[dict[str, object]]:
        return [dict(span.attributes or {}) for span in self.spans]


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> Traces:
    found = Traces()
    monkeypatch.setattr(agent, "tracing_to", found.to)
    return found


def ids_of(traceparent: str) -> tuple[str, str, str]:
    _, trace, span, flags = traceparent.split("-")
    return trace, span, flags


def context_of(span: ReadableSpan) -> tuple[str, str]:
    assert span.context is not None
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


async def served(pod: Pod) -> None:
    pod.want(wanted_set(pod.base, wanted_adapter("support", [pod.publisher.publish("support")])))
    await pod.until_ready()


async def test_a_request_is_a_span_in_the_clients_trace_which_the_engine_goes_on_with(pod: Pod, traces: Traces) -> None:
    async with pod.agent():
        await served(pod)
        sent = {"traceparent": TRACEPARENT, "TraceState": "vendor=1", "X-Graft-Session": "secret-session"}
        answer = await pod.ask("support", headers=sent)
        trace, engine_parent, flags = ids_of(pod.engine.last_headers["traceparent"])
        assert pod.engine.last_headers["tracestate"] == "vendor=1"
    [span] = traces.spans
    assert answer.status == 200
    assert context_of(span) == (TRACE, engine_parent)
    assert (trace, flags) == (TRACE, "01")
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT
    assert span.name == "/v1/completions"
    assert dict(span.attributes or {}) == {
        "graft.adapter": "support",
        "graft.pod": "tiny-0",
        "graft.outcome": "answered",
        "graft.version": "support@v1",
        "http.response.status_code": 200,
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 6,
    }
    assert span.status.status_code is StatusCode.UNSET
    assert span.resource.attributes["k8s.pod.name"] == "tiny-0"
    assert "secret-session" not in span.to_json()


@pytest.mark.parametrize(
    "told",
    [
        "",
        "none",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
        f"{TRACEPARENT}, {TRACEPARENT}",
        "00-" + "ä" * 32,
    ],
)
async def test_a_header_that_is_no_trace_context_begins_a_trace(told: str, pod: Pod, traces: Traces) -> None:
    async with pod.agent():
        await served(pod)
        assert (await pod.ask("support", headers={"traceparent": told})).status == 200
        passed_on = ids_of(pod.engine.last_headers["traceparent"])
    [span] = traces.spans
    assert span.parent is None
    assert context_of(span) == passed_on[:2]
    assert passed_on[0] != TRACE


async def test_a_trace_that_is_not_kept_is_carried_on_and_not_told(pod: Pod, traces: Traces) -> None:
    async with pod.agent():
        await served(pod)
        await pod.ask("support", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
        trace, _, flags = ids_of(pod.engine.last_headers["traceparent"])
    assert (trace, flags) == (TRACE, "00")
    assert traces.spans == []


async def test_of_traces_that_begin_here_a_part_is_kept(pod: Pod, traces: Traces) -> None:
    traces.sample_ratio = 0.0
    async with pod.agent():
        await served(pod)
        await pod.ask("support")
        await pod.ask("support", headers={"traceparent": TRACEPARENT})
    [span] = traces.spans
    assert context_of(span)[0] == TRACE


async def test_a_stream_tells_the_time_of_its_first_token(pod: Pod, traces: Traces) -> None:
    pod.engine.seconds_per_token = 0.05
    async with pod.agent():
        await served(pod)
        body = {"model": "support", "prompt": "hello", "max_tokens": 5, "stream": True}
        async with pod.client.post(f"{pod.url}/v1/completions", json=body) as response:
            await response.read()
    [told] = traces.attributes()
    assert 0 < float(str(told["graft.time_to_first_token"])) < 60
    assert told["graft.outcome"] == "answered"


async def test_a_client_that_goes_away_ends_its_span(pod: Pod, traces: Traces) -> None:
    async with pod.agent():
        await served(pod)
        pod.engine.answers.close()
        asking = asyncio.create_task(pod.ask("support"))
        await pod.engine.answers.until_waiting()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    [told] = traces.attributes()
    assert told["graft.outcome"] == "cancelled"


async def test_each_try_is_a_span_of_one_trace_over_all_pods(
    pod: Pod, tmp_path: Path, store: ObjectStore, client: aiohttp.ClientSession, traces: Traces
) -> None:
    async with (
        pod_named("tiny-1", tmp_path / "other", store, client, pod.publisher) as other,
        pod.agent(),
        other.agent(),
    ):
        entry = wanted_adapter("support", [pod.publisher.publish("support")]) | {"pods": ["tiny-1"]}
        peers = [{"name": each.settings.pod, "url": each.peer_url} for each in (pod, other)]
        for each in (pod, other):
            each.want(wanted_set(pod.base, entry) | {"peers": peers})
        for each in (pod, other):
            await each.until_ready()
        assert (await pod.ask("support", headers={"traceparent": TRACEPARENT})).status == 200
        passed_on = ids_of(other.engine.last_headers["traceparent"])
    at_engine, at_peer = sorted(traces.spans, key=lambda span: span.start_time or 0, reverse=True)
    assert at_engine.parent is not None
    assert context_of(at_peer)[1] == f"{at_engine.parent.span_id:016x}"
    assert context_of(at_engine) == passed_on[:2]
    assert [dict(span.attributes or {})["graft.version"] for span in (at_peer, at_engine)] == ["support@v1"] * 2
    assert {dict(span.attributes or {})["graft.pod"] for span in (at_peer, at_engine)} == {"tiny-1"}


async def test_an_unknown_model_is_asked_of_nobody_and_is_in_no_span(pod: Pod, traces: Traces) -> None:
    async with pod.agent():
        await served(pod)
        assert (await pod.ask("made up")).status == 404
    assert traces.spans == []


async def test_without_traces_the_clients_context_goes_on_as_it_came(pod: Pod) -> None:
    async with pod.agent():
        await served(pod)
        await pod.ask("support", headers={"traceparent": TRACEPARENT, "tracestate": "vendor=1"})
        assert pod.engine.last_headers["traceparent"] == TRACEPARENT
        assert pod.engine.last_headers["tracestate"] == "vendor=1"


def test_without_an_endpoint_nothing_of_opentelemetry_is_loaded() -> None:
    program = """
import sys
from graft_serving import __main__
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


async def test_a_collector_that_is_away_holds_up_nobody(pod: Pod) -> None:
    settings = pod.settings.model_copy(update={"otlp_endpoint": "http://127.0.0.1:9"})
    pod.settings = settings
    async with pod.agent():
        await served(pod)
        assert (await pod.ask("support")).status == 200
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 20


async def test_spans_arrive_at_a_collector_by_otlp_over_http(pod: Pod) -> None:
    received: list[ExportTraceServiceRequest] = []

    async def collect(request: web.Request) -> web.Response:
        body = await request.read()
        plain = gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body
        received.append(ExportTraceServiceRequest.FromString(plain))
        return web.Response(content_type="application/x-protobuf")

    collector = web.Application()
    collector.router.add_post("/otel/v1/traces", collect)
    async with TestServer(collector) as server:
        pod.settings = pod.settings.model_copy(update={"otlp_endpoint": str(server.make_url("/otel/"))})
        async with pod.agent():
            await served(pod)
            await pod.ask("support")
    [resource] = [found for request in received for found in request.resource_spans]
    names = {item.key: item.value.string_value for item in resource.resource.attributes}
    assert names["service.name"] == "graft-agent"
    assert [span.name for scope in resource.scope_spans for span in scope.spans] == ["/v1/completions"]
