"""Adapters and bases as the plugin reads them, made of the builders of the operator's tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.builders import NOW, base_model, digest, resolved_base, served_version
from tests.builders import adapter as lora_adapter

from graft_cli.client import Adapter, Base
from graft_operator.api.adapter_status import (
    AdapterServingStatus,
    FailedTrainings,
    RolloutProgress,
    TrainingProgress,
    Version,
)
from graft_operator.api.conditions import Condition

LATER = datetime(2026, 1, 1, 12, 0, 40, tzinfo=UTC)


def condition(kind: str, status: str, reason: str, message: str = "") -> Condition:
    return Condition.model_validate(
        {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": NOW}
    )


SETTLED = (
    condition("Stalled", "False", "Progressing"),
    condition("Reconciling", "False", "Settled"),
    condition("Ready", "True", "Serving", "version 6 answers on every wanted replica"),
    condition("UpToDate", "True", "UpToDate", "version 6"),
)


def with_conditions(*changed: Condition) -> tuple[Condition, ...]:
    """Return the conditions of a settled adapter with some replaced."""
    by_type = {item.type: item for item in (*SETTLED, *changed)}
    return tuple(by_type.values())


def version(number: int, state: str = "Published", **fields: Any) -> Version:
    defaults: dict[str, Any] = {
        "digest": digest(f"manifest {number}"),
        "recipe": digest(f"recipe {number}"),
        "base_digest": digest("A"),
        "base_revision": "revision-A",
        "rank": 16,
        "eval_loss": f"{2 - number / 10:.3f}",
        "base_eval_loss": "4.364",
        "exact_match": "0.52",
        "published_time": NOW - timedelta(hours=10 - number),
    }
    return Version(number=number, state=state, **defaults | fields)


def serving(target: int | None = 6, previous: int | None = None, weight: int = 100, **fields: Any) -> Any:
    rollout = RolloutProgress(weight=weight, start_time=NOW, step_time=NOW) if previous else None
    return AdapterServingStatus(
        mode="MultiAdapter",
        target=served_version(target) if target else None,
        previous=served_version(previous) if previous else None,
        rollout=rollout,
        **{"desired": 2, "loaded": 2} | fields,
    )


def adapter(name: str = "support", *, raw: dict[str, Any] | None = None, **arguments: Any) -> Adapter:
    """Return an adapter that serves version 6 of six; ``raw``: further metadata."""
    status = {
        "conditions": SETTLED,
        "versions": tuple(version(number) for number in range(6, 0, -1)),
        "served_version": 6,
        "serving": serving(),
    } | arguments.pop("status", {})
    body = lora_adapter(name, status=status, **arguments).to_wire()
    body["metadata"] |= raw or {}
    return Adapter.parse(body)


def canary(**spec: Any) -> Adapter:
    """Return an adapter whose version 7 takes 10 % of the requests."""
    says = "version 7 answers 10 % of the requests, step 1 of 2: until 2026-01-01T12:01:00Z and 20 requests"
    return adapter(
        status={
            "conditions": with_conditions(condition("Reconciling", "True", "Canary", says)),
            "versions": tuple(version(number) for number in range(7, 0, -1)),
            "candidate_version": 7,
            "serving": serving(7, 6, 10),
        },
        **spec,
    )


def training(**fields: Any) -> TrainingProgress:
    defaults: dict[str, Any] = {
        "job": "topic-train-ab12cd34",
        "recipe": digest("recipe"),
        "state": "Training",
        "reason": "BaseModelChanged",
        "step": 144,
        "max_steps": 248,
        "loss": "0.412",
        "eta_seconds": 80,
    }
    return TrainingProgress(**defaults | fields)


def failed(reason: str = "Diverged") -> FailedTrainings:
    return FailedTrainings(recipe=digest("recipe"), reason=reason)


def base(name: str = "tiny", **arguments: Any) -> Base:
    status = {
        "conditions": (condition("Stalled", "False", "Progressing"), condition("Ready", "True", "Serving")),
        "resolved": resolved_base(
            "A", parameters=1_600_000, architecture="LlamaForCausalLM", dtype="float32", revision="c22eb3f2" * 5
        ),
    } | arguments.pop("status", {})
    body = base_model(status=status, replicas=2, **arguments).to_wire()
    body["metadata"]["name"] = name
    return Base.parse(body)
