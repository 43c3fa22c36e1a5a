"""The metrics are those of docs/metrics.md, and a version's go with it."""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.exported_series import KEY, STREAM, agent_metrics

from graft_serving.telemetry.metrics import Metrics

TABLE_ROW = re.compile(r"^\| `(?P<name>graft_\w+)` \| (?P<kind>\w+) \| (?P<labels>[\w, ]*) \|", re.MULTILINE)
DOCUMENT = Path(__file__).parents[4] / "docs" / "metrics.md"


def exposed(metrics: Metrics) -> dict[str, tuple[str, set[str]]]:
    """Name → type and labels, as a scrape sees them."""
    found: dict[str, tuple[str, set[str]]] = {}
    for family in metrics.registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = (family.type, labels)
    return found


def test_the_document_lists_exactly_these_metrics() -> None:
    section = re.split(r"^## ", DOCUMENT.read_text().partition("## Serving pods\n")[2], maxsplit=1, flags=re.MULTILINE)[
        0
    ]
    documented = {row["name"]: (row["kind"], set(row["labels"].split(", "))) for row in TABLE_ROW.finditer(section)}
    assert documented == exposed(agent_metrics())


async def test_the_first_failure_of_a_version_is_a_change_to_prometheus() -> None:
    metrics = Metrics()
    metrics.loaded(KEY, 0.5)
    before = (await metrics.exposed()).decode()
    metrics.answered("support", "v7", replace(STREAM, complete=False))
    metrics.answered("support", "v7", replace(STREAM, status=503))
    metrics.lost("support", "v7")
    after = (await metrics.exposed()).decode()
    for status in ("broken", "5xx", "lost"):
        series = f'graft_requests_total{{adapter="support",version="v7",status="{status}"}}'
        assert f"{series} 0.0\n" in before
        assert f"{series} 1.0\n" in after


async def test_nothing_is_left_of_a_version_that_is_forgotten() -> None:
    metrics = agent_metrics()
    metrics.answered("support", "v8", STREAM)
    metrics.forgotten(KEY)
    text = (await metrics.exposed()).decode()
    assert 'version="v7"' not in text
    assert 'version="v7"' not in generate_latest(metrics.registry).decode()
    assert 'graft_requests_total{adapter="support",version="v8",status="2xx"} 1.0' in text


async def test_the_page_says_what_the_registry_holds() -> None:
    metrics = agent_metrics()
    assert values(text_string_to_metric_families((await metrics.exposed()).decode())) == values(
        metrics.registry.collect()
    )


def values(families: Iterable[Metric]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


async def test_the_page_of_a_thousand_versions_lets_others_go_on_meanwhile() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.answered(f"adapter-{number}", "v1", STREAM)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    page = await metrics.exposed()
    beside.cancel()
    assert page.count(b"\n") > 40_000
    assert turns > 5
