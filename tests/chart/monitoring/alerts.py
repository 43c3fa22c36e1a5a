"""For each alert of the chart: series of which it fires, and series of which it does not.

``fires`` and ``silent`` are promtool's series; of both the rule is asked after ``after``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

JOB = 'namespace="graft-system",service="graft-operator-metrics"'
ONE = 'namespace="team-a",base="tiny",adapter="support"'
LABELS = {"namespace": "team-a", "base": "tiny", "adapter": "support"}
CONDITION = "graft_adapter_condition"

Series = dict[str, str]
"""Series → values, as promtool writes them: one a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One alert."""

    fires: Series
    silent: Series
    labels: dict[str, str] = field(default_factory=dict)
    severity: str = "warning"
    after: str = "90m"


def _condition(kind: str, status: str, reason: str, family: str = CONDITION, who: str = ONE) -> str:
    return f'{family}{{{who},type="{kind}",status="{status}",reason="{reason}"}}'


def _passes(result: str, values: str) -> Series:
    return {f'graft_reconciles_total{{{JOB},kind="LoraAdapter",result="{result}"}}': values}


def _waits(bucket: str) -> Series:
    """Of ten objects a minute, all have waited for less than the bucket's bound."""
    bounds = ("1", "60", "120", "+Inf")
    reached = [le for le in bounds if float(le) >= float(bucket)]
    name = "graft_queue_wait_seconds_bucket"
    return {f'{name}{{{JOB},priority="urgent",le="{le}"}}': "0+10x120" if le in reached else "0x120" for le in bounds}


def _requests(failing: int) -> Series:
    name = 'graft_requests_total{namespace="team-a",base="tiny",pod="p",adapter="support",version="v1"'
    return {f'{name},status="2xx"}}': "0+100x120", f'{name},status="lost"}}': f"0+{failing}x120"}


ALWAYS = "1x120"
TRAINS = {_condition("Trained", "False", "Training"): ALWAYS}
STEP, MAX_STEPS = f"graft_adapter_training_step{{{ONE}}}", f"graft_adapter_training_max_steps{{{ONE}}}"
DUE = f"graft_adapter_canary_step_due_timestamp_seconds{{{ONE}}}"
NOT_READY, WANTED = _condition("Ready", "False", "RollingOut"), f"graft_adapter_replicas_desired{{{ONE}}}"

BASE = 'namespace="team-a",base="tiny"'
BASE_CONDITION = "graft_base_condition"

ALERTS: dict[str, Case] = {
    "GraftOperatorDown": Case(
        # The series of one that is not scraped any more ends.
        fires={f"graft_leader{{{JOB}}}": "1x10 stale"},
        silent={f"graft_leader{{{JOB}}}": "0x120"},
        labels={"namespace": "graft-system", "service": "graft-operator-metrics"},
        severity="critical",
    ),
    "GraftOperatorWithoutLease": Case(
        fires={f"graft_leader{{{JOB}}}": "0x120"},
        silent={f"graft_leader{{{JOB}}}": ALWAYS},
        severity="critical",
    ),
    "GraftQueueLong": Case(fires=_waits("120"), silent=_waits("60")),
    "GraftReconcileErrors": Case(
        fires=_passes("error", "0+1x120"), silent=_passes("transient", "0+1x120"), labels={"kind": "LoraAdapter"}
    ),
    "GraftObjectsRefused": Case(
        fires=_passes("refused", "0+1x120"), silent=_passes("success", "0+1x120"), labels={"kind": "LoraAdapter"}
    ),
    "GraftRegistryUnavailable": Case(
        fires={f'graft_registry_calls_total{{{JOB},operation="find",result="unavailable"}}': "0+1x120"},
        silent={f'graft_registry_calls_total{{{JOB},operation="find",result="success"}}': "0+1x120"},
    ),
    "GraftEventLoopLags": Case(
        fires={f"graft_loop_lag_seconds{{{JOB}}}": "3x120"}, silent={f"graft_loop_lag_seconds{{{JOB}}}": ALWAYS}
    ),
    "GraftRegistryUnsafe": Case(
        fires={_condition("RegistrySafe", "False", "ConditionalWritesIgnored", BASE_CONDITION, BASE): ALWAYS},
        silent={_condition("RegistrySafe", "Unknown", "NotAllowed", BASE_CONDITION, BASE): ALWAYS},
        labels={"namespace": "team-a", "base": "tiny"},
    ),
    "GraftBaseStalled": Case(
        fires={_condition("Stalled", "True", "SourceNotFound", BASE_CONDITION, BASE): ALWAYS},
        silent={_condition("Stalled", "False", "Progressing", BASE_CONDITION, BASE): ALWAYS},
        labels={"namespace": "team-a", "base": "tiny", "reason": "SourceNotFound"},
    ),
    "GraftAdapterStalled": Case(
        fires={_condition("Stalled", "True", "BadDataset"): ALWAYS},
        silent={_condition("Stalled", "True", "RolledBack"): ALWAYS},
        labels={**LABELS, "reason": "BadDataset"},
    ),
    "GraftAdapterRolledBack": Case(
        fires={_condition("Stalled", "True", "RolledBack"): ALWAYS},
        silent={_condition("Stalled", "True", "BadDataset"): ALWAYS},
        labels=LABELS,
    ),
    "GraftAdapterNotServed": Case(
        fires={NOT_READY: ALWAYS, WANTED: "2x120"},
        # Of a base with no replicas nothing can answer; one that is loaded on demand is as it should be.
        silent={
            NOT_READY: ALWAYS,
            WANTED: "0x120",
            WANTED.replace("support", "other"): "2x120",
            _condition("Ready", "False", "NotResident", who=ONE.replace("support", "other")): ALWAYS,
        },
        labels=LABELS,
        severity="critical",
    ),
    "GraftTrainingSlow": Case(
        fires={STEP: "12x120", MAX_STEPS: "96x120", **TRAINS},
        silent={
            STEP: "0+1x120",
            MAX_STEPS: "960x120",
            **TRAINS,
            # At its last step a training evaluates and publishes.
            STEP.replace("support", "other"): "96x120",
            MAX_STEPS.replace("support", "other"): "96x120",
            _condition("Trained", "False", "Training", who=ONE.replace("support", "other")): ALWAYS,
            # One that waits for its pod can't get on.
            STEP.replace("support", "third"): "0x120",
            _condition("Trained", "False", "Unschedulable", who=ONE.replace("support", "third")): ALWAYS,
        },
        labels=LABELS,
    ),
    "GraftCanaryStuck": Case(fires={DUE: "600x120"}, silent={DUE: "5400x120"}, labels=LABELS),
    "GraftRequestsFailing": Case(
        fires=_requests(10),
        silent=_requests(4),
        labels={"namespace": "team-a", "adapter": "support"},
        severity="critical",
    ),
}


def promtool_tests(name: str, case: Case, annotations: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """Return promtool's tests of one alert: the series of which it fires, and those of which it does not."""
    fired = {"exp_labels": {**case.labels, "severity": case.severity}}
    if annotations is not None:
        fired["exp_annotations"] = annotations
    return [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": [{"eval_time": case.after, "alertname": name, "exp_alerts": expected}],
        }
        for series, expected in ((case.fires, [fired]), (case.silent, []))
    ]
