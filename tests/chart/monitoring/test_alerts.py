"""Alerts fire when they should and not else, ask for series that exist, and lead to a page that says what to do."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tests.chart.conftest import Manifest, Render
from tests.chart.monitoring.alerts import ALERTS, promtool_tests
from tests.chart.monitoring.promql import labels_in, series_in
from tests.chart.monitoring.promtool import Promtool, find_promtool
from tests.exported_series import OF_TARGETS, everything

from graft_cli.app import app

MONITORED = {
    "metrics": {
        "prometheusRule": {"enabled": True},
        "serviceMonitor": {"enabled": True},
        "podMonitor": {"enabled": True},
    }
}
RUNBOOKS = Path(__file__).parents[3] / "docs" / "runbooks.md"


def monitored(render: Render, kind: str, **values: Any) -> Manifest:
    """Return the one object of a kind of a release that is monitored."""
    manifests = render(MONITORED | values, "--api-versions=monitoring.coreos.com/v1")
    (found,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


@pytest.fixture
def groups(render: Render) -> list[dict[str, Any]]:
    """Return the groups of rules."""
    found: list[dict[str, Any]] = monitored(render, "PrometheusRule")["spec"]["groups"]
    return found


@pytest.fixture
def promtool(tmp_path: Path) -> Promtool:
    """Return promtool."""
    return Promtool(find_promtool(), tmp_path)


def alerts_of(groups: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the alerts by their names."""
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def test_promtool_has_nothing_against_the_rules(groups: list[dict[str, Any]], promtool: Promtool) -> None:
    assert promtool.check_rules(groups) == ""


def test_each_alert_has_a_test(groups: list[dict[str, Any]]) -> None:
    assert alerts_of(groups).keys() == ALERTS.keys()


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_fires_when_it_should_and_not_else(
    name: str, groups: list[dict[str, Any]], promtool: Promtool
) -> None:
    # What texts make of values is asked of those alone that say no figure: promtool wants them word for word.
    told = alerts_of(groups)[name]["annotations"]
    plain = told if not any("{{" in text for text in told.values()) else None
    told_or_rendered = plain or rendered(told, ALERTS[name].labels)
    tests = promtool_tests(name, ALERTS[name], told_or_rendered)
    assert promtool.test_rules(groups, tests) == ""


def rendered(annotations: dict[str, str], labels: dict[str, str]) -> dict[str, str]:
    """Return the annotations with labels and values put in, as Prometheus does."""
    values = {"GraftQueueLong": "1m 54s", "GraftCanaryStuck": "1h 20m 0s", "GraftRequestsFailing": "9.091%"}
    name = next((name for name in values if annotations["runbook_url"].endswith(name.lower())), "")
    texts = {}
    for kind, text in annotations.items():
        told = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda match: labels[match[1]], text)
        texts[kind] = re.sub(r"\{\{ \$value \| \w+ \}\}", values.get(name, ""), told)
    return texts


def test_rules_ask_for_series_that_are_exported(groups: list[dict[str, Any]]) -> None:
    exported = everything()
    for rule in (rule for group in groups for rule in group["rules"]):
        for name, labels in series_in(rule["expr"]).items():
            assert name in exported, f"{rule}: nothing exports {name}"
            assert labels <= exported[name] | OF_TARGETS, f"{rule}: {name} has no such label"
        assert labels_in(rule["expr"]) <= {label for found in exported.values() for label in found} | OF_TARGETS


def test_each_alert_leads_to_its_runbook(groups: list[dict[str, Any]], render: Render) -> None:
    headings = re.findall(r"^## (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    alerts = alerts_of(groups)
    assert sorted(headings) == sorted(alerts)
    for name, alert in alerts.items():
        assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert alert["annotations"]["runbook_url"] == f"docs/runbooks.md#{name.lower()}"
        assert alert["labels"]["severity"] in {"warning", "critical"}
    elsewhere = {"metrics": {"prometheusRule": {"enabled": True, "runbookUrl": "https://wiki.example.com/graft"}}}
    (rule,) = [
        manifest
        for manifest in render(elsewhere, "--api-versions=monitoring.coreos.com/v1")
        if manifest["kind"] == "PrometheusRule"
    ]
    first = next(iter(alerts_of(rule["spec"]["groups"]).values()))
    assert first["annotations"]["runbook_url"] == "https://wiki.example.com/graft#graftoperatordown"


def test_each_runbook_has_meaning_commands_and_causes() -> None:
    sections = re.split(r"^## \w+$", RUNBOOKS.read_text(), flags=re.MULTILINE)[1:]
    for section in sections:
        assert "**Meaning.**" in section
        assert "**Causes and remedies.**" in section
        (commands,) = re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        assert commands.count("\n") == 3
        assert "kubectl graft " in commands or "kubectl -n graft-system " in commands


def test_the_plugin_understands_the_commands_of_the_runbooks() -> None:
    text = RUNBOOKS.read_text()
    commands = re.findall(r"^kubectl graft ([^\n|]*)", text, re.MULTILINE)
    assert len(commands) > 20
    for command in commands:
        verb, *arguments = shlex.split(command)
        app.commands[verb].make_context(verb, arguments)
    assert set(re.findall(r"`kubectl graft (\w+)", text)) <= app.commands.keys()


def test_cost_is_shared_by_tokens(groups: list[dict[str, Any]], promtool: Promtool) -> None:
    pods = 'graft_serving_gpu_seconds_total{namespace="team-a",base="tiny",adapter='
    tokens = 'graft_tokens_total{namespace="team-a",base="tiny",pod="p",version="v1",kind="completion",adapter='
    series = {
        "graft_gpu_second_price": "2x20",
        f'{pods}""}}': "0+120x20",  # two GPUs
        f'{pods}"merged"}}': "0+60x20",
        f'{tokens}"support"}}': "0+300x20",
        f'{tokens}"topic"}}': "0+100x20",
        'graft_training_gpu_seconds_total{namespace="team-a",base="tiny",adapter="topic"}': "0+240x20",
    }

    def expected(rule: str, **values: float) -> dict[str, Any]:
        name = f"namespace_base_adapter:{rule}:rate5m"
        samples = [
            {"labels": f'{name}{{namespace="team-a",base="tiny",adapter="{adapter}"}}', "value": value}
            for adapter, value in values.items()
        ]
        return {"expr": name, "eval_time": "10m", "exp_samples": samples}

    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            expected("graft_serving_cost", merged=2.0, support=3.0, topic=1.0),
            expected("graft_training_cost", topic=8.0),
        ],
    }
    assert promtool.test_rules(groups, [test]) == ""


def test_monitor_finds_the_metrics_service(render: Render) -> None:
    monitor, service = monitored(render, "ServiceMonitor"), monitored(render, "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} == {
        p["name"] for p in service["spec"]["ports"]
    }


def test_pod_monitor_finds_serving_pods_in_the_namespaces_that_are_watched(render: Render) -> None:
    everywhere, named = monitored(render, "PodMonitor"), monitored(render, "PodMonitor", watchNamespaces=["a", "b"])
    assert everywhere["spec"]["namespaceSelector"] == {"any": True}
    assert named["spec"]["namespaceSelector"] == {"matchNames": ["a", "b"]}
    labelled = {**MONITORED["metrics"], "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}
    assert monitored(render, "PodMonitor", metrics=labelled)["metadata"]["labels"]["release"] == "prometheus"
