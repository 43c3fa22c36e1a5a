"""The repository that teams copy: its stages are applied as they stand, its workflow finds what is wrong."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli.conftest import Cluster
from tests.cli.documentation.test_documentation import DRY, Person

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "gitops"
STAGES = {"staging": "team-a-staging", "production": "team-a"}


@pytest.fixture
def person(empty: Cluster, tmp_path: Path) -> Person:
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    return Person(empty.kubeconfig, tmp_path)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_can_be_applied(person: Person, stage: str) -> None:
    person.run("kubectl", "create", "namespace", STAGES[stage])
    rendered = person.run("kubectl", "kustomize", f"models/{stage}")
    assert rendered.returncode == 0, rendered.stderr
    bodies = list(yaml.safe_load_all(rendered.stdout))
    assert [body["kind"] for body in bodies] == ["BaseModel", "LoraAdapter"]
    assert bodies[0]["spec"]["source"]["huggingFace"]["revision"] != "main"
    done = person.run("kubectl", *DRY, text=rendered.stdout)
    assert done.returncode == 0, done.stderr


def rendered(person: Person, stage: str) -> list[dict[str, Any]]:
    """Return the objects of a stage, which the API server takes."""
    made = person.run("kubectl", "kustomize", f"models/{stage}")
    assert made.returncode == 0, made.stderr
    person.run("kubectl", "create", "namespace", STAGES[stage])
    done = person.run("kubectl", *DRY, text=made.stdout)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(made.stdout))


def test_a_stage_is_pinned_by_one_line(person: Person) -> None:
    file = person.folder / "models/staging/kustomization.yaml"
    assert "version" not in rendered(person, "staging")[1]["spec"]
    file.write_text(file.read_text().replace("# - path: pin.yaml", "- path: pin.yaml"))
    assert rendered(person, "staging")[1]["spec"]["version"] == 1
    assert "version" not in rendered(person, "production")[1]["spec"]


def test_a_base_may_come_from_s3(person: Person) -> None:
    for file in (person.folder / "models").rglob("*.yaml"):
        whole = re.sub(r"huggingFace:\n.*\n.*\n", "s3: {uri: s3://models/qwen/v1}\n", file.read_text())
        file.write_text(whole)
    for stage in STAGES:
        assert rendered(person, stage)[0]["spec"]["source"] == {"s3": {"uri": "s3://models/qwen/v1"}}


def lint(person: Person) -> tuple[int, str]:
    """Run the workflow's last step."""
    workflow = yaml.safe_load((person.folder / ".github/workflows/lint.yaml").read_text())
    done = person.run("bash", "-eo", "pipefail", "-c", workflow["jobs"]["lint"]["steps"][-1]["run"])
    return done.returncode, done.stdout + done.stderr


def test_the_workflow_lints_every_stage(person: Person) -> None:
    code, said = lint(person)
    assert code == 0, said
    assert said.count("2 objects checked: 0 errors") == len(STAGES)


def test_the_workflow_fails_on_what_the_api_server_would_refuse(person: Person) -> None:
    file = person.folder / "models/production/size.yaml"
    file.write_text(file.read_text().replace("strategy: Canary", "strategy: Slowly"))
    code, said = lint(person)
    assert code != 0
    assert "spec.serving.rollout.strategy" in said


def test_new_revisions_are_found_in_every_stage() -> None:
    [manager] = json.loads((EXAMPLE / "renovate.json").read_text())["customManagers"]
    # As Python writes named groups.
    patterns = [pattern.replace("(?<", "(?P<") for pattern in manager["matchStrings"]]
    [file_pattern] = [pattern.strip("/") for pattern in manager["managerFilePatterns"]]
    files = [path for path in EXAMPLE.rglob("*.yaml") if re.search(file_pattern, str(path.relative_to(EXAMPLE)))]
    assert {file.parent.name for file in files} == set(STAGES)
    for file in files:
        [found] = [match for pattern in patterns for match in re.finditer(pattern, file.read_text())]
        assert (found["depName"], found["currentValue"]) == ("Qwen/Qwen2.5-0.5B-Instruct", "main")
