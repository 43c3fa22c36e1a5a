"""What the chart accepts, and what it says to the rest."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from tests.chart.conftest import CHART, KUBE_VERSION

MONITORING = "--api-versions=monitoring.coreos.com/v1"

GOOD_VALUES = {
    "defaults": {},
    "aws with workload identity": {
        "registry": {"bucket": "models", "region": "eu-central-1", "forcePathStyle": False},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/graft"}},
    },
    "own store": {"registry": {"bucket": "graft", "endpoint": "http://minio.s3:9000", "existingSecret": "s3"}},
    "two namespaces": {"watchNamespaces": ["team-a", "team-b"]},
    "foreign account": {"serviceAccount": {"create": False, "name": "mine"}, "rbac": {"create": False}},
    "crds elsewhere": {"crds": {"install": False}},
    "bare": {"metrics": {"service": {"enabled": False}}, "releaseFinalizers": {"enabled": False}},
    "monitored": {
        "metrics": {
            "serviceMonitor": {"enabled": True},
            "podMonitor": {"enabled": True, "interval": "1m", "labels": {"release": "prometheus"}},
            "prometheusRule": {
                "enabled": True,
                "labels": {"role": "alerts"},
                "runbookUrl": "https://wiki.example.com/a",
            },
            "dashboards": {"enabled": True, "annotations": {"grafana_folder": "Graft"}},
            "gpuSecondPrice": 0.0007,
            "perAdapter": False,
        }
    },
    "traced": {"tracing": {"otlpEndpoint": "http://collector.monitoring:4318", "sampleRatio": 0.1, "engine": True}},
    "placed": {
        "operator": {
            "nodeSelector": {"pool": "system"},
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "priorityClassName": "system-cluster-critical",
            "podLabels": {"team": "platform"},
            "podAnnotations": {"note": "x"},
            "extraEnv": [{"name": "AWS_CA_BUNDLE", "value": "/ca.pem"}],
        },
        "images": {"pullSecrets": [{"name": "pull"}]},
    },
}

GOOD_VALUES |= {
    "OpenShift": {"podSecurity": {"userIds": "Platform"}},
    "ids of a platform's own": {"podSecurity": {"runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001}},
    "private registry": {
        "images": {"pullSecrets": [{"name": "pull"}]},
        "tenantPods": {"imagePullSecrets": [{"name": "pull"}]},
    },
    "a mesh and a cost centre": {
        "tenantPods": {
            "labels": {"cost-centre": "42", "sidecar.istio.io/inject": "true"},
            "annotations": {
                "sidecar.istio.io/nativeSidecar": "true",
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
            },
            "priorityClassName": "tenants",
        }
    },
    "behind a proxy": {
        "proxy": {"https": "http://proxy.corp:3128", "noProxy": ["minio.s3", "10.0.0.0/8"]},
        "caBundle": {"configMap": "trusted-ca", "key": "ca-bundle.crt"},
    },
}

BAD_VALUES = {
    "user ids": ({"podSecurity": {"userIds": "OpenShift"}}, "userIds"),
    "root": ({"podSecurity": {"runAsUser": 0}}, "runAsUser"),
    "a name instead of a reference": ({"tenantPods": {"imagePullSecrets": ["pull"]}}, "imagePullSecrets"),
    "our label": ({"tenantPods": {"labels": {"graft.dev/component": "x"}}}, "labels"),
    "a label of the Job controller's": ({"tenantPods": {"labels": {"job-name": "x"}}}, "labels"),
    "our annotation": ({"tenantPods": {"annotations": {"graft.dev/run": "{}"}}}, "annotations"),
    "our variable": ({"tenantPods": {"env": {"GRAFT_REGISTRY": "{}"}}}, "env"),
    "a number in the environment": ({"tenantPods": {"env": {"OMP_NUM_THREADS": 4}}}, "env"),
    "a proxy without a scheme": ({"proxy": {"https": "proxy:3128"}}, "https"),
    "a text of hosts": ({"proxy": {"noProxy": "a,b"}}, "noProxy"),
    "a bundle's file": ({"caBundle": {"configMap": "/etc/ssl/ca.pem"}}, "configMap"),
    "unknown": ({"registri": {}}, "registri"),
    "unknown inside": ({"operator": {"replicas": 3}}, "replicas"),
    "no workers": ({"operator": {"workers": 0}}, "workers"),
    "log level": ({"operator": {"log": {"level": "TRACE"}}}, "level"),
    "digest": ({"images": {"trainer": {"digest": "latest"}}}, "digest"),
    "endpoint": ({"registry": {"bucket": "graft", "endpoint": "minio:9000"}}, "endpoint"),
    "prefix": ({"registry": {"bucket": "graft", "prefix": "/graft/"}}, "prefix"),
    "glob": ({"watchNamespaces": ["team-*"]}, "watchNamespaces"),
    "no bucket": ({"registry": {}}, "registry.bucket must be set"),
    "no account": ({"serviceAccount": {"create": False}}, "serviceAccount.name must be set"),
    "no Prometheus": ({"metrics": {"serviceMonitor": {"enabled": True}}}, "Prometheus Operator"),
    "no pods' monitor": ({"metrics": {"podMonitor": {"enabled": True}}}, "Prometheus Operator"),
    "price below nothing": ({"metrics": {"gpuSecondPrice": -1}}, "gpuSecondPrice"),
    "runbook with a fragment": ({"metrics": {"prometheusRule": {"runbookUrl": "https://a/b#c"}}}, "runbookUrl"),
    "collector without a scheme": ({"tracing": {"otlpEndpoint": "collector:4317"}}, "otlpEndpoint"),
    "collector with its path": ({"tracing": {"otlpEndpoint": "http://collector:4318/v1/traces"}}, "otlpEndpoint"),
    "percents of traces": ({"tracing": {"otlpEndpoint": "http://c:4318", "sampleRatio": 10}}, "sampleRatio"),
    "no rules": ({"metrics": {"prometheusRule": {"enabled": True}}}, "Prometheus Operator"),
}


def test_lint(helm: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    result = helm("lint", "--strict", str(CHART), "--set=registry.bucket=graft", f"--kube-version={KUBE_VERSION}")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("name", "kube_version"),
    [*((name, KUBE_VERSION) for name in GOOD_VALUES), ("defaults", "1.30.0"), ("defaults", "1.33.4-gke.1")],
)
def test_good_values_render(
    template: Callable[..., subprocess.CompletedProcess[str]], name: str, kube_version: str
) -> None:
    result = template(GOOD_VALUES[name], MONITORING, f"--kube-version={kube_version}")
    assert result.returncode == 0, result.stderr
    names = [(m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in documents(result.stdout)]
    assert len(names) == len(set(names)), "two objects of one name"


def documents(text: str) -> list[dict[str, Any]]:
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


@pytest.mark.parametrize("name", BAD_VALUES)
def test_bad_values_are_refused_by_name(template: Callable[..., subprocess.CompletedProcess[str]], name: str) -> None:
    values, says = BAD_VALUES[name]
    result = template(values)
    assert result.returncode != 0
    assert says in result.stderr


def test_old_clusters_are_refused(template: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert "kubeVersion" in template({}, "--kube-version=1.29.9").stderr


def test_schema_and_values_name_the_same_things() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    described = set(schema_paths(schema, schema)) - {"global"}
    assert described == set(value_paths(values, described))


def schema_paths(root: Any, node: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of the schema's leaves."""
    if "$ref" in node:
        node = root["definitions"][node["$ref"].rpartition("/")[2]]
    if "properties" not in node:
        yield path
    for name, child in node.get("properties", {}).items():
        yield from schema_paths(root, child, f"{path}.{name}".lstrip("."))


def value_paths(node: Any, leaves: set[str], path: str = "") -> Iterator[str]:
    """Yield the paths of the values, no deeper than the schema's leaves."""
    if path in leaves or not isinstance(node, dict):
        yield path
        return
    for name, child in node.items():
        yield from value_paths(child, leaves, f"{path}.{name}".lstrip("."))
