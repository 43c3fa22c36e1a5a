"""Merges an adapter into its base: the result is a plain model, which an engine serves without knowing of adapters.

The base is always the full-precision one, also after a training in 4 bits: rounded to 4 bits again, a merged weight is
mostly noise. Each layer is merged in float32 and rounded once, to the base's own number format. Then the files are read
back and compared with the unmerged adapter, token by token, and must agree.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import GenerationConfig, PreTrainedModel

from graft_registry.adapters.publishable import path_is_allowed
from graft_registry.documents import BaseManifest, MergeRecord
from graft_registry.models.chat_templates import DEFAULT, read_chat_templates
from graft_trainer.data.rows import IGNORED, Row
from graft_trainer.methods.long_context import LongContext
from graft_trainer.model import load_base, stored_dtype
from graft_trainer.outcome import MergeMismatchError

logger = logging.getLogger(__name__)

FOLDER: Final = "merged"
CONFIG: Final = "config.json"

MAX_MEAN_KL: Final = 0.01
MIN_AGREEMENT: Final = 0.95
"""What merged and unmerged model may differ by: nats per token, and share of equal best tokens. Rounding to bfloat16
stays far below (tests/trainer/publishing/test_merging.py); a merge into packed 4-bit weights came out at 9 nats (PEFT
0.21 with bitsandbytes 0.50 on a CPU), which is why such a base is refused before anything is trained (base.py)."""

COMPARED_TOKENS: Final = 256
TOKENS_PER_ROW: Final = 32
"""Answer tokens that are compared, from as many rows as it takes. Their logits are kept: vocabulary x 4 bytes each."""


def merge_adapter(
    base: BaseManifest, base_path: Path, adapter: Path, rows: Sequence[Row], *, context: LongContext | None = None
) -> MergeRecord:
    """Write the merged model into the folder ``merged`` of the adapter, and say how close it is to the unmerged one.

    A ``context`` longer than the base's own becomes the merged model's.
    Raises MergeMismatchError where it is not close enough to be published.
    """
    dtype = stored_dtype(base_path)
    model = PeftModel.from_pretrained(load_base(base_path, dtype=dtype, context=context), adapter).eval()
    expected = answer_logits(model, rows)
    try:
        fold_in(model)
    except ValueError as error:  # PEFT's: a merged weight is no number
        raise MergeMismatchError(f"cannot merge the adapter: {error}", field="spec.serving.mode") from error
    save_merged(model.base_model.unload(), base, base_path, adapter / FOLDER)
    if context is not None:
        context.write(adapter / FOLDER / CONFIG)
    del model
    actual = answer_logits(load_base(adapter / FOLDER, dtype=dtype).eval(), rows)
    record = compare_logits(expected, actual, dtype=str(dtype).removeprefix("torch."))
    logger.info("merged model: mean KL %.3g nats, equal best tokens %.4f", record.mean_kl, record.argmax_agreement)
    check_parity(record)
    return record


def fold_in(model: PeftModel) -> None:
    """Merge every adapted layer in float32, one at a time, and round each once.

    Raises ValueError where a merged weight is no finite number.
    """
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            layer = module.get_base_layer()
            dtype = layer.weight.dtype
            layer.float()
            module.merge(safe_merge=True)
            layer.to(dtype)


def save_merged(model: PreTrainedModel, base: BaseManifest, base_path: Path, folder: Path) -> None:
    """Save the weights, and beside them the base's own configuration and tokenizer: nothing but weights has changed."""
    # It would be checked before it is saved, and the base's own file is what counts.
    model.generation_config = GenerationConfig()
    model.save_pretrained(folder, max_shard_size="5GB")
    for file in base.files:
        name = f"{FOLDER}/{file.path}"
        if file.path.endswith(".json") and not file.path.endswith(".index.json") and path_is_allowed(name):
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((base_path / file.path).read_bytes())
    _embed_chat_template(base_path, folder)


def _embed_chat_template(base_path: Path, folder: Path) -> None:
    """Put templates that the base keeps in files of their own into the tokenizer's JSON, as versions hold no others."""
    templates = read_chat_templates(base_path, wrapped=False).tokenizer
    if not templates:
        return
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    several = [{"name": name, "template": template} for name, template in templates.items()]
    config["chat_template"] = templates[DEFAULT] if set(templates) == {DEFAULT} else several
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")


@torch.inference_mode()
def answer_logits(model: PreTrainedModel | PeftModel, rows: Sequence[Row]) -> torch.Tensor:
    """Return the logits [tokens, vocabulary] in float32 with which the model predicts answer tokens of the rows."""
    logits: list[torch.Tensor] = []
    for row in rows:
        missing = COMPARED_TOKENS - sum(map(len, logits))
        if missing <= 0:
            break
        predicted = torch.tensor(row.labels[1:]) != IGNORED
        output = model(input_ids=torch.tensor([row.input_ids], device=model.device)).logits[0, :-1]
        # Those of a long row take gigabytes of main memory, and few of them are kept.
        logits.append(output[predicted.to(output.device)][: min(TOKENS_PER_ROW, missing)].float().cpu())
    return torch.cat(logits)


def compare_logits(expected: torch.Tensor, actual: torch.Tensor, *, dtype: str) -> MergeRecord:
    """Measure how far the merged model's predictions [tokens, vocabulary] are from the unmerged one's."""
    reference, merged = expected.log_softmax(-1), actual.log_softmax(-1)
    divergence = (reference.exp() * (reference - merged)).sum(-1).mean().clamp(min=0.0)
    return MergeRecord(
        dtype=dtype,
        tokens=len(expected),
        mean_kl=divergence.nan_to_num(nan=1e9).item(),
        max_logit_difference=(expected - actual).abs().max().nan_to_num(nan=1e9).item(),
        argmax_agreement=(expected.argmax(-1) == actual.argmax(-1)).float().mean().item(),
    )


def check_parity(record: MergeRecord) -> None:
    """Raise MergeMismatchError where the merged model does not do what the adapter does."""
    if record.mean_kl > MAX_MEAN_KL or record.argmax_agreement < MIN_AGREEMENT:
        raise MergeMismatchError(
            f"the merged model is not the adapter's equal: mean KL {record.mean_kl:.3g} nats (at most {MAX_MEAN_KL}), "
            f"{record.argmax_agreement:.1%} equal best tokens (at least {MIN_AGREEMENT:.0%}); adapt other modules "
            "(spec.lora.targetModules), or serve it beside others (spec.serving.mode MultiAdapter)",
            field="spec.serving.mode",
        )
