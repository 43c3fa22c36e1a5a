"""Loads the base, in the precision of the run or of its own.

Only local paths are loaded and no code that comes with a model is ever run. Whatever a library says against a base
becomes a BaseMismatchError with what to do: another try would end the same way.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, cast

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoTokenizer,
    BitsAndBytesConfig,
    FineGrainedFP8Config,
    Mxfp4Config,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from graft_registry.errors import InvalidModel
from graft_registry.models.chat_templates import read_chat_templates
from graft_trainer.base import DEQUANTIZABLE, check_complete
from graft_trainer.methods.long_context import LongContext
from graft_trainer.methods.table import Method
from graft_trainer.outcome import BaseMismatchError, TrainingError, ran_out_of_memory
from graft_trainer.tokenizer_reading import check_reading

logger = logging.getLogger(__name__)

FIELD: Final = "spec.baseModelRef"
DEQUANTIZATION_CONFIGS: Final = dict(zip(DEQUANTIZABLE, (FineGrainedFP8Config, Mxfp4Config), strict=True))
"""What asks Transformers to turn quantized weights into full precision while it loads them."""

_LIBRARY_ERRORS: Final = (
    ValueError,
    ImportError,
    OSError,
    KeyError,
    AttributeError,
    TypeError,
    IndexError,
    NotImplementedError,
    SafetensorError,
)
"""What Transformers and PEFT raise for a base that they can't make sense of."""


def device() -> torch.device:
    """Return the first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def as_base_mismatch(what: str, fix: str) -> Iterator[None]:
    """Turn what a library raises about a base into a BaseMismatchError that says what was tried and what would help."""
    try:
        yield
    except TrainingError:
        raise
    except (RuntimeError, *_LIBRARY_ERRORS) as error:
        misfit = isinstance(error, _LIBRARY_ERRORS) or "size mismatch" in str(error) or "mismatched" in str(error)
        if ran_out_of_memory(error) or not misfit:
            raise
        first = next(iter(str(error).splitlines()), "")[:400]
        raise BaseMismatchError(f"cannot load {what}: {type(error).__name__}: {first}; {fix}", field=FIELD) from error


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """Load the base's tokenizer, padding on the right with the end token where it has no pad token of its own.

    A pad token beyond the vocabulary of the model counts as none.
    Raises BaseMismatchError where it can't be loaded, has no fast implementation or no end token: answers could not be
    found in the text, or would never end.
    """
    fix = (
        "give the base a tokenizer.json (AutoTokenizer.from_pretrained(…).save_pretrained(…) writes one); code that "
        "comes with a model is never run"
    )
    # Before the library, which names no file of a template that it can't read.
    chat_template = _chat_template(path)
    with as_base_mismatch("the base's tokenizer", fix):
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    if not tokenizer.is_fast or tokenizer.eos_token is None:
        raise BaseMismatchError("the base needs a tokenizer.json with an end-of-sequence token", field=FIELD)
    check_reading(path, tokenizer, field=FIELD)
    vocabulary = text_fields(path).get("vocab_size")
    beyond = tokenizer.pad_token is not None and vocabulary is not None and tokenizer.pad_token_id >= vocabulary
    if tokenizer.pad_token is None or beyond:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.chat_template = chat_template
    return tokenizer


def _chat_template(path: Path) -> str | dict[str, str] | None:
    """Return the chat template, or templates, that an engine picks for this base; of several, log which."""
    try:
        found = read_chat_templates(path, wrapped=isinstance(read_config(path).get("text_config"), dict))
    except InvalidModel as error:
        raise BaseMismatchError(f"cannot read the base's chat template: {error}", field=FIELD) from error
    chosen = found.for_tokenizer()
    if found.several:
        logger.info("chat templates of the base: %s", found.described())
    return chosen


def load_config(path: Path, context: LongContext | None = None) -> PreTrainedConfig:
    """Read the base's configuration; a ``context`` longer than its own extends it.

    Raises BaseMismatchError where this image doesn't know the model's type.
    """
    stored = read_config(path)
    kind = stored.get("model_type", "unknown")
    if "auto_map" in stored:
        fix = "the base needs code of its own, which is never run; use one that Transformers itself knows"
    else:
        fix = (
            f"this image has Transformers {version('transformers')}, which does not know every newer model; use a "
            "newer trainer image, or another base"
        )
    with as_base_mismatch(f"a base of type {kind!r}", fix):
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    if context is not None:
        context.apply(config)
    return config


def model_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """Return the class that the base's own configuration names, text alone or with pictures.

    Raises BaseMismatchError where Transformers has none of them for text.
    """
    classes = [
        mapping[type(config)]
        for mapping in (MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING)
        if type(config) in mapping
    ]
    if not classes:
        raise BaseMismatchError(
            f"Transformers has no class that writes text for a base of type {config.model_type!r}; use a causal "
            "language model",
            field=FIELD,
        )
    named = [kind for kind in classes if kind.__name__ in (config.architectures or ())]
    chosen: type[PreTrainedModel] = (named or classes)[0]
    return chosen


def load_skeleton(path: Path, context: LongContext | None = None) -> PreTrainedModel:
    """Build the base without its weights, in a moment and without memory, whatever its size.

    Raises BaseMismatchError where this image can't.
    """
    config = load_config(path, context)
    kind = model_class(config)
    with as_base_mismatch(f"a base of type {config.model_type!r}", "use another base"), torch.device("meta"):
        return kind._from_config(config)  # noqa: SLF001


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

    A ``context`` longer than its own extends it. ``offload`` keeps in main memory what the GPU has no room for; such
    layers are copied to the GPU one by one in every pass. A base that is to be ``sharded`` stays in main memory until
    it is, except with NF4: quantizing takes the GPU, and the result is small.
    Raises BaseMismatchError.
    """
    device_map: str | dict[str, torch.device] | None = "auto" if offload and torch.cuda.is_available() else None
    quantized = method is not None and method.quantized
    if quantized:
        device_map = {"": device()}
    config = load_config(path, context)
    stored = quantization_method(path)
    with as_base_mismatch("the base", "check that its files are whole, or use another base"):
        model, loaded = model_class(config).from_pretrained(
            path,
            output_loading_info=True,
            config=config,
            dtype=dtype,
            device_map=device_map,
            local_files_only=True,
            use_safetensors=True,
            quantization_config=nf4(dtype, sharded=sharded) if quantized else dequantization_config(stored),
        )
    check_complete(loaded["missing_keys"])
    if stored in DEQUANTIZATION_CONFIGS:
        model = model.to(dtype)
    # A cache is of no use in training and lets packed or padded batches differ from single rows.
    model.config.use_cache = False
    model.config.get_text_config().use_cache = False
    return model if device_map or sharded else model.to(device())


