"""Alerts ask for metrics that exist."""

from __future__ import annotations

import re

from tests.chart.conftest import Render

from graft_operator.telemetry.metrics import REGISTRY

MONITORED = {"metrics": {"prometheusRule": {"enabled": True}, "serviceMonitor": {"enabled": True}}}


def test_alerts_ask_for_metrics_of_the_operator(render: Render) -> None:
    manifests = render(MONITORED, "--api-versions=monitoring.coreos.com/v1")
    (rule,) = [m for m in manifests if m["kind"] == "PrometheusRule"]
    alerts = rule["spec"]["groups"][0]["rules"]
    asked = {name for alert in alerts for name in re.findall(r"\bgraft_\w+", alert["expr"])}
    known = {name for family in REGISTRY.collect() for name in (family.name, f"{family.name}_total")}
    assert asked
    assert asked <= known
    assert all(alert["annotations"].keys() == {"summary", "description"} for alert in alerts)


def test_monitor_finds_the_metrics_service(render: Render) -> None:
    manifests = render(MONITORED, "--api-versions=monitoring.coreos.com/v1")
    (monitor,) = [m for m in manifests if m["kind"] == "ServiceMonitor"]
    (service,) = [m for m in manifests if m["kind"] == "Service"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} == {
        p["name"] for p in service["spec"]["ports"]
    }
