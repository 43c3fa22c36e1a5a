"""Loads the base, in the precision of the run or of its own.

Only local paths are loaded and no code that comes with a model is ever run.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import torch
from peft import PeftModel
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from graft_trainer.methods.long_context import LongContext
from graft_trainer.methods.table import Method
from graft_trainer.outcome import BaseMismatchError

logger = logging.getLogger(__name__)


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


def load_base(
    path: Path,
    *,
    dtype: torch.dtype,
    method: Method | None = None,
    context: LongContext | None = None,
    offload: bool = False,
    sharded: bool = False,
) -> PreTrainedModel:
    """Load the base onto the device; a ``method`` that quantizes loads its linear layers as NF4.

    A ``context`` longer than its own extends it.

    ``offload`` leaves in main memory what a GPU has no room for, which then comes to it layer by layer in every pass.
    A base that is going to be ``sharded`` stays in main memory until then, except that NF4 weights, which are small,
    are made on the GPU. They are held as numbers of ``dtype``, for shards of a block to be of one type.
    """
    device_map: str | dict[str, torch.device] | None = "auto" if offload and torch.cuda.is_available() else None
    quantized = method is not None and method.quantized
    if quantized:
        device_map = {"": device()}
    config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    if context is not None:
        context.apply(config)
    model = AutoModelForCausalLM.from_pretrained(
        path,
        config=config,
        dtype=dtype,
        quantization_config=nf4(dtype, sharded=sharded) if quantized else None,
        device_map=device_map,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    )
    # A cache is of no use in training and lets packed or padded batches differ from single rows.
    model.config.use_cache = False
    return model if device_map or sharded else model.to(device())


def nf4(dtype: torch.dtype, *, sharded: bool) -> BitsAndBytesConfig:
    """Return QLoRA's quantization of weights that are computed with in ``dtype``."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=dtype if sharded else torch.uint8,
    )


def compute_dtype(path: Path, precision: str) -> torch.dtype:
    """Choose the precision of the frozen weights and of the computation.

    Auto takes the base's own, except that float16 becomes bfloat16: its range is too small to train in.
    """
    if precision == "Auto":
        return torch.float32 if stored_dtype(path) == torch.float32 else torch.bfloat16
    return {"Float32": torch.float32, "BFloat16": torch.bfloat16}[precision]


def stored_dtype(path: Path) -> torch.dtype:
    """Return the number format that the base's files are in, as its configuration says."""
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    return {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(name, torch.float32)


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
