"""PEFT's configuration of an adapter, made afresh each time: ``get_peft_model`` changes the one that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from peft import IA3Config, LoraConfig, PeftConfig, PrefixTuningConfig, PromptTuningConfig
from peft.utils import TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING
from transformers import PreTrainedModel

from graft_trainer.config import LoraHyperparameters, RunConfig
from graft_trainer.methods import explained_variance, principal_weights, whole_weights
from graft_trainer.methods.table import METHODS, Method


def peft_config(
    config: RunConfig, targets: Sequence[str], base: PreTrainedModel, *, resumed: Path | None
) -> PeftConfig:
    """Build the configuration of the run's method for the modules ``targets``, none of which prompts need."""
    method = METHODS[config.method]
    match method.kind:
        case "LoRA":
            lora = lora_config(config.lora, method, targets=targets)
            if resumed is None and method.initialization == "PrincipalWeights":
                lora.init_lora_weights = principal_weights.INITIALIZATION
            elif method.initialization == "ExplainedVariance":
                explained_variance.configure(lora, resumed)
            if method.long_context:
                whole_weights.configure(lora, base)
            return lora
        case "IA3":
            return ia3_config(targets, base)
        case "PrefixTuning":
            return PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=config.prompt_tuning.virtual_tokens)
        case "PromptTuning":
            # Words of the vocabulary are a better beginning than noise (arXiv:2104.08691, figure 3b).
            return PromptTuningConfig(
                task_type="CAUSAL_LM",
                num_virtual_tokens=config.prompt_tuning.virtual_tokens,
                prompt_tuning_init="SAMPLE_VOCAB",
            )


def lora_config(lora: LoraHyperparameters, method: Method, *, targets: Sequence[str]) -> LoraConfig:
    """Build the configuration of LoRA and its relatives, which begin as noise unless something else is set."""
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(targets),
        rank_pattern=dict(lora.rank_pattern),
        alpha_pattern=dict(lora.alpha_pattern),
        bias="none",
        use_rslora=method.rank_stabilized,
        use_dora=method.decomposed,
    )


def ia3_config(targets: Sequence[str], base: PreTrainedModel) -> IA3Config:
    """Build the configuration of IA3 for a base of any architecture that PEFT knows."""
    inner = TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING.get(base.config.model_type, [])
    return IA3Config(
        task_type="CAUSAL_LM",
        target_modules=list(targets),
        # Scaled at their input: the activation inside of the feed-forward block (arXiv:2205.05638, §3.3).
        feedforward_modules=[module for module in targets if module.rpartition(".")[2] in inner],
    )
