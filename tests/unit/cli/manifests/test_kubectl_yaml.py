"""Files as kubectl reads them: what it takes is no error of lint, and what it refuses is one."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.test_lint import ADAPTER, HEAD, problems

from graft_cli.__main__ import main
from graft_cli.decisions.manifests import read_manifests
from graft_cli.decisions.yaml_dialect.scalars import as_yaml
from graft_cli.errors import GraftError

SCALARS: dict[str, Any] = {
    "y": True,
    "N": False,
    "On": True,
    "off": False,
    "yEs": "yEs",
    "2e-4": 2e-4,
    "1_000": 1000,
    "0o17": 15,
    "017": 15,
    "08": 8.0,
    "0x1F": 31,
    "0b11": 3,
    "00": 0,
    "-0x10": -16,
    "+7": 7,
    "1__0": 10,
    "9" * 30: 1e30,
    "18446744073709551615": 2**64 - 1,
    "0x" + "f" * 17: "0x" + "f" * 17,
    "10:30": "10:30",
    "190:20:30.15": "190:20:30.15",
    "2026-01-01": "2026-01-01",
    "2026-01-01T10:00:00Z": "2026-01-01T10:00:00Z",
    "2026-13-45": "2026-13-45",
    "=": "=",
    "~": None,
    "Null": None,
    "1.": 1.0,
    ".5": 0.5,
    "-.inf": float("-inf"),
    "1.2.3": "1.2.3",
    "0x": "0x",
}


@pytest.mark.parametrize(("written", "meant"), SCALARS.items(), ids=[name[:24] for name in SCALARS])
def test_a_word_is_what_kubectl_takes_it_for(written: str, meant: Any) -> None:
    (found,) = read_manifests("a.yaml", f"value: {written}\n")
    assert (found.body["value"], type(found.body["value"])) == (meant, type(meant))


@pytest.mark.parametrize("text", [name for name in SCALARS if len(name) < 40])
def test_text_is_printed_as_text(text: str) -> None:
    (found,) = read_manifests("a.yaml", as_yaml({"value": text}))
    assert found.body["value"] == text


TAKEN = {
    "a date for a name": ADAPTER.replace("name: support", "name: 2026-13-45"),
    "a time in an annotation": ADAPTER.replace("name: support", "name: a, annotations: {at: 10:30, on: 2026-01-01}"),
    "an equals sign": ADAPTER.replace("name: support", "name: a, annotations: {a: =}"),
    "numbers of Go": ADAPTER + "  training: {seed: 0o17}\n",
    "line ends of Windows": ADAPTER.replace("\n", "\r\n"),
    "documents without anything": f"---\n---\n# nothing\n---\n{ADAPTER}---\n",
    "anchors": ADAPTER + "  lora: &lora {rank: 16, alpha: 32}\n",
}


@pytest.mark.parametrize("text", TAKEN.values(), ids=list(TAKEN))
def test_what_kubectl_takes_is_no_error(text: str) -> None:
    assert problems(text) == []


def test_a_field_that_is_there_twice_is_found_on_its_line() -> None:
    text = ADAPTER + "  training:\n    seed: 1\n    epochs: 2\n    seed: 3\n"
    (found,) = problems(text)
    assert (found.field, found.line) == ("spec.training.seed", 10)
    assert found.message == "is there already, in line 8"
    (found,) = problems(ADAPTER + "  lora: {rank: 16, alpha: 32, rank: 8}\n")
    assert (found.field, found.line) == ("spec.lora.rank", 7)
    merged = "  lora:\n    <<: {rank: 16, alpha: 16}\n    alpha: 32\n"
    assert problems(ADAPTER + merged) == [], "what is merged in may be overwritten"
    merged = "  lora: {<<: [{rank: 16, alpha: 32}, {rank: 8}]}\n"
    assert problems(ADAPTER + merged) == [], "the first one counts"


@pytest.mark.parametrize("written", ["1.0", "yes", "017", "[a]"])
def test_labels_are_text(written: str) -> None:
    (found,) = problems(ADAPTER.replace("name: support", f"name: support, labels: {{version: {written}}}"))
    assert (found.field, found.line) == ("metadata.labels.version", 3)
    assert written.startswith("[") or found.fix == f'write it in quotes: version: "{written}"'


def test_a_truth_where_text_is_wanted_is_told_to_be_quoted() -> None:
    (found,) = problems(ADAPTER.replace("name: tiny", "name: on"))
    assert (found.message, found.fix) == ("must be a string, and on is true", 'write it in quotes: name: "on"')


ENDLESS = {
    "one that holds itself": ADAPTER + "  training: &a {x: *a}\n",
    "a list of itself": "apiVersion: v1\nkind: List\nitems: &a [*a]\n",
    "many of many": HEAD
    + "kind: LoraAdapter\nmetadata: {name: a}\nx0: &x0 [0]\n"
    + "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]\n" for n in range(1, 12)),
}


@pytest.mark.parametrize("text", ENDLESS.values(), ids=list(ENDLESS))
def test_aliases_without_an_end_are_refused(text: str) -> None:
    with pytest.raises(GraftError, match=r"contains itself|excessively large"):
        read_manifests("a.yaml", text)


@pytest.mark.parametrize("value", ["0x" + "f" * 5000, "9" * 5000, "!!binary aGk=", "!!set {a}", "{!!binary aGk=: 1}"])
def test_what_json_can_t_hold_is_an_error_and_no_bug(value: str) -> None:
    assert {problem.severity for problem in problems(f"{ADAPTER}  training: {{seed: {value}}}\n")} == {"error"}


def test_json_may_have_tabs_and_come_in_a_stream() -> None:
    (body,) = (item.body for item in read_manifests("a.yaml", ADAPTER))
    text = json.dumps(body, indent="\t")
    assert problems(text) == []
    found = problems(f"{text}\n{text}{text}")
    assert [problem.field for problem in found] == ["metadata.name"] * 2
    wrong = json.dumps({**body, "spec": {**body["spec"], "lora": {"rank": 0}}}, indent="\t")
    (problem,) = problems(wrong)
    assert "rank" in wrong.splitlines()[problem.line - 1]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_of_windows_are_read(encoding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_bytes(ADAPTER.replace("\n", "\r\n").encode(encoding))
    assert main(["lint", str(tmp_path / "a.yaml")]) == 0
    assert capsys.readouterr().err == "1 object checked: 0 errors, 0 warnings\n"
    config = {"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 128}
    config |= {"num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 1000}
    (tmp_path / "config.json").write_bytes(json.dumps(config).encode(encoding))
    assert main(["estimate", str(tmp_path / "a.yaml"), "--base", str(tmp_path)]) == 0
    assert codecs.BOM_UTF8.decode() not in capsys.readouterr().out


def test_a_template_is_told_to_be_rendered() -> None:
    with pytest.raises(GraftError) as raised:
        read_manifests("a.yaml", ADAPTER.replace("name: support", "name: {{ .Values.name }}"))
    assert "helm template" in raised.value.fix


ODD_BASES = {
    "list": "[1]",
    "nothing": "null",
    "text": '"x"',
    "deep": "[" * 100_000,
    "endless": json.dumps(
        {"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 10**9, "hidden_size": 8, "intermediate_size": 8}
        | {"num_attention_heads": 2, "vocab_size": 8}
    ),
}


@pytest.mark.parametrize("text", ODD_BASES.values(), ids=list(ODD_BASES))
def test_an_odd_configuration_is_an_error_and_no_bug(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.yaml").write_text(ADAPTER)
    (tmp_path / "config.json").write_text(text)
    assert main(["estimate", str(tmp_path / "a.yaml"), "--base", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "bug" not in said
    assert said.startswith("error: ")


@pytest.mark.parametrize("metadata", ["", "metadata: {name: tiny, labels: null}\n", "metadata: [1]\n"])
def test_an_odd_base_is_an_error_and_no_bug(metadata: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text(ADAPTER)
    (tmp_path / "base.yaml").write_text(f"{HEAD}kind: BaseModel\n{metadata}status: []\n")
    assert main(["estimate", str(tmp_path / "a.yaml"), "--base", str(tmp_path / "base.yaml")]) == 1
    assert "bug" not in capsys.readouterr().err


def test_patches_of_a_kustomization_are_no_objects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "production"
    folder.mkdir()
    (tmp_path / "support.yaml").write_text(ADAPTER)
    (folder / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [..]\n"
        "patches: [{path: pin.yaml}, {path: ../production/json.yaml}, {patch: '- op: remove'}, null]\n"
        'patchesStrategicMerge: [./old.yaml, "kind: X\\nmetadata: {}\\n"]\npatchesJson6902: nothing\n'
    )
    for name in ("pin.yaml", "old.yaml"):
        (folder / name).write_text(f"{HEAD}kind: LoraAdapter\nmetadata: {{name: support}}\nspec: {{version: 3}}\n")
    (folder / "json.yaml").write_text("- {op: remove, path: /spec/version}\n")
    assert main(["lint", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err.splitlines()[0]) == ("", "1 object checked: 0 errors, 0 warnings")
    assert "kubectl kustomize" in said.err
    assert main(["lint", str(folder / "pin.yaml")]) == 1, "who names it alone wants it looked at"


def test_the_example_of_gitops_is_in_order() -> None:
    models = Path(__file__).parents[4] / "examples/gitops/models"
    assert main(["lint", str(models / "base"), str(models / "production")]) == 0
