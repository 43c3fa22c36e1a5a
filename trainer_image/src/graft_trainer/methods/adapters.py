"""Attaches a fresh adapter of the run's method to the frozen base.

What an adapter begins as may depend on a decomposition of weights (PiSSA) or of activations (EVA). Neither is certain
to come out the same on another machine, so a resumed run takes its beginning from the checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from peft import (
    IA3Config,
    LoraConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptTuningConfig,
    get_peft_model,
)
from peft.utils import TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING
from transformers import PreTrainedModel, set_seed

from graft_trainer.config import LoraHyperparameters, RunConfig
from graft_trainer.data.rendering import Row
from graft_trainer.methods import explained_variance, principal_weights, whole_weights
from graft_trainer.methods.table import METHODS, Method
from graft_trainer.outcome import InvalidConfigError
from graft_trainer.training.checkpoint import RunCheckpoints

ALL_LINEAR = "all-linear"


def attach_adapter(
    base: PreTrainedModel,
    config: RunConfig,
    *,
    rows: Sequence[Row],
    checkpoints: RunCheckpoints,
    resumed: Path | None,
) -> PeftModel:
    """Freeze the base and add an adapter to it, initialised from the seed and the rows, or as in ``resumed``.

    What is not quantized stays in the precision of the run. PEFT's ``prepare_model_for_kbit_training`` would cast it to
    float32, which doubles the activations and takes 2 GB more for a vocabulary of 128,000 tokens.

    Raises InvalidConfigError where a target module does not exist or the method cannot do what is asked.
    """
    method = METHODS[config.method]
    if config.training.gradient_checkpointing:
        # Checkpointed blocks only keep gradients where an input needs them; embeddings are frozen.
        base.enable_input_require_grads()
    set_seed(config.training.seed)
    observes = method.initialization == "ExplainedVariance" and resumed is None
    try:
        # EVA only then allocates the matrices when it knows their ranks.
        model = get_peft_model(base, adapter_config(config, base, resumed=resumed), low_cpu_mem_usage=observes)
        if method.initialization == "PrincipalWeights":
            begin = principal_weights.restore_beginning if resumed else principal_weights.store_beginning
            begin(model, checkpoints.initial_adapter)
        elif observes:
            explained_variance.initialize(model, rows)
        elif method.long_context:
            whole_weights.hold_in_float32(model)
    except ValueError as error:
        field = "spec.lora.targetModules" if method.kind in ("LoRA", "IA3") else "spec.method"
        raise InvalidConfigError(f"{field}: {error}", field=field) from error
    _check_rank_pattern(model, config.lora)
    return model


def adapter_config(config: RunConfig, base: PreTrainedModel, *, resumed: Path | None) -> PeftConfig:
    """Build PEFT's configuration afresh: get_peft_model() mutates the one that it is given."""
    method = METHODS[config.method]
    targets = target_modules(config.lora, base)
    match method.kind:
        case "LoRA":
            lora = lora_config(config.lora, method, targets=targets, resumed=resumed)
            if method.long_context:
                whole_weights.configure(lora, base)
            return lora
        case "IA3":
            inner = TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING.get(base.config.model_type, [])
            return IA3Config(
                task_type="CAUSAL_LM",
                target_modules=targets,
                # Scaled at their input: the activation inside of the feed-forward block (arXiv:2205.05638, §3.3).
                feedforward_modules=[module for module in targets if module.rpartition(".")[2] in inner],
            )
        case "PrefixTuning":
            return PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=config.prompt_tuning.virtual_tokens)
        case "PromptTuning":
            # Words of the vocabulary are a better beginning than noise (arXiv:2104.08691, figure 3b).
            return PromptTuningConfig(
                task_type="CAUSAL_LM",
                num_virtual_tokens=config.prompt_tuning.virtual_tokens,
                prompt_tuning_init="SAMPLE_VOCAB",
            )


def lora_config(lora: LoraHyperparameters, method: Method, *, targets: list[str], resumed: Path | None) -> LoraConfig:
    """Build the configuration of LoRA and its relatives."""
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        rank_pattern=dict(lora.rank_pattern),
        alpha_pattern=dict(lora.alpha_pattern),
        bias="none",
        use_rslora=method.rank_stabilized,
        use_dora=method.decomposed,
    )
    if resumed is None and method.initialization == "PrincipalWeights":
        config.init_lora_weights = principal_weights.INITIALIZATION
    elif method.initialization == "ExplainedVariance":
        explained_variance.configure(config, resumed)
    return config


def target_modules(lora: LoraHyperparameters, base: PreTrainedModel) -> list[str]:
    """Return the names of the modules to adapt, with ``all-linear`` spelled out.

    PEFT's own ``all-linear`` records full module paths for shallow models, so equal intents would look different.
    """
    return linear_layers(base) if lora.target_modules == [ALL_LINEAR] else lora.target_modules


def linear_layers(base: PreTrainedModel) -> list[str]:
    """Return the sorted names of the base's linear layers, such as ``q_proj``, without the output layer."""
    head = base.get_output_embeddings()
    return sorted(
        {
            path.rpartition(".")[2]
            for path, module in base.named_modules()
            if isinstance(module, torch.nn.Linear) and module is not head
        }
    )


def _check_rank_pattern(model: PeftModel, lora: LoraHyperparameters) -> None:
    """Refuse a rank for a module that gets no update: PEFT ignores it in silence."""
    adapted = model.targeted_module_names if lora.rank_pattern else []
    for module in lora.rank_pattern:
        if not any(name == module or name.endswith(f".{module}") for name in adapted):
            field = "spec.lora.rankPattern"
            raise InvalidConfigError(
                f"{field}: {module} is not among the adapted modules; name one of "
                f"{sorted({name.rpartition('.')[2] for name in adapted})}, or a longer end of its path",
                field=field,
            )
