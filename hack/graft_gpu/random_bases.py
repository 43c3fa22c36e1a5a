"""Models of real shapes with random weights, made where they are used: nothing is downloaded, and no disk is needed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel
from transformers.integrations.bitsandbytes import replace_with_bnb_linear

from graft_registry.models.training_memory import ModelShape, linear_layers
from graft_trainer.model import nf4

SPREAD = 0.02
"""Standard deviation of the weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of a Llama."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    vocabulary: int = 32_000

    @property
    def config(self) -> LlamaConfig:
        """Return Transformers' configuration of it."""
        return LlamaConfig(
            hidden_size=self.hidden,
            intermediate_size=self.intermediate,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            vocab_size=self.vocabulary,
            use_cache=False,
        )

    def shape(self) -> ModelShape:
        """Return what an estimate of memory is made from."""
        with torch.device("meta"):
            model = LlamaForCausalLM(self.config)
        modules = {
            path: (module.out_features, module.in_features)
            for path, module in model.named_modules()
            if isinstance(module, nn.Linear)
        }
        return ModelShape(
            parameters=model.num_parameters(),
            hidden_size=self.hidden,
            attention_size=self.hidden,
            intermediate_size=self.intermediate,
            layers=self.layers,
            vocab_size=self.vocabulary,
            linear=linear_layers(modules),
        )


LLAMA_7B = Sizes(hidden=4096, intermediate=11008, layers=32, heads=32)
LLAMA_65B = Sizes(hidden=8192, intermediate=22016, layers=80, heads=64)
TINY = Sizes(hidden=128, intermediate=256, layers=2, heads=4, vocabulary=512)


def random_base(sizes: Sizes, device: torch.device, dtype: torch.dtype, *, quantized: bool) -> PreTrainedModel:
    """Make a frozen model on a device, one matrix at a time: in NF4 a model is there that no memory holds in full."""
    with torch.device("meta"):
        model: PreTrainedModel = LlamaForCausalLM._from_config(sizes.config, dtype=dtype)  # noqa: SLF001
    if quantized:
        quantization = nf4(dtype, sharded=False)
        model = replace_with_bnb_linear(model, ["lm_head"], quantization)
        # What PEFT asks a model that was loaded so.
        model.is_loaded_in_4bit = True
    for module in list(model.modules()):
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, _random_weight(module, weight, device, dtype))
    model.model.rotary_emb = type(model.model.rotary_emb)(config=sizes.config).to(device)
    return model.requires_grad_(False)


def _random_weight(module: nn.Module, weight: nn.Parameter, device: torch.device, dtype: torch.dtype) -> nn.Parameter:
    import bitsandbytes

    if weight.dim() < 2:
        return nn.Parameter(torch.ones(weight.shape, dtype=dtype, device=device), requires_grad=False)
    values = torch.randn(weight.shape, dtype=dtype, device=device) * SPREAD
    if not isinstance(module, bitsandbytes.nn.Linear4bit):
        return nn.Parameter(values, requires_grad=False)
    full = bitsandbytes.nn.Params4bit(values, requires_grad=False, quant_type="nf4", module=module)
    # Quantized by being moved, also to where it is.
    quantized: nn.Parameter = full.to(device)
    return quantized
