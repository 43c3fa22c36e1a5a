"""Every example of the documentation is one that the API, the chart, the plugin and the Makefiles take."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml

from graft_cli.app import app
from graft_cli.decisions.linting import lint
from graft_cli.decisions.manifests import read_manifests
from graft_cli.decisions.yaml_dialect.scalars import KubectlLoader
from graft_docs.examples import Block, blocks, commands, manifests, mentioned, pages, words
from graft_docs.verbs import spellings
from graft_operator.api.lora_adapter import LoraAdapterSpec
from graft_operator.api.meta import GROUP

ROOT = Path(__file__).resolve().parents[3]
PAGES = pages(ROOT)
ALL = list(blocks(ROOT, PAGES))
OURS = [block for block in manifests(ROOT) if re.search(rf"^apiVersion: {GROUP}/", block.text, re.M)]
WHOLE = {
    "LoraAdapter": {"baseModelRef": {"name": "qwen"}, "dataset": {"s3": {"uri": "s3://data/support.jsonl"}}},
    "BaseModel": {"source": {"huggingFace": {"repo": "Qwen/Qwen2.5-0.5B-Instruct"}}},
}
TARGET = re.compile(r"^([a-z0-9-]+(?: [a-z0-9-]+)*):(?!=)", re.M)
TARGETS = {
    name
    for file in (ROOT / "Makefile", *(ROOT / "mk").glob("*.mk"))
    for line in TARGET.findall(file.read_text())
    for name in line.split()
}


CHART = yaml.safe_load((ROOT / "charts/graft/values.yaml").read_text()).keys()
SPEC = {field.alias or name for name, field in LoraAdapterSpec.model_fields.items()}
OF_OTHERS = {"scrape_configs", "rule_files"}
"""Keys at the top of configurations of other programs."""


def read(block: Block) -> dict[str, Any]:
    """Return a block as kubectl's parser reads it."""
    found: dict[str, Any] = yaml.load(block.text, KubectlLoader)
    return found


def kind_of(block: Block) -> str:
    """Return what a block of YAML is."""
    if block.is_object:
        return "object"
    keys = read(block).keys()
    kinds = {"part": {"spec"}, "fields": SPEC, "values": CHART, "other": OF_OTHERS}
    return next((kind for kind, names in kinds.items() if keys <= names), "unknown")


KINDS = {block: kind_of(block) for block in ALL if block.language == "yaml"}
PARTS = [block for block, kind in KINDS.items() if kind in ("part", "fields")]
VALUES = [block for block, kind in KINDS.items() if kind == "values"]


def problems(text: str) -> list[str]:
    """Return what `kubectl graft lint` calls an error."""
    found, count = lint(read_manifests("page.md", text))
    assert count, "nothing of ours is in it"
    return [f"{item.field}: {item.message}; {item.fix}" for item in found if item.severity == "error"]


def test_every_block_of_yaml_is_something_that_is_checked() -> None:
    assert [str(block) for block, kind in KINDS.items() if kind == "unknown"] == []
    assert {"object", "part", "fields", "values"} <= set(KINDS.values())


@pytest.mark.parametrize("block", OURS, ids=str)
def test_an_object_is_one_that_the_operator_takes(block: Block) -> None:
    assert problems(block.text) == []


@pytest.mark.parametrize("block", PARTS, ids=str)
def test_a_part_is_a_part_of_an_adapter_or_a_base(block: Block) -> None:
    part = read(block)
    head = {"apiVersion": f"{GROUP}/v1alpha1", "metadata": {"name": "support"}}
    found = [
        problems(json.dumps({**head, "kind": kind, "spec": spec | part.get("spec", part)}))
        for kind, spec in WHOLE.items()
    ]
    assert [] in found, found


@pytest.mark.parametrize("block", VALUES, ids=str)
def test_values_are_values_of_the_chart(block: Block) -> None:
    schema = json.loads((ROOT / "charts/graft/values.schema.json").read_text())
    jsonschema.Draft7Validator(schema).validate(read(block))


def calls(program: str) -> list[tuple[str, list[str]]]:
    """Return the places and words of all calls of a program that pages name."""
    start = program.split()
    return [
        (place, found[len(start) :])
        for place, line in mentioned(ROOT, PAGES)
        if (found := words(line))[: len(start)] == start and len(found) > len(start)
    ]


