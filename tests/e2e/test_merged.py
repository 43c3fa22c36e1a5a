"""An adapter that is served merged: a model of its own, on pods of its own, that answers as the adapter does."""

from __future__ import annotations

import pytest
from demo.cluster import condition
from tests.e2e.serving import ENGINE_SECONDS, Serving

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


def test_merged_adapter_answers_from_pods_of_its_own(serving: Serving) -> None:
    tenant = serving.tenant
    tenant.apply(tenant.adapter("alone", serving={"mode": "Merged"}))
    adapter = tenant.wait_settled("alone", timeout=2 * ENGINE_SECONDS)
    endpoint = adapter["status"]["serving"]["endpoint"]
    assert endpoint == f"http://graft-alone-merged.{tenant.namespace}.svc:8000"
    assert condition(adapter, "Ready")["status"] == "True"
    assert adapter["status"]["servedVersion"] == 1

    [manifest] = tenant.versions("alone")
    assert manifest["merge"]["argmaxAgreement"] >= 0.95
    answers = serving.client.ask(endpoint, {"alone": serving.sample}, concurrency=1)["alone"]
    assert [answer.status for answer in answers] == [200] * len(answers)
    assert [answer.text for answer in answers] != serving.base_answers
    [unknown] = serving.client.ask(serving.url, {"alone": serving.sample[:1]})["alone"]
    assert unknown.status == 404
    assert_moves_to_the_engine(serving, endpoint)

    tenant.cluster.kubectl("delete", "loraadapter", "alone", "-n", tenant.namespace)


def assert_moves_to_the_engine(serving: Serving, endpoint: str) -> None:
    """Have the merged adapter served beside others: without training, and both answer before the one ends."""
    tenant = serving.tenant
    tenant.apply(tenant.adapter("alone", serving={"mode": "MultiAdapter"}))
    adapter = tenant.wait_settled("alone")
    assert "endpoint" not in adapter["status"]["serving"]
    for url in (endpoint, serving.url):
        answers = serving.client.ask(url, {"alone": serving.sample}, concurrency=1)["alone"]
        assert [answer.status for answer in answers] == [200] * len(answers), url
        assert [answer.text for answer in answers] != serving.base_answers
    assert len(tenant.versions("alone")) == 1

    tenant.apply(tenant.adapter("alone"))  # which gives clients no more than a moment to move
    tenant.wait_for_adapter("alone", lambda seen: "former" not in seen["status"]["serving"], "served once", 120)
    assert all("deletionTimestamp" in pod["metadata"] for pod in tenant.pods("merged"))
