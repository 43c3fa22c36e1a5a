"""Every series that Graft exports, from the pages that operator and agent really answer `/metrics` with."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.builders import NOW, adapter, base_model, served_version

from graft_operator.manifests import labels
from graft_operator.telemetry import metrics
from graft_operator.telemetry.objects.page import Known, ObjectMetrics
from graft_serving.telemetry.answered import Answered, Usage
from graft_serving.telemetry.metrics import Metrics
from graft_serving.versions import VersionKey

KEY: Final = VersionKey("support", 7, f"sha256:{'a' * 64}")
STREAM: Final = Answered(status=200, seconds=2.0, first_token_seconds=1.0, usage=Usage(3, 5))

OF_TARGETS: Final = frozenset({"namespace", "service", "pod", "base"})
"""Labels that the scrape configurations of the chart and of docs/metrics.md give to what they scrape."""


def agent_metrics() -> Metrics:
    """Return an agent's metrics, each of which has a series."""
    made = Metrics()
    made.under_way("support", "v7")
    made.answered("support", "v7", STREAM)
    made.lost("support", "v7")
    made.loaded(KEY, 0.5)
    made.swapped(KEY, 1.0)
    made.refused(KEY, "RankTooHigh")
    made.forwarded("answered")
    made.rejected("invalid_json")
    return made


def operator_metrics() -> Iterator[Counter | Gauge | Histogram]:
    """Return what the operator tells of itself."""
    return (item for item in vars(metrics).values() if isinstance(item, Counter | Gauge | Histogram))


def operator_page() -> str:
    """Return what the operator tells of itself, each metric with one series at least."""
    names = [(item, item._labelnames) for item in operator_metrics()]
    for item, labelnames in names:
        if labelnames and not any(family.samples for family in item.collect()):
            item.labels(*["test"] * len(labelnames))
    return generate_latest(metrics.REGISTRY).decode()


def pod(component: str, owner: str, *, name: str = "", **fields: Any) -> dict[str, Any]:
    """Return a pod with two GPUs that has run for a minute; ``fields`` are parts of its status."""
    return {
        "metadata": {
            "name": name or f"{owner}-{component}",
            "namespace": "team-a",
            "uid": f"uid-of-{name or f'{owner}-{component}'}",
            "labels": {labels.COMPONENT: component},
            "annotations": {labels.OWNER_NAME: owner},
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": "2", "cpu": "4"}}}],
        },
        "status": {"phase": "Running", "startTime": (NOW - timedelta(minutes=1)).isoformat(), **fields},
    }


def condition(kind: str, status: str, reason: str) -> dict[str, Any]:
    """Return a condition as the status has it."""
    return {"type": kind, "status": status, "reason": reason, "message": "words", "lastTransitionTime": NOW}


VERSION: Final[dict[str, Any]] = {
    **served_version(7).to_wire(),
    "recipe": f"sha256:{'b' * 64}",
    "evalLoss": "1.3000",
    "baseEvalLoss": "4.3640",
    "exactMatch": "0.5200",
    "baseExactMatch": "0.0000",
    "preferenceAccuracy": "0.8100",
    "trainSeconds": 60,
    "trainTokens": 120_000,
}
CONDITIONS: Final = (
    condition("Ready", "True", "Serving"),
    condition("Stalled", "False", "Progressing"),
    condition("Trained", "False", "Training"),
    condition("UpToDate", "False", "RollingOut"),
)


def busy_adapter(name: str = "support", **status: Any) -> dict[str, Any]:
    """Return an adapter that is served, in a canary, and trained at the same time: each of its series is there."""
    told = {
        "conditions": CONDITIONS,
        "versions": [VERSION],
        "served_version": 7,
        "training": {
            "job": "support-train-1",
            "recipe": f"sha256:{'c' * 64}",
            "step": 12,
            "max_steps": 96,
            "loss": "1.2500",
            "eta_seconds": 40,
        },
        "serving": {
            "target": served_version(8),
            "previous": served_version(7),
            "rollout": {"weight": 10, "start_time": NOW, "step_time": NOW},
            "desired": 2,
            "loaded": 2,
        },
    } | status
    return adapter(name, status=told, serving={"rollout": {"strategy": "Canary"}}).to_wire()


def base(name: str = "tiny") -> dict[str, Any]:
    """Return a base that is served."""
    body = base_model().to_wire()
    body["metadata"]["name"] = name
    body.setdefault("status", {})["conditions"] = [condition("RegistrySafe", "True", "ConditionalWrites")]
    return body


def objects_page(
    *, adapters: tuple[dict[str, Any], ...] = (), pods: tuple[dict[str, Any], ...] = (), **settings: Any
) -> str:
    """Return what the operator tells of these objects, of one base and of these pods."""
    known = Known(adapters=lambda: adapters, bases=lambda: (base(),), pods=lambda: pods)
    made = ObjectMetrics(known, clock=lambda: NOW, **settings)
    return b"".join(asyncio.run(made.exposed())).decode()


def everything() -> dict[str, set[str]]:
    """Return the labels of each series that Graft exports, by its name."""
    pods = (pod("training", "support"), pod("serving", "tiny"), pod("merged", "support"))
    pages = (
        objects_page(adapters=(busy_adapter(),), pods=pods),
        operator_page(),
        asyncio.run(agent_metrics().exposed()).decode(),
    )
    found = defaultdict[str, set[str]](set)
    for page in pages:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                found[sample.name] |= sample.labels.keys()
    return dict(found)
