"""`kubectl graft estimate` tells what the operator would, from files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.text import Text
from tests.unit.cli.objects import base
from tests.unit.crds.bad_specs import EXAMPLES
from tests.unit.registry.published_memory import LLAMA_3_8B

from graft_cli.__main__ import main
from graft_cli.decisions.estimates import base_of_config
from graft_cli.errors import Refused
from graft_operator.api.base_shape import BaseShape

ADAPTER = str(EXAMPLES / "loraadapter.yaml")
LLAMA_3 = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128_256,
    "dtype": "bfloat16",
    "tie_word_embeddings": False,
}


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_3))
    return str(tmp_path)


def estimates(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["estimate", *arguments, "-o", "json"])
    return code, json.loads(capsys.readouterr().out)["estimates"][0]


def test_a_config_tells_the_shape_that_publications_measured() -> None:
    found = base_of_config(LLAMA_3)
    assert found.shape == BaseShape.of(LLAMA_3_8B)
    assert found.parameters == LLAMA_3_8B.parameters
    assert found.dtype == "bfloat16"


def test_tied_embeddings_count_once() -> None:
    tied = base_of_config(LLAMA_3 | {"tie_word_embeddings": True})
    assert LLAMA_3_8B.parameters - tied.parameters == 128_256 * 4096


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"architectures": ["MixtralForCausalLM"]}, "MixtralForCausalLM does not tell"),
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"architectures": ["BertForMaskedLM"]}, "only causal language models"),
    ],
)
def test_what_a_config_does_not_tell_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(Refused, match=says) as caught:
        base_of_config(LLAMA_3 | change)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("gpu", "verdict", "code"), [("80Gi", "fits", 0), ("24Gi", "does not fit", 1), ("48Gi", "may fit", 0)]
)
def test_the_verdict_is_the_operator_s(
    gpu: str, verdict: str, code: int, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found_code, found = estimates(capsys, ADAPTER, "--base", config, "--gpu-memory", gpu)
    assert (found["verdict"], found_code) == (verdict, code)
    assert bool(found["remedy"]) == (verdict != "fits")


def test_an_import_takes_the_base_once(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    imported = str(EXAMPLES / "imported.yaml")
    _, trained = estimates(capsys, ADAPTER, "--base", config, "--gpu-memory", "24Gi")
    code, found = estimates(capsys, imported, "--base", config, "--gpu-memory", "24Gi")
    assert (code, found["method"], found["verdict"]) == (0, "Import", "fits")
    assert found["gpu"]["adapter"] == 0
    assert found["total"] < trained["total"]
    code, found = estimates(capsys, imported, "--base", config, "--gpu-memory", "8Gi")
    assert (code, found["verdict"]) == (1, "does not fit")
    assert "an import is done on CPUs, too" in found["remedy"]


def test_a_gpu_without_a_size_decides_nothing(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert estimates(capsys, ADAPTER, "--base", config)[1]["verdict"] == "GPU not known"


def test_a_base_s_status_tells_its_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = dict(base("qwen").raw)
    shape = BaseShape.of(LLAMA_3_8B).to_wire()
    resolved = body["status"]["resolved"] | {"shape": shape, "parameters": LLAMA_3_8B.parameters}
    body |= {"kind": "BaseModel", "status": body["status"] | {"resolved": resolved | {"dtype": "bfloat16"}}}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(body))
    code, found = estimates(capsys, ADAPTER, "--base", str(tmp_path / "base.yaml"), "--gpu-memory", "80Gi")
    assert (code, found["gpu"]["weights"]) == (0, 2 * LLAMA_3_8B.parameters)


@pytest.mark.parametrize(("options", "says"), [(["--gpu-memory", "24"], "no quantity"), ([], "")])
def test_errors_name_the_fix(
    options: list[str], says: str, config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = ADAPTER
    if not options:
        adapter, says = str(tmp_path / "a.yaml"), "graft lint"
        Path(adapter).write_text(Path(ADAPTER).read_text().replace("rank: 16", "rank: 0"))
    assert main(["estimate", adapter, "--base", config, *options]) == 1
    shown = capsys.readouterr().err
    assert says in shown
    assert "to fix:" in shown


def test_an_unquoted_number_is_told_with_its_field_and_to_be_written_in_quotes(
    tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "support.yaml"
    path.write_text(Path(ADAPTER).read_text().replace('"2e-4"', "3e-3"))
    assert main(["estimate", str(path), "--base", config]) == 1
    said = capsys.readouterr().err
    assert "support.yaml:17: spec.training.learningRate: must be a string, and 3e-3 is a number" in said
    assert 'write it in quotes: learningRate: "3e-3"' in said


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_no_word_of_the_table_is_broken_on_a_narrow_terminal(
    config: str, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    main(["estimate", ADAPTER, "--base", config, "--gpu-memory", "24Gi"])
    words = Text.from_ansi(capsys.readouterr().out).plain.split()
    assert {"ACTIVATIONS", "OVERHEAD", "VERDICT", "MEMORY", "support", "LoRA"} <= set(words)
