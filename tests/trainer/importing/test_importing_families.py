"""Adapters of bases of many kinds, saved by PEFT under its own names or under those of a model around the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tests.trainer import families
from tests.trainer.importing.foreign_adapters import Maker, logits_of

from graft_registry.config import RegistryConfig
from graft_registry.documents import AdapterSource
from graft_trainer.config import AdapterSourceConfig
from graft_trainer.importing.attaching import place
from graft_trainer.importing.normalised import write_adapter
from graft_trainer.importing.source import fetch_foreign_adapter
from graft_trainer.methods.architectures import layers_of
from graft_trainer.model import load_base

WRAPPED = {
    # As older releases of Transformers have called the same layers, and as the language model alone calls them.
    "gemma3": (r"model\.model\.language_model\.layers", "model.language_model.model.layers"),
    "qwen2_5_vl": (r"model\.model\.language_model\.layers", "model.model.layers"),
    "mistral3": (r"model\.model\.language_model\.layers", "model.language_model.model.layers"),
    "llama": (r"model\.model\.layers", "model.model.language_model.layers"),
    "gpt2": (r"model\.transformer\.h", "model.h"),
}
AS_SAVED = ["llama", "qwen3", "phi3", "gemma3", "mistral3", "qwen2_5_vl", "gpt2", "gpt_neox", "mixtral", "lfm2"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model_type", "pattern", "replacement"),
    [*((name, "", "") for name in AS_SAVED), *((name, *names) for name, names in WRAPPED.items())],
)
def test_an_adapter_of_a_base_of_any_kind_says_what_it_said(
    model_type: str, pattern: str, replacement: str, tmp_path: Path
) -> None:
    base = families.save(model_type, tmp_path / "base")
    manifest = families.manifest_of(base)
    maker = Maker(base, tmp_path / "adapter")
    model = load_base(base, dtype=torch.float32)
    targets = sorted({path.rpartition(".")[2] for path in layers_of(model).attention})
    torch.manual_seed(2)
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=targets))
    for name, parameter in adapted.named_parameters():
        # Texts alone train no layer for pictures, though PEFT adapts those that have the name.
        if parameter.requires_grad and "vision" not in name and "visual" not in name:
            parameter.data += 0.2 * torch.randn_like(parameter)
    expected = logits_of(adapted)
    adapted.save_pretrained(str(maker.folder))
    if pattern:
        maker.renamed(pattern, replacement)
    source = AdapterSource.model_validate({"directory": {"path": str(maker.folder), "uri": "test"}})
    asked = AdapterSourceConfig(source=source)
    adapter = fetch_foreign_adapter(asked, RegistryConfig(bucket="none"), tmp_path / "brought", {})
    placed = place(adapter, manifest, base)
    written = tmp_path / "written"
    written.mkdir()
    write_adapter(
        written,
        placed.fitted,
        adapter.settings,
        adapter.weights,
        manifest,
        modules={*placed.layers.linear, *placed.layers.elsewhere},
        transposed=placed.transposed,
    )
    assert json.loads((written / "adapter_config.json").read_text())["target_modules"]
    again = PeftModel.from_pretrained(load_base(base, dtype=torch.float32), written)
    assert torch.equal(logits_of(again), expected)
