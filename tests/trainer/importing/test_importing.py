"""Adapters as other libraries leave them: imported and equal to what they were, or refused with what helps.

``GRAFT_IMPORTING_TABLE=docs/importing.md`` writes the table of that document.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.trainer import families
from tests.trainer.conftest import NAMESPACE, Pod
from tests.trainer.importing.foreign_adapters import Maker, logits_of
from tests.trainer.importing.foreign_layouts import LAYOUTS
from tests.trainer.importing.importing_table import ImportingTable
from tests.trainer.s3_server import S3Server

from graft_registry.adapters.compatibility import check_version
from graft_registry.digests import digest_of, file_sha256
from graft_registry.documents import BaseManifest
from graft_registry.layout import AdapterLayout
from graft_registry.models.safetensors_header import read_header
from graft_trainer.row_files import kept

# PEFT's, of an adapted embedding that the head shares: it isn't merged here.
pytestmark = pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")

URI = "persistentVolumeClaim:adapters/support"
FIELD_BY_REASON = {"BaseMismatch": "spec.baseModelRef", "SourceNotFound": "spec.source.persistentVolumeClaim.path"}
EXIT_CODES = {"SourceInvalid": 72, "SourceNotFound": 72, "SourceForbidden": 72, "BaseMismatch": 66}


@pytest.fixture(scope="session")
def table() -> Iterator[ImportingTable]:
    """What the imports came to; written where GRAFT_IMPORTING_TABLE says."""
    table = ImportingTable()
    yield table
    if path := os.environ.get("GRAFT_IMPORTING_TABLE"):
        table.write(Path(path))


@pytest.fixture
def importing(pod: Pod, tmp_path: Path) -> Callable[..., Pod]:
    """Make a run that imports a folder."""

    def prepare(folder: Path, mode: str = "MultiAdapter", **source: Any) -> Pod:
        directory = {"directory": {"path": str(folder), "uri": URI}}
        pod.config |= {
            "reason": "Imported",
            "dataset": None,
            "adapterSource": {"source": source or directory, "digest": None},
            "serving": {"mode": mode},
        }
        return pod

    return prepare


@pytest.fixture
def maker(base: Path, tmp_path: Path) -> Maker:
    return Maker(base, tmp_path / "adapter")


def served(base: Path, folder: Path) -> torch.Tensor:
    """Return what PEFT makes of a version's files."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    return logits_of(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder))


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_others_write_is_read_or_refused(
    name: str, importing: Callable[..., Pod], maker: Maker, base: Path, tmp_path: Path, table: ImportingTable
) -> None:
    layout = LAYOUTS[name]
    layout.make(maker)
    pod = importing(maker.folder, "Merged" if layout.result == "merged" else "MultiAdapter")
    code, said = pod.run(), pod.termination()
    if layout.result == "refused":
        assert (code, said["reason"]) == (EXIT_CODES[layout.reason], layout.reason), said
        assert re.search(layout.says, said["message"]), said["message"]
        assert said["field"].startswith("spec.")
        assert pod.registry.numbers() == ()
        table.add(name, said["message"])
        return
    assert code == 0, said
    stored = pod.version()
    pod.registry.fetch(stored, tmp_path / "version", merged=False)
    assert maker.logits is not None
    tolerance = 1e-3 if not layout.exact else 1e-6
    assert torch.allclose(served(base, tmp_path / "version"), maker.logits, rtol=tolerance, atol=tolerance * 10)
    manifest = stored.manifest
    assert manifest.servable == {"beside others": "MultiAdapter", "merged": "Merged"}[layout.result]
    assert (manifest.merge is not None) == (layout.result == "merged")
    assert manifest.golden
    refusal = check_version(
        manifest,
        json.loads((tmp_path / "version" / "adapter_config.json").read_text()),
        read_header(tmp_path / "version" / "adapter_model.safetensors").tensors,
        BaseManifest.from_bytes((base / ".graft" / "base.json").read_bytes()),
        max_rank=manifest.shape.rank,
    )
    assert (refusal is None) == (layout.result == "beside others"), refusal
    table.add(name, "")


