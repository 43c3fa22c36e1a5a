"""A real Prometheus, configured as docs/metrics.md says, has every series of the rules and dashboards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo.cluster import Cluster, Object
from demo.environment import Environment
from demo.release import CHART, NAMESPACE
from tests.chart.monitoring.promql import series_in
from tests.chart.monitoring.test_dashboards import expressions
from tests.e2e.clusters import prometheus
from tests.e2e.clusters.prometheus import Prometheus
from tests.e2e.reach import Inside
from tests.e2e.serving import Serving
from tests.e2e.tenant import ADAPTERS, BASE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

NAME = "metered"
NOT_HERE = frozenset(
    {
        # This cluster has no GPUs.
        *("graft_training_gpus", "graft_training_gpu_seconds_total"),
        *("graft_serving_gpus", "graft_serving_gpu_seconds_total"),
        # The first version of an adapter has no canary, and learns no preferences; nobody refuses it.
        *("graft_adapter_canary_weight_ratio", "graft_adapter_canary_step_due_timestamp_seconds"),
        *("graft_adapter_preference_accuracy_ratio", "graft_refusals_total"),
        # Of a training under way; one of three seconds may be over between two scrapes.
        *("graft_adapter_training_loss", "graft_adapter_training_eta_seconds"),
        # Each pod holds the adapter, so no request is sent on.
        "graft_forwards_total",
    }
)
STREAM = """
import json, sys, urllib.request
url, model = sys.argv[1:]
body = json.dumps({"model": model, "prompt": "1", "max_tokens": 8, "stream": True, "ignore_eos": True}).encode()
request = urllib.request.Request(url + "/v1/completions", body, {"Content-Type": "application/json"})
print(len(urllib.request.urlopen(request, timeout=120).read()))
"""
REFUSED = """
import sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1] + "/v1/completions", b'{"model": "nobody", "prompt": "1"}')
try:
    urllib.request.urlopen(request, timeout=60)
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.fixture(scope="module")
def scraping(
    cluster: Cluster, environment: Environment, serving: Serving, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Return a Prometheus that scrapes the operator and the pods of the base, which are there by now."""
    with prometheus.running(cluster, tmp_path_factory.mktemp("prometheus"), environment.cache) as found:
        found.wait_for("graft_leader == 1")
        yield found


@pytest.fixture(scope="module")
def served(scraping: Prometheus, serving: Serving) -> Object:
    """Return an adapter that was trained and asked while Prometheus looked."""
    tenant = serving.tenant
    tenant.apply(tenant.adapter(NAME))
    settled = tenant.wait_settled(NAME)
    [pod, *_] = tenant.cluster.list("pods", tenant.namespace, "graft.dev/component=serving")
    inside = Inside(cluster=tenant.cluster, namespace=tenant.namespace, pod=pod["metadata"]["name"], container="agent")
    for model in (NAME, BASE):
        assert int(inside.run(STREAM, "http://127.0.0.1:8000", model)) > 0
    assert inside.run(REFUSED, "http://127.0.0.1:8000").strip() == "404"
    scraping.wait_for(f'graft_requests_total{{adapter="{NAME}",base="{BASE}",namespace="{tenant.namespace}"}} >= 1')
    scraping.wait_for('graft_rejected_total{code="model_not_found"} >= 1')
    return settled


def test_all_targets_are_found_and_scraped(served: Object, scraping: Prometheus, serving: Serving) -> None:
    targets = [
        target
        for target in scraping.targets()
        if target["labels"]["namespace"] in {serving.tenant.namespace, NAMESPACE}
    ]
    assert [target["lastError"] for target in targets if target["health"] != "up"] == []
    jobs = [target["labels"]["job"] for target in targets]
    assert jobs.count("graft-operator") == 1
    assert jobs.count("graft-serving") == len(serving.tenant.agent_states())


def test_every_series_of_the_dashboards_and_rules_is_there(served: Object, scraping: Prometheus) -> None:
    files: list[Path] = sorted((CHART / "dashboards").glob("*.json"))
    asked = [expression for file in files for expression in expressions(json.loads(file.read_text()))]
    asked += [rule["query"] for rule in scraping.rules()]
    names = {name for expression in asked for name in series_in(expression)}
    assert len(names) > 40
    missing = {name for name in names if not scraping.query(f"last_over_time({name}[20m])")}
    assert missing <= NOT_HERE


def test_rules_are_evaluated_without_errors_and_the_operator_is_found(served: Object, scraping: Prometheus) -> None:
    rules = {rule["name"]: rule for rule in scraping.rules()}
    assert {name: rule["lastError"] for name, rule in rules.items() if rule["health"] != "ok"} == {}
    for name in ("GraftOperatorDown", "GraftOperatorWithoutLease"):
        assert rules[name]["state"] == "inactive"


def test_series_of_a_deleted_adapter_vanish(served: Object, scraping: Prometheus, serving: Serving) -> None:
    tenant = serving.tenant
    of_adapter = f'{{__name__=~"graft_.+",adapter="{NAME}",namespace="{tenant.namespace}"}}'
    assert scraping.query(of_adapter)
    tenant.cluster.delete(ADAPTERS, NAME, tenant.namespace)
    scraping.wait_for(of_adapter, absent=True)
