"""NetworkPolicies: of the operator's pod, and what the operator is told to make for serving pods."""

from __future__ import annotations

from typing import Any

from tests.chart.conftest import Manifest, Render

from graft_operator.manifests.platform import NetworkAccess
from graft_operator.manifests.workloads.network_policy import OPERATOR_LABELS
from graft_operator.reconcilers.dispatch import network_access
from graft_operator.settings import Settings

VALUES = {
    "networkPolicies": {
        "enabled": True,
        "clientNamespaces": ["web"],
        "monitoringNamespaces": ["monitoring"],
    }
}


def policies(manifests: list[Manifest]) -> list[Manifest]:
    return [item for item in manifests if item["kind"] == "NetworkPolicy"]


def operator_pod(manifests: list[Manifest]) -> Any:
    [deployment] = [item for item in manifests if item["kind"] == "Deployment"]
    return deployment["spec"]["template"]


def settings_of(manifests: list[Manifest]) -> Settings:
    [container] = operator_pod(manifests)["spec"]["containers"]
    return Settings.from_environment({item["name"]: item.get("value", "") for item in container["env"]})


def test_there_are_none_unless_they_are_asked_for(render: Render) -> None:
    assert policies(render()) == []
    assert network_access(settings_of(render())) is None


def test_only_the_monitoring_namespaces_reach_the_operator(render: Render) -> None:
    manifests = render(VALUES)
    [policy] = policies(manifests)
    selector = policy["spec"]["podSelector"]["matchLabels"]
    assert selector.items() <= operator_pod(manifests)["metadata"]["labels"].items()
    [rule] = policy["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8080}]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]


def test_nobody_reaches_the_operator_where_no_monitoring_is_named(render: Render) -> None:
    [policy] = policies(render({"networkPolicies": {"enabled": True}}))
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert "ingress" not in policy["spec"]


def test_the_operator_is_told_whom_to_let_to_serving_pods(render: Render) -> None:
    assert network_access(settings_of(render(VALUES))) == NetworkAccess(
        operator_namespace="graft-system", client_namespaces=("web",), monitoring_namespaces=("monitoring",)
    )


def test_serving_pods_let_in_the_operator_by_the_labels_that_it_has(render: Render) -> None:
    assert OPERATOR_LABELS.items() <= operator_pod(render(VALUES))["metadata"]["labels"].items()


def test_a_namespace_that_can_not_be_one_is_refused(template: Any) -> None:
    refused = template({"networkPolicies": {"enabled": True, "clientNamespaces": ["Web!"]}})
    assert refused.returncode != 0
    assert "clientNamespaces" in refused.stderr