def test_a_version_says_where_it_comes_from(importing: Callable[..., Pod], maker: Maker, tmp_path: Path) -> None:
    maker.lora(use_rslora=True).fields(base_model_name_or_path="meta-llama/Llama-3.1-8B").beside("optimizer.pt")
    pod = importing(maker.folder)
    assert pod.run() == 0, pod.termination()
    manifest = pod.version().manifest
    files = [[path, file_sha256(maker.folder / path)] for path in ("adapter_config.json", "adapter_model.safetensors")]
    assert manifest.imported is not None
    assert manifest.imported.digest == digest_of(files)
    assert manifest.imported.revision is None
    assert manifest.imported.source.to_dict() == {"directory": {"path": str(maker.folder), "uri": URI}}
    assert manifest.imported.base_model_name_or_path == "meta-llama/Llama-3.1-8B"
    assert (manifest.reason, manifest.method, manifest.dataset, manifest.trained_on) == (
        "Imported",
        "RsLoRA",
        None,
        None,
    )
    assert (manifest.shape.rank, manifest.shape.alpha, manifest.metrics.steps) == (4, 8, None)
    assert sorted(file.path for file in manifest.files) == [
        *("README.md", "adapter_config.json", "adapter_model.safetensors", "report.html")
    ]
    pod.registry.fetch(pod.version(), tmp_path / "version")
    card = (tmp_path / "version" / "README.md").read_text()
    assert "meta-llama/Llama-3.1-8B" in card
    assert URI in card
    config = json.loads((tmp_path / "version" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"].startswith("toy@sha256:")
    assert config["target_modules"] == ["k_proj", "o_proj", "q_proj", "v_proj"]


def test_a_trained_adapter_answers_as_it_did(
    importing: Callable[..., Pod], trained_pod: Pod, base: Path, tmp_path: Path
) -> None:
    trained = trained_pod.version()
    trained_pod.registry.fetch(trained, tmp_path / "trained")
    pod = importing(tmp_path / "trained")
    pod.config["dataset"] = trained_pod.config["dataset"]
    assert pod.run() == 0, pod.termination()
    imported = pod.version().manifest
    pod.registry.fetch(pod.version(), tmp_path / "version")
    assert torch.equal(served(base, tmp_path / "version"), served(base, tmp_path / "trained"))
    assert imported.golden == trained.manifest.golden
    assert imported.probes == trained.manifest.probes
    assert imported.metrics.eval_loss == trained.manifest.metrics.eval_loss
    assert imported.metrics.base_eval_loss == trained.manifest.metrics.base_eval_loss
    assert imported.dataset is not None
    assert (imported.dataset.rows, imported.dataset.eval_rows) == (0, 12)
    assert imported.eval_digest == trained.manifest.eval_digest
    assert pod.weights_sha256() == trained_pod.weights_sha256()


def test_mixed_sets_judge_an_import_and_are_not_kept(
    importing: Callable[..., Pod], trained_pod: Pod, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kept, "WORTH_KEEPING", 1)
    trained_pod.registry.fetch(trained_pod.version(), tmp_path / "trained")
    pod = importing(tmp_path / "trained")
    rows = trained_pod.config["dataset"]
    other = {"source": rows["evaluation"]["source"], "weight": "0.25"}
    pod.config["dataset"] = rows | {"weight": "0.75", "mix": [other], "evaluation": {"splitPercent": 25}}
    assert pod.run() == 0, pod.termination()
    record = pod.version().manifest.dataset
    assert record is not None
    first, second = record.sets
    assert (first.rows, first.weight, second.rows, second.weight) == (3 * second.rows, "0.75", second.usable, "0.25")
    assert record.rows == 0
    assert record.eval_rows > 0
    assert not list(pod.store.list(AdapterLayout(NAMESPACE, pod.config["adapter"]).prepared_rows))


def test_prompts_of_the_spec_are_asked_first(importing: Callable[..., Pod], maker: Maker) -> None:
    maker.lora()
    pod = importing(maker.folder)
    pod.config["evaluation"] = {
        "prompts": ["what is the oak", "see the crow", "the axe is a", "what is the eel"],
        "probes": [{"prompt": "what is the elm", "expected": "tree"}],
        "maxProbeRows": 8,
    }
    assert pod.run() == 0, pod.termination()
    manifest = pod.version().manifest
    asked = {prompt.prompt for prompt in manifest.golden}
    assert asked <= {
        f"<bos> <user> {prompt} <end> <assistant>"
        for prompt in ("what is the oak", "see the crow", "the axe is a", "what is the eel", "what is the elm")
    }
    assert manifest.metrics.exact_match is not None
    assert manifest.metrics.eval_loss is None


def test_prompts_are_made_up_alike_every_time(new_pod: Callable[[str], Pod], maker: Maker) -> None:
    maker.lora()
    golden = []
    for name in ("made up once", "made up again"):
        pod = new_pod(name)
        source = {"directory": {"path": str(maker.folder), "uri": URI}}
        pod.config |= {"reason": "Imported", "dataset": None, "adapterSource": {"source": source}}
        assert pod.run() == 0, pod.termination()
        golden.append(pod.version().manifest.golden)
    assert golden[0] == golden[1]
    assert len(golden[0]) > 1


def test_what_was_imported_is_adopted(importing: Callable[..., Pod], maker: Maker) -> None:
    maker.lora()
    pod = importing(maker.folder)
    assert pod.run() == 0
    maker.without("adapter_config.json")
    assert pod.run() == 0
    assert pod.termination()["outcome"] == "Adopted"
    assert pod.registry.numbers() == (1,)


def test_content_of_another_digest_is_refused(importing: Callable[..., Pod], maker: Maker) -> None:
    maker.lora()
    pod = importing(maker.folder)
    pod.config["adapterSource"]["digest"] = digest_of("something else")
    assert pod.run() == 72
    assert "it has changed meanwhile" in pod.termination()["message"]


def test_an_adapter_that_can_only_be_merged_is_not_served_beside_others(
    importing: Callable[..., Pod], maker: Maker
) -> None:
    maker.lora(use_dora=True)
    pod = importing(maker.folder)
    assert pod.run() == 64
    assert pod.termination()["field"] == "spec.serving.mode"
    assert "use mode Merged" in pod.termination()["message"]
    pod.config["serving"] = {"mode": "None"}
    assert pod.run() == 0
    assert pod.version().manifest.servable == "Merged"


def test_an_embedding_adapted_with_magnitudes_says_what_it_said(
    importing: Callable[..., Pod], maker: Maker, base: Path, tmp_path: Path
) -> None:
    # Not served: a merge would change the head, too, which has the same weights.
    maker.lora(use_dora=True, target_modules=["q_proj", "embed_tokens"])
    pod = importing(maker.folder, "None")
    assert pod.run() == 0, pod.termination()
    pod.registry.fetch(pod.version(), tmp_path / "version")
    assert maker.logits is not None
    assert torch.allclose(served(base, tmp_path / "version"), maker.logits, rtol=1e-6, atol=1e-5)


def test_an_adapter_that_changes_no_answer_is_refused_in_words(importing: Callable[..., Pod], maker: Maker) -> None:
    from tests.trainer.importing.foreign_layouts import _config

    maker.peft(_config(), noise=1e-6)
    pod = importing(maker.folder)
    assert pod.run() == 72
    assert pod.termination()["field"] == "spec.evaluation.prompts"
    assert "NoEffect: the adapter answers none of" in pod.termination()["message"]


def _header_changed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])