def test_every_verb_and_option_that_a_page_names_is_there() -> None:
    found = calls("kubectl graft")
    assert len(found) > 40
    for place, (verb, *rest) in found:
        if not re.fullmatch(r"[a-z]+", verb):  # `kubectl graft VERB --help`
            continue
        command = app.get_command(click.Context(app), verb)
        assert command is not None, f"{place}: kubectl graft {verb}"
        options = {word.partition("=")[0] for word in rest if re.match(r"-{1,2}[a-z]", word, re.I)}
        assert options <= spellings(command), f"{place}: kubectl graft {verb} {options - spellings(command)}"


def test_every_target_of_make_that_a_page_names_is_there() -> None:
    found = calls("make")
    assert len(found) > 20
    for place, rest in found:
        targets = [word for word in rest if re.fullmatch(r"[a-z][a-z0-9-]*", word)]
        assert set(targets) <= TARGETS, f"{place}: make {' '.join(rest)}"


def test_commands_of_a_block_with_output_are_those_after_a_prompt() -> None:
    assert commands(Block("a.md", 1, "", "$ kubectl graft status\nmake yourself\n")) == ["kubectl graft status"]
    assert commands(Block("a.md", 1, "bash", "kubectl get \\\n  pods\necho\n")) == ["kubectl get    pods"]
    assert words("kubectl get pods | grep x # y") == ["kubectl", "get", "pods"]


@pytest.mark.parametrize("page", sorted((ROOT / "docs/guides").glob("*.md")), ids=lambda page: page.stem)
def test_a_guide_begins_with_what_one_gets(page: Path) -> None:
    assert page.stem == "index" or re.search(r"^# .+\n\nYou get ", page.read_text(), re.M)


@pytest.mark.parametrize("folder", ["guides", "operations"])
def test_a_page_ends_with_what_to_look_at_when_it_goes_wrong(folder: str) -> None:
    for page in (ROOT / "docs" / folder).glob("*.md"):
        headings = re.findall(r"^## (.+)$", page.read_text(), re.M)
        assert page.stem == "index" or headings[-1].startswith("When it goes wrong"), page.name


UNQUOTED = """apiVersion: graft.dev/v1alpha1
kind: LoraAdapter
metadata: {name: support}
spec:
  baseModelRef: {name: qwen}
  dataset: {s3: {uri: s3://data/support.jsonl}}
  training: {learningRate: 3e-3}
"""


def test_an_unquoted_number_is_told_to_be_in_quotes_by_lint_and_by_the_guides() -> None:
    assert any("in quotes" in told and '"3e-3"' in told for told in problems(UNQUOTED))
    for guide in ("first-adapter", "bring-your-data"):
        assert "in quotes" in (ROOT / f"docs/guides/{guide}.md").read_text()


def test_every_reason_that_a_page_names_as_one_is_explained() -> None:
    known: dict[str, Any] = yaml.safe_load((ROOT / "hack/graft_docs/reasons.yaml").read_text())
    reasons = {reason for section in known.values() for reason in section}
    for page in [*(ROOT / "docs/guides").glob("*.md"), *(ROOT / "docs/operations").glob("*.md")]:
        for cell in re.findall(r"^\| (`[A-Z][^|]*?) \|", page.read_text(), re.M):
            named = re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)`", cell)
            assert set(named) <= reasons | {"CreateContainerConfigError"}, f"{page.name}: {named}"


SOURCE = "\n".join(
    path.read_text()
    for package in ("operator/src", "registry/src", "serving_image/src", "trainer_image/src")
    for path in sorted((ROOT / package).rglob("*.py"))
)
TROUBLESHOOTING = (ROOT / "docs/operations/troubleshooting.md").read_text()


def looked_up(heading: str) -> list[str]:
    """Return what the first column of a section's table has in code."""
    section = TROUBLESHOOTING.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| ([^|]*`[^|]*) \|", section, re.M)
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]


def test_what_one_looks_up_is_what_the_programs_say() -> None:
    # Parts of kube-scheduler's messages stand in patterns, and reasons of Jobs are given by the cluster.
    said = [*looked_up("The training fails"), *looked_up("Clients get errors"), *looked_up("Deletion hangs")]
    assert len(said) > 12
    assert [text for text in said if text not in SOURCE and text not in SCHEDULER] == []


SCHEDULER = {"Insufficient nvidia.com/gpu"}
"""What the cluster itself says, of which the code has a pattern."""
