"""The training methods and what each of them means for loading, optimising and serving.

A method that is not listed is not offered. ``servable`` is what the serving engine can do with the result, so that an
adapter that nothing can load is never trained by surprise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Servable = Literal["MultiAdapter", "Merged", "None"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to train an adapter."""

    servable: Servable
    quantized: bool = False
    """The frozen base is held in NF4 with double quantization (QLoRA, arXiv:2305.14314)."""
    rank_stabilized: bool = False
    """The adapter is scaled by alpha/sqrt(rank) instead of alpha/rank (rsLoRA, arXiv:2312.03732)."""


METHODS: dict[str, Method] = {
    "LoRA": Method(servable="MultiAdapter"),
    "QLoRA": Method(servable="MultiAdapter", quantized=True),
    "RsLoRA": Method(servable="MultiAdapter", rank_stabilized=True),
}
