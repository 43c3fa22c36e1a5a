"""Rendering of the chart by a real helm."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]

CHART = Path(__file__).resolve().parents[2] / "charts/graft"
KUBE_VERSION = "1.35.0"
"""A helm built from source does not know what Kubernetes it was made for, and takes 1.20."""


@pytest.fixture(scope="session")
def helm() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs helm with the given arguments."""
    cache = Path(os.environ.get("GRAFT_CACHE", Path.home() / ".cache/graft"))
    candidates = (os.environ.get("GRAFT_HELM"), shutil.which("helm"), shutil.which(cache / "bin/helm"))
    program = next((candidate for candidate in candidates if candidate), None)
    if program is None:
        pytest.fail("helm is not here: install Helm 3, set GRAFT_HELM to it, or let `make cluster-up` build it")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *arguments], text=True, capture_output=True, check=False)

    return run


@pytest.fixture(scope="session")
def template(
    helm: Callable[..., subprocess.CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs ``helm template`` with values laid over the one that must be given."""
    file = tmp_path_factory.mktemp("chart") / "values.json"

    @functools.cache
    def run_once(values: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        file.write_text(values)
        common = ("--namespace=graft-system", f"--kube-version={KUBE_VERSION}", f"--values={file}")
        return helm("template", "graft", str(CHART), *common, *arguments)

    def run(values: Mapping[str, Any] | None = None, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_once(json.dumps({"registry": {"bucket": "graft"}} | dict(values or {})), *arguments)

    return run


@pytest.fixture(scope="session")
def render(template: Callable[..., subprocess.CompletedProcess[str]]) -> Render:
    """Return a function that gives the manifests of a release."""

    parsed: dict[str, list[Manifest]] = {}

    def run(values: Mapping[str, Any] | None = None, *arguments: str) -> list[Manifest]:
        result = template(values, *arguments)
        assert result.returncode == 0, result.stderr
        if result.stdout not in parsed:
            parsed[result.stdout] = [manifest for manifest in yaml.safe_load_all(result.stdout) if manifest]
        return parsed[result.stdout]

    return run
