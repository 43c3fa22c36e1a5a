"""Versions as directories in the layout of a hub, as PEFT loads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.wire.exports.conftest import Exporter, contents, parsed

from graft_registry.versions import StoredVersion


def test_a_directory_is_what_a_hub_wants(export: Exporter, version: StoredVersion, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, message = export(f"dir:{out}")
    assert (code, message["location"]) == (0, f"dir:{out}")
    written = contents(out)
    for same in ("adapter_model.safetensors", "report.html"):
        assert written[same] == (files / same).read_bytes()
    assert written["graft-version.json"] == version.manifest.to_bytes()
    config = parsed(out / "adapter_config.json")
    assert (config["base_model_name_or_path"], config["revision"]) == ("acme/tiny", version.manifest.base.revision)
    assert {**config, "base_model_name_or_path": "tiny@sha256:0"} == {
        **parsed(files / "adapter_config.json"),
        "revision": version.manifest.base.revision,
    }


def test_the_card_is_one_that_the_hub_s_own_library_reads(export: Exporter, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    export(f"dir:{tmp_path / 'out'}")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert (card.data.base_model, card.data.library_name, card.data.license) == ("acme/tiny", "peft", "apache-2.0")
    assert {"lora", "graft"} <= set(card.data.tags or ())
    results = {result.metric_type: result.metric_value for result in card.data.eval_results or ()}
    assert results == {"loss": 0.5, "exact_match": 0.75}
    assert "A LoRA adapter." in card.text


def test_peft_loads_its_configuration(export: Exporter, tmp_path: Path) -> None:
    from peft import PeftConfig

    export(f"dir:{tmp_path / 'out'}")
    assert PeftConfig.from_pretrained(str(tmp_path / "out")).base_model_name_or_path == "acme/tiny"


def test_a_directory_with_something_else_in_it_is_left_alone(export: Exporter, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    for more in ((), ("--overwrite",)):
        code, message = export(f"dir:{out}", *more)
        assert (code, message["reason"]) == (73, "Conflict")
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_an_export_is_replaced_where_that_is_asked_for(export: Exporter, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(f"dir:{out}")
    before = contents(out)
    (out / "README.md").write_text("changed")
    assert export(f"dir:{out}", "--overwrite")[0] == 0
    assert contents(out) == before
    assert yaml.safe_load((out / "README.md").read_text().split("---")[1])["library_name"] == "peft"


def test_what_is_there_already_is_not_brought_again(export: Exporter, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(f"dir:{out}")
    (out / "README.md").write_text("my own notes")
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    code, message = export(f"dir:{out}")
    assert (code, message["location"]) == (0, f"dir:{out}")
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "graft-version.json"])
@pytest.mark.parametrize(
    "change", [Path.unlink, lambda path: path.write_bytes(path.read_bytes() + b" ")], ids=["gone", "changed"]
)
def test_an_export_that_is_not_whole_is_not_taken_for_one(
    name: str, change: Callable[[Path], object], export: Exporter, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export(f"dir:{out}")
    change(out / name)
    code, message = export(f"dir:{out}")
    assert (code, message["reason"]) == (73, "Conflict")
