"""The metrics are those of docs/metrics.md, and a version's go with it."""

import re
from pathlib import Path

from prometheus_client import generate_latest

from graft_serving.telemetry.answered import Answered, Usage
from graft_serving.telemetry.metrics import Metrics
from graft_serving.versions import VersionKey

TABLE_ROW = re.compile(r"^\| `(?P<name>graft_\w+)` \| (?P<kind>\w+) \| (?P<labels>[\w, ]*) \|", re.MULTILINE)
DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"
KEY = VersionKey("support", 7, f"sha256:{'a' * 64}")
STREAM = Answered(status=200, seconds=2.0, first_token_seconds=1.0, usage=Usage(3, 5))


def with_every_series() -> Metrics:
    metrics = Metrics()
    metrics.under_way("support", "v7")
    metrics.answered("support", "v7", STREAM)
    metrics.lost("support", "v7")
    metrics.loaded(KEY, 0.5)
    metrics.swapped(KEY, 1.0)
    metrics.refused(KEY, "RankTooHigh")
    metrics.forwarded("answered")
    metrics.rejected("invalid_json")
    return metrics


def exposed(metrics: Metrics) -> dict[str, tuple[str, set[str]]]:
    """Name → type and labels, as a scrape sees them."""
    found: dict[str, tuple[str, set[str]]] = {}
    for family in metrics.registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = (family.type, labels)
    return found


def test_the_document_lists_exactly_these_metrics() -> None:
    documented = {
        row["name"]: (row["kind"], set(row["labels"].split(", "))) for row in TABLE_ROW.finditer(DOCUMENT.read_text())
    }
    assert documented == exposed(with_every_series())


def test_nothing_is_left_of_a_version_that_is_forgotten() -> None:
    metrics = with_every_series()
    metrics.answered("support", "v8", STREAM)
    metrics.forgotten(KEY)
    text = generate_latest(metrics.registry).decode()
    assert 'version="v7"' not in text
    assert 'graft_requests_total{adapter="support",status="2xx",version="v8"} 1.0' in text