def _stored_in_four_bits(header: dict[str, Any]) -> None:
    name = next(name for name in header if "lora_B" in name)
    begin, end = header[name]["data_offsets"]
    header[name] |= {"dtype": "F4", "shape": [(end - begin) * 2]}


def _named_by_no_character(header: dict[str, Any]) -> None:
    name = next(name for name in header if "lora_B" in name)
    header[name.replace("_proj", "\ud800")] = header.pop(name)


def _described_by_no_character(header: dict[str, Any]) -> None:
    header["__metadata__"] = {"format": "\ud800"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_stored_in_four_bits, "is stored as F4"),
        (_named_by_no_character, "isn't text"),
        (_described_by_no_character, "is not a safetensors file"),
    ],
)
def test_weights_that_no_library_opens_are_refused(
    change: Callable[[dict[str, Any]], None], says: str, importing: Callable[..., Pod], maker: Maker
) -> None:
    _header_changed(maker.lora().folder / "adapter_model.safetensors", change)
    pod = importing(maker.folder)
    assert pod.run() == 72, pod.termination()
    assert pod.termination()["reason"] == "SourceInvalid"
    assert says in pod.termination()["message"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"alpha_pattern": {"k_proj": 1e38}, "lora_alpha": 1e-3}, "alpha_pattern, rank_pattern: they scale"),
        ({"alpha_pattern": {"k_proj": 1e-36}, "lora_alpha": 1e30}, "alpha_pattern, rank_pattern: they scale"),
        ({"lora_alpha": 1e38}, "give the lora_alpha"),
    ],
)
def test_a_scale_that_the_matrices_do_not_bear_is_refused(
    fields: dict[str, Any], says: str, importing: Callable[..., Pod], maker: Maker
) -> None:
    maker.lora().fields(**fields)
    pod = importing(maker.folder)
    assert pod.run() == 72, pod.termination()
    assert pod.termination()["reason"] == "SourceInvalid"
    assert says in pod.termination()["message"]


