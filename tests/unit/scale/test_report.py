"""What a measurement says of itself."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tests.bench.scale.fleet import Fleet
from tests.bench.scale.measuring import percentile
from tests.bench.scale.report import BEGIN, END, shown, table, write

MEASURED = {"options": {"adapters": 1000, "bases": 50}, "apply": {"p99": 1.2345, "api_per_adapter": 12345.6}}


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([3.0, 1.0, 2.0], 50, 2.0), (list(range(1, 101)), 99, 99), ([5.0], 99, 5.0), ([1.0, 2.0], 100, 2.0)],
)
def test_a_percentile_is_one_of_the_values(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == expected


def test_there_is_no_percentile_of_nothing() -> None:
    assert math.isnan(percentile([], 99))


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (1.2345, "1.23"), (12345.6, "12,346"), (0, "0")])
def test_a_figure_has_the_digits_that_count(value: float | None, text: str) -> None:
    assert shown(value) == text


def test_the_table_has_a_column_for_each_measurement_and_a_dash_for_what_was_not_measured() -> None:
    lines = table([MEASURED, MEASURED | {"apply": {}}]).splitlines()
    assert lines[0] == "| | target | 1,000 adapters over 50 bases | 1,000 adapters over 50 bases |"
    assert "| apply → Job, p99, s | < 2 | 1.23 | – |" in lines


def test_only_the_table_of_a_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write(page, "new")
    assert page.read_text() == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


def test_a_page_without_a_place_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no place")
    with pytest.raises(ValueError, match="no place for the table"):
        write(page, "new")
    assert page.read_text() == "no place"


@pytest.mark.parametrize(("adapters", "bases", "first", "second"), [(10_000, 50, 200, 50), (50, 5, 12, 5)])
def test_a_fleet_has_its_adapters_and_two_bases_to_bump(adapters: int, bases: int, first: int, second: int) -> None:
    fleet = Fleet.of(adapters, bases)
    assert fleet.size == adapters == len({base.adapter(number) for base, number in fleet.names()})
    assert (fleet.bases[0].size, fleet.bases[1].size) == (first, second)
    assert max(base.size for base in fleet.bases[2:]) - min(base.size for base in fleet.bases[2:]) <= 1


def test_a_fleet_too_small_for_its_bases_is_refused() -> None:
    with pytest.raises(ValueError, match="an adapter for each"):
        Fleet.of(10, 50)
