"""What each kind of base can do: which of its layers an adapter changes, and what the engine can do with the result.

The names of layers are read off the model itself, so a kind that is not listed here is no worse off. The table holds
what can't be read off: what the engine (vLLM 0.32) and PEFT do with it. docs/bases.md shows it whole, and
tests/trainer/bases/test_families.py holds it to small models of every kind.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from graft_registry.models.layer_paths import is_in_block

ENGINE_WITHOUT_ADAPTERS: Final = frozenset(
    {"bloom", "falcon", "gpt2", "gpt_bigcode", "gpt_neox", "gptj", "mpt", "stablelm"}
)
"""Model types whose classes in the engine apply no adapters; they are served merged. That of ``gpt_bigcode`` takes one
and leaves out its part for the layer of queries, keys, and values, with a warning in the log alone."""

ENGINE_REFUSES: Final[dict[str, frozenset[str]]] = {"glm4": frozenset({"gate_up_proj"})}
"""Layers that the engine loads no adapter for, by model type: it knows them as two, which the files don't."""

TAKEN_FOR_EXPERTS: Final = frozenset({"gate", "gate_proj", "up_proj", "down_proj"})
"""Names that PEFT turns into the stacked experts in the model types below, wherever they occur."""
TAKEN_FOR_MIXTRAL_EXPERTS: Final = frozenset({"gate", "w1", "w2", "w3"})
WITH_RENAMED_EXPERTS: Final[dict[str, frozenset[str]]] = {
    **dict.fromkeys(("mixtral", "minimax", "minimax_m2"), TAKEN_FOR_MIXTRAL_EXPERTS),
    **dict.fromkeys(
        (
            "afmoe",
            "beam",
            "cohere2_moe",
            "deepseek_v2",
            "deepseek_v3",
            "deepseek_v32",
            "dots1",
            "ernie4_5_moe",
            "exaone_moe",
            "flex_olmo",
            "glm4_moe",
            "glm4_moe_lite",
            "glm4v_moe",
            "glm_moe_dsa",
            "hunyuan_v1_moe",
            "longcat_flash",
            "mellum",
            "olmoe",
            "qwen2_moe",
            "qwen3_moe",
            "qwen3_next",
            "qwen3_omni_moe",
            "qwen3_omni_moe_text",
            "qwen3_omni_moe_thinker",
            "solar_open",
        ),
        TAKEN_FOR_EXPERTS,
    ),
}
"""Mixtures of experts whose layers were renamed when Transformers 5 stacked them (PEFT 0.21's conversion table)."""

_BEGIN_OF_ATTENTION: Final = frozenset(
    {"q_proj", "qkv_proj", "query_key_value", "c_attn", "Wqkv", "q_a_proj", "in_proj_qkvz", "in_proj_qkv", "wqkv"}
)
"""Layers that make the queries: what stands beside one of them is attention, whatever it is called."""
_ATTENTION_GATES: Final = frozenset({"in_proj_ba", "in_proj_a", "in_proj_b", "output_gate"})
"""Small layers within linear attention that decide what is forgotten; not adapted unless they are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """The linear layers of a model, by path.

    ``left_out`` are those that ``all-linear`` doesn't mean, with why; ``elsewhere`` all other matrices that a name
    could match: the output layer, embeddings, and what belongs to pictures or sound.
    """

    model_type: str
    linear: dict[str, int]
    """Path → number of weights, of every linear layer in the blocks of the language model."""
    attention: tuple[str, ...]
    left_out: dict[str, str] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()
    stacked_experts: tuple[str, ...] = ()
    """Paths of modules that hold experts as one tensor, which are no linear layers."""
    total: int = 0
    """Parameters of the whole model."""

    @property
    def adaptable(self) -> list[str]:
        """Paths of the layers that ``all-linear`` means."""
        return [path for path in self.linear if path not in self.left_out]

    def describe_left_out(self) -> str:
        """Say what ``all-linear`` leaves out, by kind and number; empty where that is nothing."""
        counts = Counter(self.left_out.values())
        if self.stacked_experts:
            counts["experts, which are one stacked tensor"] = len(self.stacked_experts)
        return ", ".join(f"{count} × {kind}" for kind, count in counts.items())


def layers_of(model: PreTrainedModel) -> Layers:
    """Read the layers off a model, which may be without weights (on the device ``meta``)."""
    model_type = model.config.get_text_config().model_type
    language = _language_model_path(model)
    head = model.get_output_embeddings()
    linear: dict[str, int] = {}
    elsewhere: list[str] = []
    for path, module in model.named_modules():
        if not isinstance(module, (torch.nn.Linear, Conv1D, torch.nn.Embedding)):
            continue
        in_text = path.startswith(language) and is_in_block(path)
        if in_text and module is not head and is_plain_linear(module):
            linear[path] = module.weight.numel()
        else:
            elsewhere.append(path)
    return Layers(
        model_type=model_type,
        linear=linear,
        attention=_attention(linear),
        left_out=_left_out(model, model_type, linear),
        elsewhere=tuple(elsewhere),
        stacked_experts=tuple(
            path
            for path, module in model.named_modules()
            if is_in_block(path)
            and any(parameter.dim() == 3 for parameter in module.parameters(recurse=False))
            and path.endswith("experts")
        ),
        total=sum(parameter.numel() for parameter in model.parameters()),
    )


def is_plain_linear(module: torch.nn.Module) -> bool:
    """Tell whether a module is a linear layer and nothing more: routers are built on one, but return other things."""
    return isinstance(module, (torch.nn.Linear, Conv1D)) and "Router" not in type(module).__name__


def _language_model_path(model: PreTrainedModel) -> str:
    """Return the beginning of the paths of the part that reads and writes text."""
    decoder: Any = model.get_decoder()
    return next((path for path, module in model.named_modules() if module is decoder), "")


def _attention(linear: dict[str, int]) -> tuple[str, ...]:
    parents = {path.rpartition(".")[0] for path in linear if path.rpartition(".")[2] in _BEGIN_OF_ATTENTION}
    return tuple(
        path
        for path in linear
        if path.rpartition(".")[0] in parents and path.rpartition(".")[2] not in _ATTENTION_GATES
    )


def _left_out(model: PreTrainedModel, model_type: str, linear: dict[str, int]) -> dict[str, str]:
    """Return the layers that can't be adapted, or not be served, with why."""
    renamed = WITH_RENAMED_EXPERTS.get(model_type, frozenset())
    refused = ENGINE_REFUSES.get(model_type, frozenset())
    left_out = {}
    for path in linear:
        parent, _, name = path.rpartition(".")
        beside = dict(model.get_submodule(parent).named_parameters(recurse=False))
        if {"A_log", "D"} <= beside.keys():
            left_out[path] = "state-space layers"
        elif name in renamed:
            left_out[path] = "layers whose names PEFT takes for experts"
        elif name in refused:
            left_out[path] = "layers that the engine loads no adapter for"
    return left_out
