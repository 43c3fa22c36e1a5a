"""Makes adapters as PEFT, TRL, Axolotl, LLaMA-Factory and Unsloth leave them behind.

PEFT itself writes what it can write today; the rest is turned into the layout that is documented for it. What the model
answered before it was saved is kept, to compare the imported version with.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PROMPTS: Final = torch.tensor([[0, 4, 10, 7, 20, 1, 5], [0, 4, 11, 9, 33, 1, 5]])
"""Any tokens: logits are compared, not words."""
NOISE: Final = 0.2
ATTENTION: Final = ["q_proj", "k_proj", "v_proj", "o_proj"]
LINEAR: Final = [*ATTENTION, "gate_proj", "up_proj", "down_proj"]

OLD_FIELDS: Final = frozenset(
    {
        *("base_model_name_or_path", "bias", "fan_in_fan_out", "inference_mode", "init_lora_weights", "lora_alpha"),
        *("lora_dropout", "modules_to_save", "peft_type", "r", "target_modules", "task_type", "layers_pattern"),
        *("layers_to_transform", "revision"),
    }
)
"""All that PEFT 0.3 wrote."""


@torch.inference_mode()
def logits_of(model: Any) -> torch.Tensor:
    """Return what a model says to the prompts."""
    logits: torch.Tensor = model.eval()(input_ids=PROMPTS).logits.float()
    return logits


class Maker:
    """Makes one adapter in a folder."""

    def __init__(self, base: Path, folder: Path) -> None:
        self.base = base
        self.folder = folder
        self.logits: torch.Tensor | None = None

    def lora(self, **settings: Any) -> Maker:
        """Save a trained LoRA adapter of PEFT's, of rank 4 on the attention unless something else is said."""
        chosen = {"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "target_modules": ATTENTION} | settings
        return self.peft(LoraConfig(**chosen))

    def peft(
        self,
        config: PeftConfig,
        *,
        model: PreTrainedModel | None = None,
        dtype: torch.dtype | None = None,
        noise: float = NOISE,
        **saving: Any,
    ) -> Maker:
        """Save a trained adapter of any kind."""
        torch.manual_seed(3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = model or AutoModelForCausalLM.from_pretrained(self.base)
            adapted = get_peft_model(model, config)
            for parameter in adapted.parameters():
                if parameter.requires_grad:
                    parameter.data += noise * torch.randn_like(parameter)
                    if dtype is not None:
                        parameter.data = parameter.data.to(dtype).float()
            self.logits = logits_of(adapted)
            if isinstance(adapted, PeftModel):
                adapted.save_pretrained(str(self.folder), **saving)
        if dtype is not None:
            self.weights(lambda tensors: {name: tensor.to(dtype) for name, tensor in tensors.items()})
        return self

    def fields(self, **changes: Any) -> Maker:
        """Set fields of the configuration; one that becomes ``...`` is removed."""
        path = self.folder / CONFIG
        config = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({name: value for name, value in config.items() if value is not ...}, indent=2))
        return self

    def only_fields(self, names: frozenset[str]) -> Maker:
        """Remove all other fields of the configuration."""
        config = json.loads((self.folder / CONFIG).read_text())
        (self.folder / CONFIG).write_text(json.dumps({name: config[name] for name in config if name in names}))
        return self

    def weights(self, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Maker:
        """Change the weights' file."""
        path = self.folder / WEIGHTS
        tensors = change(load_file(path))
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata={"format": "pt"})
        return self

    def renamed(self, pattern: str, replacement: str) -> Maker:
        """Rename all tensors."""
        return self.weights(lambda tensors: {re.sub(pattern, replacement, name): tensors[name] for name in tensors})

    def sharded(self) -> Maker:
        """Cut the weights into two files."""
        tensors = load_file(self.folder / WEIGHTS)
        (self.folder / WEIGHTS).unlink()
        names, files = sorted(tensors), [f"adapter_model-0000{part}-of-00002.safetensors" for part in (1, 2)]
        parts = {name: files[index % 2] for index, name in enumerate(names)}
        for file in files:
            save_file({name: tensors[name] for name in names if parts[name] == file}, self.folder / file)
        index = {"metadata": {}, "weight_map": parts}
        (self.folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
        return self

    def beside(self, *names: str) -> Maker:
        """Put other files beside the adapter; none of them may be opened, so none can be read."""
        for name in names:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"\x80\x04never opened")
        return self

    def without(self, *names: str) -> Maker:
        """Remove files."""
        for name in names:
            (self.folder / name).unlink()
        return self

    def moved_into(self, *folders: str) -> Maker:
        """Leave the adapter's files in folders below only."""
        files = [path for path in self.folder.iterdir() if path.is_file()]
        for folder in folders:
            (self.folder / folder).mkdir()
            for file in files:
                shutil.copy(file, self.folder / folder / file.name)
        for file in files:
            file.unlink()
        return self


def another_base(base: Path, **changes: Any) -> PreTrainedModel:
    """Return an untrained model of the base's kind, with something else about it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    fields = json.loads((base / "config.json").read_text()) | changes
    return LlamaForCausalLM(LlamaConfig(**fields))
