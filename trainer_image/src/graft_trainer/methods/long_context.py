"""Extends a base's context by position interpolation (arXiv:2306.15595): the positions of longer rows are divided, so
that they end where the base's own do.

Model configurations call it linear rotary scaling. Their ``max_position_embeddings`` stays what it was: engines
multiply it by the factor to know how long a context may be (vLLM's ``_get_and_verify_max_len``, for one).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft_registry.documents import BaseManifest
from graft_trainer.config import RunConfig
from graft_trainer.methods.table import METHODS
from graft_trainer.outcome import InvalidConfigError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class LongContext:
    """A context that is longer than the base's own."""

    factor: float
    """What positions are divided by."""
    stretch: float
    """How many times as long it is as the base's own, whose positions may be divided already."""

    def parameters(self) -> dict[str, Any]:
        """Return what model configurations say of it."""
        return {"rope_type": "linear", "factor": self.factor}

    def apply(self, config: PreTrainedConfig) -> None:
        """Extend the context of a model that is about to be loaded."""
        text = config.get_text_config()
        text.rope_parameters = text.rope_parameters | self.parameters()

    def write(self, path: Path) -> None:
        """Extend the context in a model's ``config.json``, by the names that are in use there."""
        document = json.loads(path.read_text(encoding="utf-8"))
        text = document.get("text_config", document)
        known = text.get("rope_parameters")
        if known is None:
            text["rope_scaling"] = self.parameters()
        else:
            text["rope_parameters"] = known | self.parameters()
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @contextmanager
    def undone(self, model: PeftModel) -> Iterator[None]:
        """Give a model its base's own positions for a while, for the base to be judged as it is served."""
        frequencies = [buffer for name, buffer in model.named_buffers() if name.endswith("inv_freq")]
        extended = [buffer.clone() for buffer in frequencies]
        for buffer in frequencies:
            buffer.mul_(self.stretch)
        try:
            yield
        finally:
            for buffer, value in zip(frequencies, extended, strict=True):
                buffer.copy_(value)


def long_context(base: BaseManifest, config: RunConfig) -> LongContext | None:
    """Return how the run extends the base's context; None where it doesn't have to.

    Raises InvalidConfigError where it would have to and can't.
    """
    if not METHODS[config.method].long_context:
        return None
    length, fingerprint = config.training.max_sequence_length, base.fingerprint
    rope, positions = fingerprint.rope or {}, fingerprint.max_positions
    kind = rope.get("rope_type")
    own_factor = float(rope.get("factor", 1.0)) if kind == "linear" else 1.0
    if positions is not None and length <= positions * own_factor:
        return None
    if positions is None or kind not in ("default", "linear"):
        field = "spec.training.maxSequenceLength"
        own = "unknown context" if positions is None else f"{positions} tokens"
        raise InvalidConfigError(
            f"{field}: {length} is beyond the {own} of base {base.name}, and of positions only rotary ones can be "
            f"extended that are plain or linearly scaled, not {kind or 'others'}; lower it, or use another base",
            field=field,
        )
    return LongContext(factor=length / positions, stretch=length / (positions * own_factor))
