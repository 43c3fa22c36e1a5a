"""Loads the base, frozen in the precision of the run, and attaches the adapter.

Only local paths are loaded and no code that comes with a model is ever run.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from graft_trainer.config import LoraHyperparameters, RunConfig
from graft_trainer.methods import METHODS, Method
from graft_trainer.outcome import BaseMismatchError, InvalidConfigError

logger = logging.getLogger(__name__)

ALL_LINEAR = "all-linear"


def device() -> torch.device:
    """Return the first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """Load the base's tokenizer, padding on the right with the end token where it has no pad token.

    Raises BaseMismatchError where it has no fast implementation or no end token: answers could not be found in the
    text, or would never end.
    """
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    if not tokenizer.is_fast or tokenizer.eos_token is None:
        raise BaseMismatchError(
            "the base needs a tokenizer.json with an end-of-sequence token", field="spec.baseModelRef"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(path: Path, *, dtype: torch.dtype, method: Method | None = None) -> PreTrainedModel:
    """Load the base onto the device; a ``method`` that quantizes loads its linear layers as NF4."""
    quantization = None
    if method is not None and method.quantized:
        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    model = AutoModelForCausalLM.from_pretrained(
        path,
        dtype=dtype,
        quantization_config=quantization,
        device_map={"": device()} if quantization else None,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    )
    # A cache is of no use in training and lets packed or padded batches differ from single rows.
    model.config.use_cache = False
    return model if quantization else model.to(device())


def compute_dtype(path: Path, precision: str) -> torch.dtype:
    """Choose the precision of the frozen weights and of the computation.

    Auto takes the base's own, except that float16 becomes bfloat16: its range is too small to train in.
    """
    if precision == "Auto":
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        stored = config.get("dtype") or config.get("torch_dtype") or "float32"
        return torch.float32 if stored == "float32" else torch.bfloat16
    return {"Float32": torch.float32, "BFloat16": torch.bfloat16}[precision]


def attach_adapter(base: PreTrainedModel, config: RunConfig) -> PeftModel:
    """Freeze the base and add a fresh adapter to it, initialised from the seed.

    Raises InvalidConfigError where a target module does not exist.
    """
    method = METHODS[config.method]
    if method.quantized:
        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=config.training.gradient_checkpointing)
    elif config.training.gradient_checkpointing:
        # Checkpointed blocks only keep gradients where an input needs them; embeddings are frozen.
        base.enable_input_require_grads()
    set_seed(config.training.seed)
    try:
        return get_peft_model(base, lora_config(config.lora, method, linear_layers=linear_layers(base)))
    except ValueError as error:
        field = "spec.lora.targetModules"
        raise InvalidConfigError(f"{field}: {error}", field=field) from error


def linear_layers(base: PreTrainedModel) -> list[str]:
    """Return the sorted names of the base's linear layers, such as ``q_proj``, without the output layer.

    PEFT's own ``all-linear`` records full module paths for shallow models, so equal intents would look different.
    """
    head = base.get_output_embeddings()
    return sorted(
        {
            path.rpartition(".")[2]
            for path, module in base.named_modules()
            if isinstance(module, torch.nn.Linear) and module is not head
        }
    )


def lora_config(lora: LoraHyperparameters, method: Method, *, linear_layers: list[str]) -> LoraConfig:
    """Build PEFT's configuration afresh: get_peft_model() mutates the one that it is given."""
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=linear_layers if lora.target_modules == [ALL_LINEAR] else lora.target_modules,
        bias="none",
        use_rslora=method.rank_stabilized,
    )


def count_parameters(model: PeftModel) -> tuple[int, int]:
    """Return and print the numbers of trainable and of all parameters."""
    trainable, total = model.get_nb_trainable_parameters()
    logger.info(
        "trainable params: %s || all params: %s || trainable%%: %.4f",
        f"{trainable:,}",
        f"{total:,}",
        100 * trainable / total,
    )
    return trainable, total


def trained_on(dtype: torch.dtype, method: Method) -> str:
    """Name the number format of the frozen weights during training."""
    return "nf4" if method.quantized else str(dtype).removeprefix("torch.")
