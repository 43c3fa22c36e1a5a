"""An adapter that is served merged: a model of its own, on pods of its own, that answers as the adapter does."""

from __future__ import annotations

import pytest
from demo.client import POD
from demo.cluster import condition
from tests.e2e.reach import Inside
from tests.e2e.serving import ENGINE_SECONDS, Serving
from tests.e2e.tenant import answers

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
    told = serving.client.ask(endpoint, {"alone": serving.sample}, concurrency=1)["alone"]
    assert [answer.status for answer in told] == [200] * len(told)
    assert {answer.version for answer in told} == {"alone@v1"}
    assert [answer.text for answer in told] != serving.base_answers
    assert_only_the_agent_listens(serving)
    [unknown] = serving.client.ask(serving.url, {"alone": serving.sample[:1]})["alone"]
    assert unknown.status == 404
    assert_moves_to_the_engine(serving, endpoint)

    tenant.cluster.kubectl("delete", "loraadapter", "alone", "-n", tenant.namespace)


def assert_only_the_agent_listens(serving: Serving) -> None:
    """Check from another pod that the engine can't be reached beside its agent."""
    tenant = serving.tenant
    client = Inside(cluster=tenant.cluster, namespace=tenant.namespace, pod=POD, container="client")
    for pod in filter(answers, tenant.pods("merged")):
        assert (client.connects(pod, 8000), client.connects(pod, 8001)) == ("open", "refused")


def assert_moves_to_the_engine(serving: Serving, endpoint: str) -> None:
    """Have the merged adapter served beside others: without training, and both answer before the one ends."""
    tenant = serving.tenant
    tenant.apply(tenant.adapter("alone", serving={"mode": "MultiAdapter"}))
    adapter = tenant.wait_settled("alone")
    assert "endpoint" not in adapter["status"]["serving"]
    for url in (endpoint, serving.url):
        told = serving.client.ask(url, {"alone": serving.sample}, concurrency=1)["alone"]
        assert [answer.status for answer in told] == [200] * len(told), url
        assert {answer.version for answer in told} == {"alone@v1"}
        assert [answer.text for answer in told] != serving.base_answers
    assert len(tenant.versions("alone")) == 1

    tenant.apply(tenant.adapter("alone"))  # which gives clients no more than a moment to move
    tenant.wait_for_adapter("alone", lambda seen: "former" not in seen["status"]["serving"], "served once", 120)
    assert all("deletionTimestamp" in pod["metadata"] for pod in tenant.pods("merged"))
