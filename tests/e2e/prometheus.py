"""A Prometheus on this machine that scrapes the cluster as docs/metrics.md says, through the API server."""

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
        *("--show-only", "templates/metrics/prometheus_rule.yaml"),
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
        for discovery in job["kubernetes_sd_configs"]:
            discovery["kubeconfig_file"] = str(folder / "kubeconfig")
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


def api_access(cluster: Cluster, folder: Path) -> tuple[str, dict[str, Any]]:
    """Return host and port of the API server, and what a scrape through it needs; it writes the kubeconfig, too."""
    text = cluster.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json")
    _secret(folder / "kubeconfig", text.encode())
    config = json.loads(text)
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
