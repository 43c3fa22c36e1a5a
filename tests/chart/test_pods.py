"""The chart's pods: locked down, told where everything is, and told it in the operator's own words."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.chart.conftest import Manifest, Render

from graft_operator.settings import PREFIX, Settings

DIGEST = f"sha256:{'a' * 64}"
LEFT_TO_THE_PROCESS = {"identity"}


def one(manifests: list[Manifest], kind: str, name_part: str = "") -> Manifest:
    (found,) = [m for m in manifests if m["kind"] == kind and name_part in m["metadata"]["name"]]
    return found


def pod_specs(manifests: list[Manifest]) -> list[dict[str, Any]]:
    return [m["spec"]["template"]["spec"] for m in manifests if m["kind"] in ("Deployment", "Job")]


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


def own_environment(manifests: list[Manifest]) -> dict[str, str]:
    """Return the variables that are settings of the operator's."""
    return {name: value for name, value in operator_environment(manifests).items() if name.startswith(PREFIX)}


def operator_environment(manifests: list[Manifest]) -> dict[str, str]:
    (container,) = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    return environment(container)


def test_pods_meet_the_restricted_standard(render: Render) -> None:
    pods = pod_specs(render())
    assert len(pods) == 2
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 65532
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all("emptyDir" in volume for volume in pod["volumes"])
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert container["resources"]["limits"].keys() == {"cpu", "memory"}, "a quota on limits takes no other pod"


def test_one_operator_at_a_time(render: Render) -> None:
    spec = one(render(), "Deployment")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_probes_go_to_the_port_that_the_settings_name(render: Render) -> None:
    manifests = render()
    (container,) = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert port["containerPort"] == Settings.from_environment(operator_environment(manifests)).probe_port
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": port["name"]}


def test_every_setting_of_the_operator_is_set(render: Render) -> None:
    expected = {PREFIX + name.upper() for name in Settings.model_fields.keys() - LEFT_TO_THE_PROCESS}
    assert own_environment(render({"networkPolicies": {"enabled": True}})).keys() == expected


def test_settings_arrive_as_they_were_given(render: Render) -> None:
    values = {
        "registry": {
            "bucket": "models",
            "endpoint": "http://minio.s3:9000",
            "prefix": "graft",
            "forcePathStyle": False,
            "serverSideEncryption": "aws:kms",
            "kmsKeyId": "alias/graft",
        },
        "watchNamespaces": ["team-a", "team-b"],
        "operator": {"workers": 7, "resyncSeconds": 60, "log": {"format": "console", "level": "DEBUG"}},
        "engine": {"args": ["--enforce-eager", '--x={"a": 1}'], "env": {"VLLM_CPU_KVCACHE_SPACE": "1"}},
        "images": {"pullPolicy": "Never", "agent": {"digest": DIGEST}},
    }
    settings = Settings.from_environment(operator_environment(render(values)))
    registry = settings.registry
    assert (registry.endpoint, registry.bucket, registry.prefix) == ("http://minio.s3:9000", "models", "graft")
    assert (registry.region, registry.force_path_style) == ("us-east-1", False)
    assert (registry.server_side_encryption, registry.kms_key_id) == ("aws:kms", "alias/graft")
    assert settings.watch_namespaces == ("team-a", "team-b")
    assert (settings.workers, settings.resync_seconds) == (7, 60)
    assert (settings.log_format, settings.log_level) == ("console", "DEBUG")
    assert settings.engine_args == ("--enforce-eager", '--x={"a": 1}')
    assert settings.engine_env == {"VLLM_CPU_KVCACHE_SPACE": "1"}
    assert settings.image_pull_policy == "Never"
    assert settings.agent_image == f"graft/agent@{DIGEST}"
    assert settings.lease_namespace == "graft-system"


def test_no_endpoint_means_aws(render: Render) -> None:
    assert Settings.from_environment(operator_environment(render())).registry.endpoint is None


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "graft/operator:0.2.0"),
        ({"tag": "main"}, "graft/operator:main"),
        ({"tag": "main", "digest": DIGEST}, f"graft/operator@{DIGEST}"),
        ({"repository": "localhost:5000/graft/operator", "tag": "3f2a"}, "localhost:5000/graft/operator:3f2a"),
    ],
)
def test_image_reference(render: Render, image: dict[str, str], reference: str) -> None:
    pods = pod_specs(render({"images": {"operator": image}}))
    assert {container["image"] for pod in pods for container in pod["containers"]} == {reference}


def test_operator_gets_its_credentials_from_its_own_namespace(render: Render) -> None:
    manifests = render({"registry": {"bucket": "graft", "existingSecret": "s3"}})
    (container,) = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "s3"}}]


def test_selectors_find_the_operator_and_not_the_hook(render: Render) -> None:
    manifests = render()
    deployment = one(manifests, "Deployment")["spec"]
    for selector in (deployment["selector"]["matchLabels"], one(manifests, "Service")["spec"]["selector"]):
        assert selector.items() <= deployment["template"]["metadata"]["labels"].items()
        assert not selector.items() <= one(manifests, "Job")["spec"]["template"]["metadata"]["labels"].items()


def test_longest_release_name_keeps_names_valid(render: Render) -> None:
    for manifest in render({"fullnameOverride": "r" * 60}):
        name = re.split("[:.]", manifest["metadata"]["name"])[-1]  # what stands outside namespaces begins with one
        assert len(name) <= 63, f"{manifest['kind']} {name}"
