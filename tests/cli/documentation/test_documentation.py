"""What is documented, printed and written goes through kubectl to a real API server, and commands of the guides run."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli.conftest import NAMESPACE, Cluster, manifest
from tests.control_plane import ADAPTERS, BINARIES, ControlPlane, etcd_and_api_server
from tests.unit.cli import objects

from graft_docs.examples import Block, blocks, commands, manifests

ROOT = Path(__file__).resolve().parents[3]
KUEUE = {"ClusterQueue", "LocalQueue", "ResourceFlavor", "WorkloadPriorityClass"}
NOT_OURS_TO_INSTALL = {"HTTPRoute", "Kustomization", "Route"} | KUEUE
"""Kinds that a page shows beside ours, and an API server without more CRDs does not know."""

DRY = ("apply", "--dry-run=server", "-f", "-")
WRITTEN = sorted((ROOT / "tests/data/manifests").glob("*/output.yaml"))
UNKNOWN_KINDS = NOT_OURS_TO_INSTALL | {"InferencePool"}


KUBE_VERSION = ("--kube-version", "1.35.0")
"""A helm built from source does not know what Kubernetes it was made for."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at a terminal with kubectl and the plugin."""

    kubeconfig: Path
    folder: Path

    def run(self, *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command as a shell would."""
        plugin = self.folder / "bin/kubectl-graft"
        if not plugin.exists():
            plugin.parent.mkdir()
            plugin.write_text(f'#!/bin/sh\nexec {sys.executable} -m graft_cli "$@"\n')
            plugin.chmod(0o755)
        environment = os.environ | {
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{plugin.parent}:{BINARIES}:{os.environ['PATH']}",
            "PYTHONPATH": ":".join(sys.path),
            "HOME": str(self.folder),
        }
        return subprocess.run(
            command, input=text, text=True, capture_output=True, cwd=self.folder, env=environment, timeout=120
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("person")


@pytest.fixture
def person(control_plane: Cluster, folder: Path) -> Person:
    """Somebody whose namespace is empty: what is there decides what may be applied over it."""

    async def clear() -> None:
        async with control_plane.plane.client() as client:
            await client.remove_everything(NAMESPACE)

    control_plane.wait_for(clear())
    found = Person(control_plane.kubeconfig, folder)
    found.run("kubectl", "create", "namespace", "argocd")
    return found


def known(text: str) -> str:
    """Return the documents of a text whose kinds the API server knows, as they are written."""
    documents = [(part, yaml.safe_load(part)) for part in f"\n{text}".split("\n---")]
    return "\n---".join(part for part, body in documents if body and body.get("kind") not in UNKNOWN_KINDS)


@pytest.mark.parametrize("block", manifests(ROOT), ids=str)
def test_what_is_documented_can_be_applied(person: Person, block: Block) -> None:
    if not (text := known(block.text)):
        pytest.skip("nothing of ours")
    done = person.run("kubectl", *DRY, text=text)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.parent.name)
def test_what_the_operator_writes_can_be_applied(person: Person, path: Path) -> None:
    if not (text := known(path.read_text())):
        pytest.skip("only kinds that are not installed")
    done = person.run("kubectl", *DRY, text=text)
    assert done.returncode == 0, done.stderr


def test_what_the_chart_writes_can_be_applied(person: Person) -> None:
    values = ("--set", "registry.bucket=graft,networkPolicies.enabled=true", "--no-hooks", *KUBE_VERSION)
    chart = person.run("helm", "template", "graft", str(ROOT / "charts/graft"), "-n", "graft-system", *values)
    assert chart.returncode == 0, chart.stderr
    done = person.run("kubectl", "apply", "--server-side", "--force-conflicts", *DRY[1:], text=chart.stdout)
    assert done.returncode == 0, done.stderr


SETTLED, CANARY = objects.adapter().raw, objects.canary().raw
VERBS = (
    (SETTLED, "rollback"),
    (SETTLED, "pin", "3"),
    (SETTLED, "suspend"),
    (CANARY, "promote"),
    (CANARY, "abort"),
)


@pytest.mark.parametrize("called", VERBS, ids=lambda called: called[1])
def test_what_the_plugin_prints_for_git_can_be_committed(cluster: Cluster, person: Person, called: Any) -> None:
    raw, verb, *rest = called
    owned = {"labels": {"kustomize.toolkit.fluxcd.io/name": "loras", "kustomize.toolkit.fluxcd.io/namespace": "flux"}}
    body = manifest("LoraAdapter", raw, **owned)
    cluster.put(ADAPTERS, body)
    said = cluster.graft(verb, "support", *rest)
    assert said.code == 6
    printed = yaml.safe_load(said.err[said.err.index("apiVersion:") :])
    assert (printed["kind"], printed["metadata"]) == ("LoraAdapter", {"name": "support"})
    committed = merged({key: value for key, value in body.items() if key != "status"}, printed)
    done = person.run("kubectl", *DRY, text=json.dumps(committed))
    assert done.returncode == 0, done.stderr


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping with a part of it replaced."""
    inner = {key: merged(old.get(key) or {}, value) for key, value in new.items() if isinstance(value, dict)}
    return {**old, **new, **inner}


def test_a_misspelled_field_is_refused_as_troubleshooting_says(person: Person) -> None:
    text = (ROOT / "examples/loraadapter.yaml").read_text().replace("rank:", "ranc:")
    done = person.run("kubectl", *DRY, text=text)
    assert done.returncode != 0
    assert "unknown field" in done.stderr


def test_an_unquoted_number_is_refused_as_troubleshooting_says(person: Person) -> None:
    text = (ROOT / "examples/loraadapter.yaml").read_text().replace('"2e-4"', "3e-3")
    done = person.run("kubectl", *DRY, text=text)
    assert done.returncode != 0
    assert 'must be of type string: "number"' in done.stderr
    assert 'must be of type string: "number"' in (ROOT / "docs/operations/troubleshooting.md").read_text()
    (person.folder / "unquoted.yaml").write_text(text)
    said = person.run("kubectl", "graft", "lint", "unquoted.yaml")
    assert said.returncode == 1
    assert 'in quotes: learningRate: "3e-3"' in said.stdout + said.stderr


FIRST = "guides/first-adapter"
GUIDES = sorted(
    (
        str(page.relative_to(ROOT / "docs").with_suffix(""))
        for folder in ("guides", "operations")
        for page in (ROOT / "docs" / folder).glob("*.md")
        if "```bash" in page.read_text()
    ),
    key=lambda page: (page != FIRST, page),
)
"""The pages with commands, the one that all others build upon first."""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Person, ControlPlane, asyncio.Runner]]:
    """Somebody with an empty cluster of their own, who reads the guides in their order."""
    with asyncio.Runner() as runner:
        context = etcd_and_api_server()
        plane = runner.run(context.__aenter__())
        try:
            yield Person(plane.kubeconfig("reader"), tmp_path_factory.mktemp("reader")), plane, runner
        finally:
            runner.run(context.__aexit__(None, None, None))


@pytest.mark.parametrize("page", GUIDES)
def test_the_commands_of_a_guide_run(reader: tuple[Person, ControlPlane, asyncio.Runner], page: str) -> None:
    person, plane, runner = reader
    found = list(blocks(ROOT, [ROOT / f"docs/{page}.md"]))
    saved = next((block for block in found if block.is_object), None)
    if page == FIRST and saved is not None:
        (person.folder / "support.yaml").write_text(saved.text)
    lines = [line for block in found if block.language == "bash" for line in commands(block)]
    assert lines
    for line in lines:
        done = person.run("bash", "-c", line)
        is_there = "already exists" in done.stderr
        is_told = "graft doctor" in line and "✗ operator" in done.stdout  # there is none here
        assert done.returncode == 0 or is_there or is_told, f"{line}\n{done.stdout}{done.stderr}"
    if page == FIRST:
        runner.run(serve(plane))


async def serve(plane: ControlPlane) -> None:
    """Write the status that the operator would have written by the end of the first guide."""
    status = manifest("LoraAdapter", objects.adapter().raw)["status"]
    async with plane.client() as client:
        await client.patch(ADAPTERS, NAMESPACE, "support", {"status": status}, subresource="status")
