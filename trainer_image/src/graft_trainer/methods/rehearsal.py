"""Attaches the run's adapter to the base without weights, to find at once what would otherwise fail at the end.

A model on the device ``meta`` takes a second and no memory, whatever its size. It shows what PEFT or a server would
refuse, and how much of the base is adapted, before a row is read.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from peft import PeftModel, get_peft_model, get_peft_model_state_dict
from transformers import PreTrainedModel

from graft_registry.adapters.compatibility import check_adapter
from graft_registry.documents import BaseManifest, Servable
from graft_registry.models.safetensors_header import TensorInfo
from graft_trainer.config import LoraHyperparameters, RunConfig
from graft_trainer.methods import targets
from graft_trainer.methods.architectures import ENGINE_WITHOUT_ADAPTERS, Layers, layers_of
from graft_trainer.methods.peft_configs import ia3_config, lora_config
from graft_trainer.methods.table import METHODS
from graft_trainer.outcome import InvalidConfigError

logger = logging.getLogger(__name__)

ANY_RANK: Final = 1 << 30
"""How high a rank the engine has room for is the operator's to check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterPlan:
    """What the adapter will be."""

    target_modules: tuple[str, ...]
    """Names for PEFT; empty where the method adapts no layers."""
    servable: Servable
    """What engines can do with it."""
    adapted_share: float | None
    """The part of the base's parameters that are in adapted layers; None where the method adapts no layers."""


def rehearse(skeleton: PreTrainedModel, config: RunConfig, base: BaseManifest) -> AdapterPlan:
    """Choose the layers, attach an adapter of the run's shape, and check it as a server would.

    Raises InvalidConfigError where a layer doesn't exist or can't be adapted, or where the adapter could not be served
    as the run asks.
    """
    method = METHODS[config.method]
    if method.kind not in ("LoRA", "IA3"):
        return AdapterPlan(target_modules=(), servable=method.servable, adapted_share=None)
    layers = layers_of(skeleton)
    _check_engine(layers, config)
    names = targets.target_modules(config.lora.target_modules, layers)
    if config.lora.target_modules == [targets.ALL_LINEAR] and (left_out := layers.describe_left_out()):
        logger.warning("all-linear leaves out %s", left_out)
    model = _attach(skeleton, config, names)
    adapted = set(model.targeted_module_names)
    check_rank_pattern(adapted, config.lora)
    share = sum(weights for path, weights in layers.linear.items() if path in adapted) / layers.total
    logger.info("adapts %d of %d layers, %.1f %% of the weights", len(adapted), len(layers.linear), 100 * share)
    return AdapterPlan(
        target_modules=tuple(names),
        servable=_servable(model, config, base, layers),
        adapted_share=round(share, 4),
    )


def check_rank_pattern(adapted: set[str], lora: LoraHyperparameters) -> None:
    """Refuse a rank for a module that gets no update: PEFT ignores it in silence."""
    field = "spec.lora.rankPattern"
    for module in lora.rank_pattern:
        if not any(name == module or name.endswith(f".{module}") for name in adapted):
            raise InvalidConfigError(
                f"{field}: {module} is not among the adapted modules; name one of "
                f"{sorted({name.rpartition('.')[2] for name in adapted})}, or a longer end of its path",
                field=field,
            )


def _attach(skeleton: PreTrainedModel, config: RunConfig, names: list[str]) -> PeftModel:
    if METHODS[config.method].kind == "IA3":
        plain = ia3_config(names, skeleton)
    else:
        # Plain LoRA of the same shape: initialisation by PiSSA or EVA would need the base's weights.
        plain = lora_config(config.lora, METHODS["LoRA"], targets=names)
    try:
        return get_peft_model(skeleton, plain, low_cpu_mem_usage=True)
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:300]
        raise InvalidConfigError(f"{targets.FIELD}: {reason}", field=targets.FIELD) from error


def _check_engine(layers: Layers, config: RunConfig) -> None:
    if config.serving.mode == "MultiAdapter" and layers.model_type in ENGINE_WITHOUT_ADAPTERS:
        field = "spec.serving.mode"
        raise InvalidConfigError(
            f"{field}: the engine applies no adapters to {layers.model_type} models beside others; use mode Merged",
            field=field,
        )


def _servable(model: PeftModel, config: RunConfig, base: BaseManifest, layers: Layers) -> Servable:
    """Return what engines can do with the adapter, by the check that stands before every server.

    Raises InvalidConfigError where that isn't what the run asks for.
    """
    servable = METHODS[config.method].servable
    if servable != "MultiAdapter":
        return servable
    if layers.model_type in ENGINE_WITHOUT_ADAPTERS:
        return "Merged"
    refusal = check_adapter(_config_of(model), _tensors_of(model), base, max_rank=ANY_RANK)
    if refusal is None:
        return servable
    if config.serving.mode != "MultiAdapter":
        logger.warning("can only be served merged: %s", refusal.message)
        return "Merged"
    raise InvalidConfigError(
        f"{targets.FIELD}: no server would load the adapter: {refusal.message}; name other layers, or use "
        "spec.serving.mode Merged",
        field=targets.FIELD,
    )


def _config_of(model: PeftModel) -> Mapping[str, Any]:
    """Return what PEFT would write into ``adapter_config.json``."""
    return {
        name: sorted(value) if isinstance(value, set) else value
        for name, value in model.peft_config["default"].to_dict().items()
    }


def _tensors_of(model: PeftModel) -> list[TensorInfo]:
    """Return what the header of the adapter's file would say; PEFT keeps adapters in float32."""
    return [
        TensorInfo(name, "F32", tuple(tensor.shape), (0, 0))
        for name, tensor in get_peft_model_state_dict(model, save_embedding_layers=False).items()
    ]
