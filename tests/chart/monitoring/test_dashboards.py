"""Dashboards can be read by Grafana, and each panel asks for series that exist, in words that people understand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chart.conftest import CHART, Render
from tests.chart.monitoring.promql import labels_in, series_in
from tests.chart.monitoring.promtool import Promtool, find_promtool
from tests.exported_series import OF_TARGETS, everything

FILES = sorted((CHART / "dashboards").glob("*.json"))
VARIABLES = {"$__rate_interval": "5m", "$__range": "1h", "$namespace": "team-a", "$base": "tiny", "$adapter": "support"}
UNITS = frozenset({"short", "none", "percentunit", "s", "reqps", "ops"})


def read(file: Path) -> dict[str, Any]:
    """Return a dashboard."""
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels but for the rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    """Return the expressions of panels and variables, with values for variables."""
    for panel in panels(dashboard):
        yield from (with_values(target["expr"]) for target in panel["targets"])
    for variable in variables(dashboard).values():
        if variable["type"] == "query":
            [selector] = re.findall(r"^label_values\((.*), \w+\)$", variable["definition"])
            yield with_values(selector)


def with_values(expression: str) -> str:
    """Return an expression as Grafana asks it."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def variables(dashboard: dict[str, Any]) -> dict[str, Any]:
    """Return the variables by name."""
    return {item["name"]: item for item in dashboard["templating"]["list"]}


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return each dashboard."""
    return read(request.param)


def test_prometheus_understands_every_expression(dashboard: dict[str, Any], tmp_path: Path) -> None:
    assert Promtool(find_promtool(), tmp_path).check_expressions(list(expressions(dashboard))) == ""


def test_panels_ask_for_series_that_are_exported(dashboard: dict[str, Any]) -> None:
    exported = everything()
    known = {label for labels in exported.values() for label in labels} | OF_TARGETS
    for expression in expressions(dashboard):
        asked = series_in(expression)
        assert asked, expression
        for name, labels in asked.items():
            assert name in exported, f"nothing exports {name}: {expression}"
            assert labels <= exported[name] | OF_TARGETS, f"{name} has no such label: {expression}"
        assert labels_in(expression) <= known, expression


def test_panels_say_what_they_show(dashboard: dict[str, Any]) -> None:
    for panel in panels(dashboard):
        assert panel["title"], panel
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"], panel["title"]
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert used <= labels_in(target["expr"]), f"{panel['title']}: the legend asks for labels that are not there"
            counters = re.findall(r"\b\w+_(?:total|bucket)\b", target["expr"])
            rates = re.findall(r"\b(?:rate|increase)\(", target["expr"])
            births = re.findall(r"\b\w+_total\{[^}]*\} unless \w+_total\{[^}]*\} offset ", target["expr"])
            assert len(rates) + 2 * len(births) >= len(counters), (
                f"{panel['title']}: a counter without rate or increase"
            )


def test_panels_stand_beside_one_another(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers))


def test_nothing_moves_up_when_grafana_lays_panels_out(dashboard: dict[str, Any]) -> None:
    # Grafana leaves no hole above a panel: it moves the panel up, and a row of panels falls apart.
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    for panel, at in zip(dashboard["panels"], places, strict=True):
        carried = any(
            above["y"] + above["h"] == at["y"] and above["x"] < at["x"] + at["w"] and at["x"] < above["x"] + above["w"]
            for above in places
        )
        assert at["y"] == 0 or carried, panel["title"]


def test_tables_lead_to_the_adapter_of_each_line(dashboard: dict[str, Any]) -> None:
    arguments = {f"var-{name}" for name in variables(read(CHART / "dashboards/adapter.json"))}
    for panel in panels(dashboard):
        for override in panel["fieldConfig"]["overrides"]:
            for link in (link for item in override["properties"] if item["id"] == "links" for link in item["value"]):
                assert link["url"].startswith("/d/graft-adapter?"), panel["title"]
                asked = dict(re.findall(r"(var-\w+)=\$\{__data\.fields\.(\w+)\}", link["url"]))
                assert asked.keys() == {"var-namespace", "var-adapter"} <= arguments
                assert set(asked.values()) <= labels_in(panel["targets"][0]["expr"])


def test_every_variable_is_used_and_its_source_can_be_chosen(dashboard: dict[str, Any]) -> None:
    found = variables(dashboard)
    assert found["datasource"]["type"] == "datasource"
    text = json.dumps(dashboard["panels"])
    for name in found.keys() - {"datasource"}:
        assert f"${name}" in text
        assert found[name]["datasource"]["uid"] == "${datasource}"
    used = set(re.findall(r"\$\{?([a-z]+)\b", text))
    assert used <= found.keys()


def test_uids_are_not_those_of_others_and_links_lead_to_them() -> None:
    dashboards = [read(file) for file in FILES]
    uids = {dashboard["uid"] for dashboard in dashboards}
    assert len(uids) == len(FILES) == 2
    assert all(re.fullmatch(r"graft-[a-z]+", uid) for uid in uids)
    links = {link["url"].removeprefix("/d/") for dashboard in dashboards for link in dashboard["links"]}
    assert links <= uids


def test_config_maps_carry_them_for_the_sidecar(render: Render) -> None:
    values = {
        "metrics": {
            "dashboards": {
                "enabled": True,
                "labels": {"grafana_dashboard": "1", "team": "ml"},
                "annotations": {"grafana_folder": "Graft"},
            }
        }
    }
    maps = [manifest for manifest in render(values) if manifest["kind"] == "ConfigMap"]
    assert sorted(content for item in maps for content in item["data"].values()) == sorted(
        file.read_text() for file in FILES
    )
    for item in maps:
        assert {"grafana_dashboard": "1", "team": "ml"}.items() <= item["metadata"]["labels"].items()
        assert item["metadata"]["annotations"] == {"grafana_folder": "Graft"}
        (name,) = item["data"]
        assert name.endswith(".json")
    assert not [manifest for manifest in render({}) if manifest["kind"] == "ConfigMap"]
