"""What Prometheus and traces are told of a whole life, by the statuses and pods that the operator itself sees."""

from __future__ import annotations

from functools import partial

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.reconcilers.simulation import Simulation

from graft_operator.cluster.resources import BASE_MODELS, LORA_ADAPTERS, PODS
from graft_operator.telemetry import tracing
from graft_operator.telemetry.objects.page import Known, ObjectMetrics

OF_SUPPORT = {"namespace": "team-a", "base": "tiny", "adapter": "support"}


async def told(run: Simulation) -> dict[str, dict[str, float]]:
    """Return the series of adapter support: name → other labels → value."""
    objects = run.world.cache.objects
    known = Known(
        adapters=partial(objects, LORA_ADAPTERS), bases=partial(objects, BASE_MODELS), pods=partial(objects, PODS)
    )
    page = b"".join(await ObjectMetrics(known, clock=lambda: run.world.now).exposed()).decode()
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == "graft_unreadable_objects":
                assert sample.value == 0, sample
            if OF_SUPPORT.items() <= sample.labels.items():
                others = " ".join(value for name, value in sample.labels.items() if name not in OF_SUPPORT)
                found.setdefault(sample.name, {})[others] = sample.value
    return found


async def test_a_life_is_told_as_it_goes() -> None:
    run = Simulation()
    steps = set()
    while run.status().served_version != 1:
        await run.rounds(1)
        series = await told(run)
        steps |= set(series.get("graft_adapter_training_step", {}).values())
    assert steps, "the training was seen on its way"
    await run.settle()
    series = await told(run)
    assert series["graft_adapter_served_version"] == {"": 1}
    assert series["graft_adapter_replicas_loaded"] == {"": 1}
    assert "Ready True Serving" in series["graft_adapter_condition"]
    assert len(series["graft_adapter_condition"]) == 9
    assert series["graft_adapter_eval_loss"].keys() == {"v1"}
    assert "graft_adapter_training_step" not in series
    run.delete_adapter()
    await run.settle()
    assert await told(run) == {}


async def test_passes_tell_what_they_have_changed() -> None:
    exporter = InMemorySpanExporter()
    run = Simulation()
    with (
        tracing.sent_to("http://collector:4318", exporter=exporter),
        tracing.one_pass("LoraAdapter", "team-a/support") as span,
    ):
        await run.settle()
        span.result = "success"
    [seen] = exporter.get_finished_spans()
    names = {event.name for event in seen.events}
    assert {"AddFinalizer", "CreateJob", "ApplyObject", "EmitEvent"} <= names
    jobs = {str((event.attributes or {})["k8s.object.name"]) for event in seen.events if event.name == "CreateJob"}
    assert any(name.startswith("support-train-") for name in jobs)
    assert len(seen.events) < 200, "what is as it should be is not told again"
