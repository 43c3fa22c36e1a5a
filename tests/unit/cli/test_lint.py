"""`kubectl graft lint` refuses what the API server refuses, and names file, line, field and fix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.crds.bad_specs import BAD_SPECS, EXAMPLES, BadSpec

from graft_cli.__main__ import main
from graft_cli.decisions.linting import Problem, lint
from graft_cli.decisions.manifests import read_manifests
from graft_cli.decisions.yaml_dialect.scalars import as_yaml
from graft_cli.errors import GraftError

HEAD = "apiVersion: graft.dev/v1alpha1\n"
BASE = HEAD + "kind: BaseModel\nmetadata: {name: tiny}\nspec:\n  source: {s3: {uri: s3://models/tiny}}\n"
ADAPTER = HEAD + (
    "kind: LoraAdapter\nmetadata: {name: support}\nspec:\n"
    "  baseModelRef: {name: tiny}\n  dataset: {s3: {uri: s3://rows/a.jsonl}}\n"
)


def problems(text: str) -> list[Problem]:
    return lint(read_manifests("a.yaml", text))[0]


@pytest.mark.parametrize("bad", BAD_SPECS, ids=str)
def test_every_bad_spec_is_found_and_its_field_named(bad: BadSpec) -> None:
    found = problems(json.dumps(bad.manifest()))
    assert any(problem.severity == "error" for problem in found)
    last = bad.path.rpartition(".")[2]
    assert any(last in f"{problem.field} {problem.message} {problem.fix}" for problem in found)


COLUMN_NAMES = {
    "promt": "did you mean prompt?",
    "completions": "did you mean completion?",
    "anwser": "did you mean answer?",
    "Instruction": "did you mean instruction?",
    "zzz": "use one of answer, chosen, ",
}


@pytest.mark.parametrize(("name", "fix"), COLUMN_NAMES.items(), ids=COLUMN_NAMES)
def test_a_column_under_a_name_of_no_format_is_found_on_its_own_line(name: str, fix: str) -> None:
    text = ADAPTER.replace("  dataset: {s3: {uri: s3://rows/a.jsonl}}\n", "")
    text += f"  dataset:\n    s3: {{uri: s3://rows/a.jsonl}}\n    columns:\n      input: x\n      {name}: z\n"
    (found,) = problems(text)
    assert (found.field, found.line) == (f"spec.dataset.columns.{name}", len(text.splitlines()))
    assert found.message == "no format knows this name"
    assert found.fix.startswith(fix)


@pytest.mark.parametrize("name", ["BaseModel", "LoraAdapter", "on-demand", "imported"])
def test_the_examples_are_in_order(name: str) -> None:
    assert problems((EXAMPLES / f"{name.lower()}.yaml").read_text()) == []


def only_problem(text: str) -> Problem:
    (found,) = problems(text)
    return found


def test_an_unquoted_number_is_told_to_be_quoted_as_it_is_written() -> None:
    found = only_problem(ADAPTER + "  training:\n    learningRate: 2e-4\n")
    assert (found.line, found.field) == (8, "spec.training.learningRate")
    assert found.fix == 'write it in quotes: learningRate: "2e-4"'


@pytest.mark.parametrize("text", ["2e-4", "3e-3", "1E5", ".5e1", "0.5", "7", "true", "null", "1e", "v1", "1_000"])
def test_what_the_plugin_prints_is_read_as_it_was(text: str) -> None:
    printed = as_yaml({"kind": "LoraAdapter", "learningRate": text})
    (found,) = read_manifests("printed.yaml", printed)
    assert found.body["learningRate"] == text
    assert ("'" in printed) == (text not in ("1e", "v1"))


def test_a_quoted_integer_is_told_to_lose_its_quotes() -> None:
    assert only_problem(ADAPTER + '  lora: {rank: "16"}\n').fix == "take the quotes away"


def test_a_misspelled_field_is_told_its_name() -> None:
    assert only_problem(ADAPTER + "  lora:\n    alfa: 3\n").fix == "did you mean alpha?"
    assert only_problem(ADAPTER + "  suspended: true\n").fix == "did you mean suspend?"


def test_pythons_names_are_no_names() -> None:
    assert only_problem(ADAPTER + "  deletion_policy: Retain\n").fix == "did you mean deletionPolicy?"


def test_a_missing_field_is_named() -> None:
    found = only_problem(HEAD + "kind: LoraAdapter\nmetadata: {name: a}\nspec: {baseModelRef: {name: tiny}}\n")
    assert (found.field, found.message) == ("spec", "at least one of source and dataset must be set")
    assert found.fix.startswith("give a dataset to train from, or a source")
    found = only_problem(HEAD + "kind: BaseModel\nmetadata: {name: a}\nspec: {}\n")
    assert (found.field, found.message, found.fix) == ("spec.source", "is required", "add source")


def test_an_import_is_not_held_to_what_only_a_training_needs() -> None:
    imported = ADAPTER.replace("dataset: {s3: {uri: s3://rows/a.jsonl}}", "source: {s3: {uri: s3://models/a/}}")
    low = f"{BASE}  serving: {{maxRank: 8}}\n---\n"
    assert problems(f"{low}{imported}  lora: {{rank: 16, alpha: 1}}\n  method: DoRA\n") == []
    found = only_problem(imported.replace("s3: {uri: s3://models/a/}", "oci: {image: adapters/a}"))
    assert (found.severity, found.field) == ("error", "spec.source.oci.image")


def test_what_a_base_beside_the_adapter_does_not_take_is_found() -> None:
    text = f"{BASE}  serving: {{maxRank: 8}}\n---\n{ADAPTER}  lora: {{rank: 16}}\n"
    found = only_problem(text)
    assert (found.severity, found.field) == ("error", "spec.lora.rank")
    assert "above serving.maxRank 8 of BaseModel tiny" in found.message
    assert found.fix.startswith("lower the rank")


def test_advice_is_a_warning() -> None:
    found = only_problem(ADAPTER + "  lora: {rank: 16, alpha: 16}\n")
    assert (found.severity, found.field, found.fix) == ("warning", "spec.lora.alpha", "32 is recommended")


def test_two_objects_of_one_name_are_found() -> None:
    found = only_problem(f"{BASE}---\n{BASE}")
    assert found.field == "metadata.name"
    assert "a.yaml:3" in found.message


def test_other_kinds_are_left_aside_and_lists_are_opened() -> None:
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rows"}}
    document = {"apiVersion": "v1", "kind": "List", "items": [other, yaml.safe_load(BASE), yaml.safe_load(ADAPTER)]}
    assert lint(read_manifests("a.yaml", yaml.safe_dump(document))) == ([], 2)


@pytest.mark.parametrize(
    ("text", "field"),
    [(BASE.replace("v1alpha1", "v2"), "apiVersion"), (BASE.replace("BaseModel", "BaseModle"), "kind")],
)
def test_another_version_or_kind_is_an_error(text: str, field: str) -> None:
    assert only_problem(text).field == field


@pytest.mark.parametrize("text", ["a: [", "- 1\n", "a: b: c\n", "\t"])
def test_what_is_no_yaml_of_objects_is_an_error_with_a_line(text: str) -> None:
    with pytest.raises(GraftError, match=r"^a\.yaml:1"):
        read_manifests("a.yaml", text)


@pytest.mark.parametrize(
    ("extra", "options", "code"),
    [
        ("", [], 0),
        ("  lora: {alpha: 16}\n", [], 0),
        ("  lora: {alpha: 16}\n", ["--strict"], 1),
        ("  lora: {rank: 0}\n", [], 1),
    ],
)
def test_exit_codes_are_for_scripts(
    extra: str, options: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.yaml").write_text(ADAPTER + extra)
    assert main(["lint", *options, str(tmp_path)]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_json_is_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text("a: [")
    assert main(["lint", "-o", "json", str(tmp_path / "a.yaml"), str(EXAMPLES)]) == 1
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["checked"] >= 2
    assert found["problems"][0]["line"] == 1
