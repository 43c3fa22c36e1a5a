"""A Prometheus on this machine that scrapes the cluster as docs/metrics.md says, through the API server.

Debian's has no discovery of Kubernetes. What that finds, by the labels that it gives, is written into files for it
instead; everything else of the page's configuration is taken as it stands.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from demo.cluster import Cluster
from demo.release import CHART, NAMESPACE, RELEASE
from tests.chart.conftest import KUBE_VERSION
from tests.ports import free_port

PAGE = CHART.parents[1] / "docs" / "metrics.md"
START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs, by its API."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant query, as they are now."""
        found: list[dict[str, Any]] = self._get(f"query?query={urllib.parse.quote(expression)}")["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Return all rules, with their health."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> list[dict[str, Any]]:
        """Return what is scraped, with its health."""
        found: list[dict[str, Any]] = self._get("targets?state=active")["activeTargets"]
        return found

    def wait_for(self, expression: str, *, absent: bool = False, seconds: float = 60.0) -> None:
        """Wait until an expression has a result, or none."""
        deadline = time.monotonic() + seconds
        while bool(self.query(expression)) is absent:
            assert time.monotonic() < deadline, f"{expression} has {'a' if absent else 'no'} result; {self.targets()}"
            time.sleep(0.5)

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=10) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
        return data


@contextmanager
def running(cluster: Cluster, folder: Path, cache: Path) -> Iterator[Prometheus]:
    """Run Prometheus, with the rules of the chart, until the block ends."""
    program = shutil.which("prometheus") or shutil.which(cache / "bin" / "prometheus")
    if program is None:
        pytest.fail("prometheus is not here: install it, or let `make prometheus` fetch it")
    port = free_port()
    (folder / "graft-rules.yaml").write_text(yaml.safe_dump(rules(cluster)))
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration(cluster, folder)))
    command = (
        program,
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield _started(process, f"http://127.0.0.1:{port}", folder / "prometheus.log")
        finally:
            process.terminate()
            process.wait(timeout=30)


def _started(process: subprocess.Popen[bytes], url: str, log: Path) -> Prometheus:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=5):
                return Prometheus(url)
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)


def rules(cluster: Cluster) -> dict[str, Any]:
    """Return the chart's rules as a file of Prometheus."""
    text = cluster.run(
        *("helm", "template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--set", "registry.bucket=graft"),
        *("--set", "metrics.prometheusRule.enabled=true", "--api-versions", "monitoring.coreos.com/v1"),
        *("--show-only", "templates/metrics/prometheus_rule.yaml", "--kube-version", KUBE_VERSION),
    )
    found: dict[str, Any] = yaml.safe_load(text)["spec"]
    return found


def configuration(cluster: Cluster, folder: Path) -> dict[str, Any]:
    """Return the page's configuration, with the way to the pods: this machine reaches none of them by itself."""
    (block,) = re.findall(r"^```yaml\n(scrape_configs:.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    config: dict[str, Any] = yaml.safe_load(block)
    server, access = api_access(cluster, folder)
    for job in config["scrape_configs"]:
        job |= {"scheme": "https", **access}
        discovered = [
            target for discovery in job.pop("kubernetes_sd_configs") for target in found_by(cluster, discovery)
        ]
        (folder / f"{job['job_name']}.json").write_text(json.dumps(discovered))
        job["file_sd_configs"] = [{"files": [str(folder / f"{job['job_name']}.json")]}]
        job["relabel_configs"] += [
            {
                "source_labels": [
                    "__meta_kubernetes_namespace",
                    "__meta_kubernetes_pod_name",
                    "__meta_kubernetes_pod_container_port_number",
                ],
                "regex": "(.+);(.+);(.+)",
                "target_label": "__metrics_path__",
                "replacement": "/api/v1/namespaces/$1/pods/$2:$3/proxy/metrics",
            },
            {"target_label": "__address__", "replacement": server},
        ]
    return config | {"global": {"scrape_interval": "2s", "evaluation_interval": "2s"}}


def found_by(cluster: Cluster, discovery: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the targets that Prometheus' discovery of Kubernetes would find, as far as the page goes by them."""
    namespaces = discovery.get("namespaces", {}).get("names")
    pods = {(item["metadata"]["namespace"], item["metadata"]["name"]): item for item in _all(cluster, "pods")}
    if discovery["role"] == "pod":
        assert namespaces is None
        for pod in pods.values():
            for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
                for port in container.get("ports", ()):
                    yield _target(pod_labels(pod, port["containerPort"], port.get("name", "")))
        return
    assert discovery["role"] == "endpointslice"
    services = {(item["metadata"]["namespace"], item["metadata"]["name"]): item for item in _all(cluster, "services")}
    for piece in _all(cluster, "endpointslices"):
        namespace = piece["metadata"]["namespace"]
        name = (namespace, piece["metadata"].get("labels", {}).get("kubernetes.io/service-name", ""))
        if name not in services or namespace not in (namespaces or [namespace]):
            continue
        own = {"__meta_kubernetes_service_name": name[1], **_meta("service", services[name]["metadata"])}
        for endpoint in piece["endpoints"] or ():
            backing = pods.get((namespace, endpoint.get("targetRef", {}).get("name", "")))
            if backing is not None:
                yield from (_target(own | pod_labels(backing, port["port"], "")) for port in piece["ports"] or ())


def pod_labels(pod: dict[str, Any], port: int, port_name: str) -> dict[str, str]:
    """Return the labels that discovery gives a port of a pod."""
    metadata = pod["metadata"]
    return {
        "__meta_kubernetes_namespace": metadata["namespace"],
        "__meta_kubernetes_pod_name": metadata["name"],
        "__meta_kubernetes_pod_container_port_name": port_name,
        "__meta_kubernetes_pod_container_port_number": str(port),
        **_meta("pod", metadata),
    }


def _meta(kind: str, metadata: dict[str, Any]) -> dict[str, str]:
    return {
        f"__meta_kubernetes_{kind}_{what}_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}": value
        for what in ("label", "annotation")
        for name, value in metadata.get(f"{what}s", {}).items()
    }


def _target(labels: dict[str, str]) -> dict[str, Any]:
    # Files may name a target once; its address is replaced anyway.
    name = f"{labels['__meta_kubernetes_pod_name']}:{labels['__meta_kubernetes_pod_container_port_number']}"
    return {"targets": [name], "labels": labels}


def _all(cluster: Cluster, kind: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(cluster.kubectl("get", kind, "--all-namespaces", "-o", "json"))["items"]
    return items


def api_access(cluster: Cluster, folder: Path) -> tuple[str, dict[str, Any]]:
    """Return host and port of the API server, and what a scrape through it needs."""
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    api, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    tls: dict[str, Any] = {}
    for name, source in (
        ("ca_file", api.get("certificate-authority-data")),
        ("cert_file", user.get("client-certificate-data")),
        ("key_file", user.get("client-key-data")),
    ):
        if source:
            _secret(folder / name, base64.b64decode(source))
            tls[name] = str(folder / name)
    token = {"authorization": {"credentials": user["token"]}} if user.get("token") else {}
    return urllib.parse.urlsplit(api["server"]).netloc, {"tls_config": tls, **token}


def _secret(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