def dequantization_config(stored: str | None) -> FineGrainedFP8Config | Mxfp4Config | None:
    """Return what has weights dequantized that are quantized by the method ``stored``; None where they aren't."""
    return DEQUANTIZATION_CONFIGS[stored](dequantize=True) if stored in DEQUANTIZATION_CONFIGS else None


def nf4(dtype: torch.dtype, *, sharded: bool) -> BitsAndBytesConfig:
    """Return QLoRA's quantization. Products are computed in ``dtype``; shards of a block are stored as that, too."""
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


def read_config(path: Path) -> dict[str, Any]:
    """Return the base's ``config.json`` as it is stored."""
    return cast("dict[str, Any]", json.loads((path / "config.json").read_text(encoding="utf-8")))


def text_fields(path: Path) -> dict[str, Any]:
    """Return the fields of ``config.json``, overridden by those of its ``text_config`` where the base has one."""
    fields = read_config(path)
    return {**fields, **_of_text(fields)}


def _of_text(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    text = fields.get("text_config")
    return text if isinstance(text, dict) else {}


def quantization_method(path: Path) -> str | None:
    """Return how the base's files are quantized, None where they aren't."""
    method = (read_config(path).get("quantization_config") or {}).get("quant_method")
    return None if method is None else str(method)


def stored_dtype(path: Path) -> torch.dtype:
    """Return the number format that the base's files are in, as its configuration says."""
    config = text_fields(path)
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    return {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(name, torch.float32)


def stop_tokens(path: Path, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the tokens at which a server ends an answer: the tokenizer's end token and those of the configurations."""
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        file = path / name
        fields = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        tokens = fields.get("eos_token_id", _of_text(fields).get("eos_token_id"))
        # Some write a token's text, -1 for none, or one of another tokenizer: at those no server ever stops.
        given = tokens if isinstance(tokens, list) else [tokens]
        found.update(token for token in given if type(token) is int and 0 <= token < len(tokenizer))
        if found:
            # Servers only read on where the first file says nothing.
            break
    return frozenset({*found, tokenizer.eos_token_id})


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
