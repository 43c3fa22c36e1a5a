"""The CRDs on a real API server: accepted as structural, and refusing what the operator's models refuse."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from demo.cluster import Cluster
from tests.unit.crds.bad_specs import BAD_SPECS, EXAMPLES, BadSpec, example

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[3]
NAMESPACE = "crd-tests"


def kubectl(*arguments: str, stdin: Any = None) -> subprocess.CompletedProcess[str]:
    """Run kubectl; ``stdin`` is an object that it reads as ``-f -``."""
    text = None if stdin is None else json.dumps(stdin)
    program = os.environ.get("GRAFT_KUBECTL", "kubectl")
    return subprocess.run([program, *arguments], input=text, text=True, capture_output=True, check=False)


def stored(*arguments: str) -> Any:
    result = kubectl(*arguments, "--output=json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module", autouse=True)
def namespace(cluster: Cluster) -> Iterator[None]:
    """Apply the CRDs and make a namespace for this module."""
    applied = kubectl("apply", "--server-side", "--force-conflicts", "--validate=strict", f"--filename={ROOT / 'crds'}")
    assert applied.returncode == 0, applied.stderr
    cluster.wait_for_kinds("basemodels.graft.dev", "loraadapters.graft.dev")
    kubectl("create", "namespace", NAMESPACE)
    yield
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def in_namespace(body: dict[str, Any]) -> dict[str, Any]:
    moved = deepcopy(body)
    moved["metadata"]["namespace"] = NAMESPACE
    return moved


@pytest.mark.parametrize("plural", ["basemodels", "loraadapters"])
def test_schema_is_structural(plural: str) -> None:
    conditions = {c["type"]: c["status"] for c in stored("get", "crd", f"{plural}.graft.dev")["status"]["conditions"]}
    assert conditions["Established"] == conditions["NamesAccepted"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_example_is_accepted(path: Path) -> None:
    body = in_namespace(yaml.safe_load(path.read_text()))
    result = kubectl("create", "--dry-run=server", "--validate=strict", "--filename=-", stdin=body)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("bad", BAD_SPECS, ids=str)
def test_bad_spec_is_refused(bad: BadSpec) -> None:
    body = in_namespace(bad.manifest())
    result = kubectl("create", "--dry-run=server", "--validate=strict", "--filename=-", stdin=body)
    assert result.returncode != 0, f"accepted: {bad}"
    assert bad.says.lower() in result.stderr.lower()


@pytest.fixture
def adapter() -> Iterator[dict[str, Any]]:
    """Store the example adapter; no operator minds it, since it is suspended and its base does not exist."""
    body = in_namespace(example("LoraAdapter"))
    body["spec"]["suspend"] = True
    created = kubectl("create", "--filename=-", stdin=body)
    assert created.returncode == 0, created.stderr
    yield body
    kubectl("delete", "loraadapter", body["metadata"]["name"], f"--namespace={NAMESPACE}", "--wait=false")


def test_base_of_an_adapter_is_immutable(adapter: dict[str, Any]) -> None:
    adapter["spec"]["baseModelRef"]["name"] = "another"
    result = kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=adapter)
    assert "create another LoraAdapter for another base" in result.stderr


def test_server_side_apply_replaces_a_defaulted_list(adapter: dict[str, Any]) -> None:
    adapter["spec"]["lora"]["targetModules"] = ["q_proj"]
    result = kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=adapter)
    assert result.returncode == 0, result.stderr
    live = stored("get", "loraadapter", adapter["metadata"]["name"], f"--namespace={NAMESPACE}")
    assert live["spec"]["lora"]["targetModules"] == ["q_proj"]


def test_adapters_are_found_by_their_base(adapter: dict[str, Any]) -> None:
    def named(base: str) -> list[str]:
        selector = f"--field-selector=spec.baseModelRef.name={base}"
        items = stored("get", "loraadapters", f"--namespace={NAMESPACE}", selector)["items"]
        return [item["metadata"]["name"] for item in items]

    assert named(adapter["spec"]["baseModelRef"]["name"]) == [adapter["metadata"]["name"]]
    assert named("another") == []


def test_table_tells_what_is_going_on(adapter: dict[str, Any]) -> None:
    header = kubectl("get", "loraadapters", f"--namespace={NAMESPACE}").stdout.splitlines()[0].split()
    assert header == ["NAME", "BASE", "VERSION", "READY", "REASON", "UPTODATE", "STEP", "OF", "AGE"]
