"""Values for other people's clusters: they reach the operator's own pods, and by its settings those of tenants."""

from __future__ import annotations

from typing import Any

import pytest
from tests.chart.conftest import Manifest, Render
from tests.chart.test_pods import environment, one, operator_environment, pod_specs

from graft_operator.api.pods.settings import OWN_VARIABLES, RESERVED_LABELS
from graft_operator.manifests.certificates import DIRECTORY, FILE, VARIABLES
from graft_operator.manifests.tenant_pods import FIXED_IDS, TenantPods
from graft_operator.settings import Settings

PROXY = {"http": "http://proxy.corp:3128", "https": "http://proxy.corp:3129", "noProxy": ["minio.s3", "10.0.0.0/8"]}


def tenant_pods(manifests: list[Manifest]) -> TenantPods:
    return Settings.from_environment(operator_environment(manifests)).tenant_pods


def operator_container(manifests: list[Manifest]) -> dict[str, Any]:
    [container] = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(container)


def test_nothing_is_asked_of_pods_by_default(render: Render) -> None:
    assert tenant_pods(render()) == TenantPods()


def test_what_is_asked_of_tenants_pods_arrives_as_it_was_given(render: Render) -> None:
    asked = {
        "imagePullSecrets": [{"name": "pull"}],
        "labels": {"cost-centre": "42"},
        "annotations": {"sidecar.istio.io/nativeSidecar": "true"},
        "env": {"NCCL_DEBUG": "WARN", "EMPTY": ""},
        "priorityClassName": "tenants",
    }
    assert tenant_pods(render({"tenantPods": asked})) == TenantPods.model_validate(asked)


def test_user_ids_are_fixed_or_the_platforms_for_every_pod(render: Render) -> None:
    assert tenant_pods(render()).user_ids == FIXED_IDS
    manifests = render({"podSecurity": {"userIds": "Platform"}})
    assert tenant_pods(manifests).user_ids.to_wire() == {}
    for pod in pod_specs(manifests):
        assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_ids_of_ones_own_are_numbers_in_every_pod(render: Render) -> None:
    ids = {"runAsUser": 1000650000, "runAsGroup": 1000650000, "fsGroup": 1000650001}
    manifests = render({"podSecurity": ids})
    assert tenant_pods(manifests).user_ids.to_wire() == ids
    for pod in pod_specs(manifests):
        assert ids.items() <= pod["securityContext"].items()


def test_a_proxy_is_named_in_both_cases_and_never_for_what_is_inside(render: Render) -> None:
    manifests = render({"proxy": PROXY})
    own, tenants = environment(operator_container(manifests)), tenant_pods(manifests).env
    for name, value in (("http_proxy", PROXY["http"]), ("https_proxy", PROXY["https"])):
        assert own[name] == own[name.upper()] == tenants[name] == tenants[name.upper()] == value
    for found in (own, tenants):
        assert found["no_proxy"] == found["NO_PROXY"]
        inside = found["NO_PROXY"].split(",")
        assert {"localhost", "127.0.0.1", "::1", ".svc", ".cluster.local", "minio.s3", "10.0.0.0/8"} <= set(inside)
        assert "$(KUBERNETES_SERVICE_HOST)" in inside, "each container knows where its API server is"


def test_a_proxy_for_https_alone(render: Render) -> None:
    found = tenant_pods(render({"proxy": {"https": PROXY["https"]}})).env
    assert found.keys() == {"https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"}


def test_the_environment_of_tenants_wins_over_the_proxy(render: Render) -> None:
    found = tenant_pods(render({"proxy": PROXY, "tenantPods": {"env": {"HTTPS_PROXY": "http://other"}}})).env
    assert found["HTTPS_PROXY"] == "http://other"


def test_certificates_are_trusted_by_the_operator_and_by_tenants(render: Render) -> None:
    manifests = render({"caBundle": {"configMap": "trusted", "key": "ca-bundle.crt"}})
    bundle = tenant_pods(manifests).ca_bundle
    assert bundle is not None
    assert bundle.to_wire() == {"name": "trusted", "key": "ca-bundle.crt"}
    container = operator_container(manifests)
    assert {"name": "ca-bundle", "mountPath": DIRECTORY, "readOnly": True} in container["volumeMounts"]
    assert {name: environment(container)[name] for name in VARIABLES} == dict.fromkeys(VARIABLES, f"{DIRECTORY}/{FILE}")
    volumes = one(manifests, "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert {
        "name": "ca-bundle",
        "configMap": {"name": "trusted", "items": [{"key": "ca-bundle.crt", "path": FILE}]},
    } in volumes


def test_the_hooks_resources_can_be_set(render: Render) -> None:
    asked = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "100m", "memory": "128Mi"}}
    manifests = render({"releaseFinalizers": {"resources": asked}})
    [hook] = one(manifests, "Job")["spec"]["template"]["spec"]["containers"]
    assert hook["resources"] == asked


def test_the_metrics_service_takes_both_families(render: Render) -> None:
    assert one(render(), "Service")["spec"]["ipFamilyPolicy"] == "PreferDualStack"


@pytest.mark.parametrize("name", [*OWN_VARIABLES, "GRAFT_REGISTRY"])
def test_the_chart_refuses_the_variables_that_the_operator_refuses(template: Any, name: str) -> None:
    result = template({"tenantPods": {"env": {name: "x"}}})
    assert result.returncode != 0
    assert f"tenantPods.env: {name}" in result.stderr


@pytest.mark.parametrize(
    "name", [*RESERVED_LABELS, "graft.dev/x", "kueue.x-k8s.io/queue-name", "app.kubernetes.io/name"]
)
def test_the_chart_refuses_the_labels_that_the_operator_refuses(template: Any, name: str) -> None:
    result = template({"tenantPods": {"labels": {name: "x"}}})
    assert result.returncode != 0
    assert f"tenantPods.labels: {name}" in result.stderr
