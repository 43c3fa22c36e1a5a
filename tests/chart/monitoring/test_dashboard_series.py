"""What panels show of series that have only just begun, or never do: Prometheus' own tool evaluates them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.chart.conftest import CHART
from tests.chart.monitoring.promtool import Promtool, find_promtool
from tests.chart.monitoring.test_dashboards import panels, read, with_values

OF_ADAPTER = 'namespace="team-a", base="tiny", adapter="support"'

of_both = pytest.mark.parametrize(
    ("dashboard", "series_of", "shown"),
    [
        ("fleet", OF_ADAPTER, '{namespace="team-a", base="tiny"}'),
        ("adapter", f'{OF_ADAPTER}, version="v7"', '{version="v7"}'),
    ],
)


def expression(dashboard: str, title: str, target: int = 0) -> str:
    """Return the expression of a panel's target, as Grafana asks it."""
    [panel] = [panel for panel in panels(read(CHART / f"dashboards/{dashboard}.json")) if panel["title"] == title]
    return with_values(panel["targets"][target]["expr"])


def series(name: str, labels: str, values: str) -> dict[str, str]:
    """Return a series of which there is a value each minute."""
    return {"series": f"{name}{{{labels}}}", "values": values}


def sample(labels: str, value: float) -> dict[str, Any]:
    """Return what an expression gives for one series."""
    return {"labels": labels, "value": value}


class Evaluated:
    """Expressions over given series."""

    def __init__(self, folder: Path) -> None:
        self.promtool = Promtool(find_promtool(), folder)

    def differ(self, expression: str, given: list[dict[str, str]], at: str, expected: list[dict[str, Any]]) -> str:
        """Return in what the result at a time differs from the expected one."""
        asked = {"expr": expression, "eval_time": at, "exp_samples": expected}
        return self.promtool.test_rules([], [{"interval": "1m", "input_series": given, "promql_expr_test": [asked]}])


@pytest.fixture
def evaluated(tmp_path: Path) -> Evaluated:
    """Return what evaluates expressions."""
    return Evaluated(tmp_path)


@of_both
def test_where_nothing_has_failed_the_part_is_nought(
    dashboard: str, series_of: str, shown: str, evaluated: Evaluated
) -> None:
    given = [series("graft_requests_total", f'{series_of}, status="2xx"', "0+60x20")]
    assert evaluated.differ(expression(dashboard, "Failed requests"), given, "15m", [sample(shown, 0)]) == ""


@of_both
def test_failures_are_a_part_of_all_requests(dashboard: str, series_of: str, shown: str, evaluated: Evaluated) -> None:
    given = [
        series("graft_requests_total", f'{series_of}, status="2xx"', "0+60x20"),
        series("graft_requests_total", f'{series_of}, status="5xx"', "0+10x20"),
        series("graft_requests_total", f'{series_of}, status="lost"', "0+10x20"),
    ]
    assert evaluated.differ(expression(dashboard, "Failed requests"), given, "15m", [sample(shown, 0.25)]) == ""


@pytest.mark.parametrize(
    ("target", "name", "labels", "shown"),
    [
        (0, "graft_loads_total", 'version="v7"', '{version="v7"}'),
        (1, "graft_refusals_total", 'version="v7", reason="RankTooHigh"', '{version="v7", reason="RankTooHigh"}'),
    ],
)
def test_the_first_load_and_refusal_of_a_version_are_seen(
    target: int, name: str, labels: str, shown: str, evaluated: Evaluated
) -> None:
    # The agent makes the series with its first event, so it begins at 1 and never rises from 0.
    shows = expression("adapter", "Loads and refusals", target)
    given = [series(name, f"{OF_ADAPTER}, {labels}", "_x10 1x30")]
    assert evaluated.differ(shows, given, "12m", [sample(shown, 1)]) == ""
    assert evaluated.differ(shows, given, "30m", [sample(shown, 0)]) == ""


def test_the_busiest_adapters_are_those_of_the_chosen_time_not_of_each_moment(evaluated: Evaluated) -> None:
    shows = f"round({expression('fleet', 'Busiest adapters')}, 0.001)"
    busy = {f"a{each:02}": f"0+{60 * each}x70" for each in range(2, 12)}
    rising = busy | {"newcomer": "0x60 600+600x10"}
    given = [
        series("graft_requests_total", f'namespace="team-a", base="tiny", adapter="{name}", status="2xx"', values)
        for name, values in rising.items()
    ]
    expected = [sample(f'{{namespace="team-a", adapter="a{each:02}"}}', each) for each in range(2, 12)]
    assert evaluated.differ(shows, given, "65m", expected) == ""


@pytest.mark.parametrize(
    ("dashboard", "title", "shown"),
    [
        ("fleet", "Busiest adapters", '{namespace="team-a", adapter="support"}'),
        ("adapter", "Requests", '{version="v7", status="2xx"}'),
    ],
)
def test_only_what_was_answered_has_a_line(dashboard: str, title: str, shown: str, evaluated: Evaluated) -> None:
    # The agent begins each series at 0, so that a first failure is a change.
    begun = ["idle", "2xx", "0x70"], ["support", "2xx", "0+60x70"], ["support", "5xx", "0x70"]
    given = [
        series(
            "graft_requests_total",
            f'namespace="team-a", base="tiny", adapter="{name}", version="v7", status="{status}"',
            values,
        )
        for name, status, values in begun
    ]
    shows = f"round({expression(dashboard, title)}, 0.001)"
    assert evaluated.differ(shows, given, "65m", [sample(shown, 1)]) == ""


@pytest.mark.parametrize("title", ["GPU time of training", "Cost of training", "GPU time of serving"])
def test_what_holds_no_gpus_has_used_none(title: str, evaluated: Evaluated) -> None:
    given = [series("graft_gpu_second_price", "", "0.5x20")]
    assert evaluated.differ(expression("adapter", title), given, "15m", [sample("{}", 0)]) == ""