def test_a_folder_that_may_not_be_read_is_forbidden(importing: Callable[..., Pod], maker: Maker) -> None:
    maker.lora()
    weights = maker.folder / "adapter_model.safetensors"
    weights.chmod(0)
    if os.access(weights, os.R_OK):
        pytest.skip("this user may read everything")
    pod = importing(maker.folder)
    assert pod.run() == 72
    assert pod.termination()["reason"] == "SourceForbidden"


def test_a_store_that_is_away_is_worth_another_try(importing: Callable[..., Pod], maker: Maker) -> None:
    pod = importing(maker.folder, s3={"uri": "s3://graft/adapters/support"})
    pod.variables = {"SOURCE_AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    assert pod.run() == 68
    assert pod.termination()["reason"] == "SourceUnavailable"


def test_an_import_that_is_told_to_stop_stops_and_loses_nothing(
    importing: Callable[..., Pod], maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graft_trainer.importing import pipeline

    maker.lora()
    pod = importing(maker.folder)
    states: list[str] = []

    def stopping(run: Any, *arguments: Any) -> Any:
        progress = pod.registry.read_progress(pod.config["recipe"])
        assert progress is not None
        states.append(progress.state)
        run.notice.request()
        return judge(run, *arguments)

    judge = pipeline._judge
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "_judge", stopping)
        assert pod.run() == 143
    assert states == ["Evaluating"]
    assert pod.registry.numbers() == ()
    assert pod.run() == 0
    progress = pod.registry.read_progress(pod.config["recipe"])
    assert progress is not None
    assert (progress.state, progress.number) == ("Published", 1)


def test_an_import_that_is_killed_is_done_again_from_the_beginning(
    importing: Callable[..., Pod], maker: Maker, s3_server: S3Server
) -> None:
    maker.lora()
    pod = importing(maker.folder)
    with s3_server.acting_after(lambda path: path.endswith("progress.json"), lambda: process.kill()):
        process = pod.start()
        assert process.wait() == -signal.SIGKILL
    assert pod.registry.numbers() == ()
    assert pod.run() == 0
    assert pod.registry.numbers() == (1,)


def test_a_base_without_a_chat_template_makes_up_the_beginnings_of_texts(
    importing: Callable[..., Pod], maker: Maker, base: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(base, plain, ignore=shutil.ignore_patterns("chat_template.jinja", ".graft"))
    described = json.loads((plain / "tokenizer_config.json").read_text())
    described.pop("chat_template", None)
    (plain / "tokenizer_config.json").write_text(json.dumps(described))
    maker.lora()
    pod = importing(maker.folder)
    pod.config["base"] |= {"digest": families.manifest_of(plain).digest, "path": str(plain)}
    pod.config["evaluation"] = {"probes": [{"prompt": "the salmon is a", "expected": "fish"}], "maxProbeRows": 4}
    assert pod.run() == 0, pod.termination()
    golden = pod.version().manifest.golden
    assert golden
    assert not [prompt for prompt in golden if "<user>" in prompt.prompt]
