"""The training methods and what each of them means for loading, optimising and serving.

A method that is not listed is not offered. ``servable`` is what the serving engine can do with the result, so that an
adapter that nothing can load is never trained by surprise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Servable = Literal["MultiAdapter", "Merged", "None"]
MethodName = Literal[
    "LoRA", "QLoRA", "RsLoRA", "DoRA", "LoRAPlus", "PiSSA", "EVA", "LongLoRA", "IA3", "PrefixTuning", "PromptTuning"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to train an adapter."""

    servable: Servable
    """What an engine can do with the adapter: apply it beside others, only serve it merged, or neither."""
    kind: Literal["LoRA", "IA3", "PrefixTuning", "PromptTuning"] = "LoRA"
    """The family of PEFT's that does the work."""
    quantized: bool = False
    """The frozen base is held in NF4 with double quantization (QLoRA, arXiv:2305.14314)."""
    rank_stabilized: bool = False
    """The adapter is scaled by alpha/sqrt(rank) instead of alpha/rank (rsLoRA, arXiv:2312.03732)."""
    decomposed: bool = False
    """Each weight's magnitude is learned apart from its direction (DoRA, arXiv:2402.09353)."""
    faster_b: bool = False
    """The matrices B learn faster than the matrices A (LoRA+, arXiv:2402.12354)."""
    long_context: bool = False
    """Rows may be longer than the base's context: attention is shifted and sparse in training, and embeddings and norms
    learn, too (LongLoRA, arXiv:2309.12307)."""
    initialization: Literal["Random", "PrincipalWeights", "ExplainedVariance"] = "Random"
    """What the adapter begins as: random, the base's principal components, which leave the base (PiSSA,
    arXiv:2404.02948), or the principal components of the layers' inputs, which also share out the ranks (EVA,
    arXiv:2410.07170)."""


METHODS: dict[str, Method] = {
    "LoRA": Method(servable="MultiAdapter"),
    "QLoRA": Method(servable="MultiAdapter", quantized=True),
    "RsLoRA": Method(servable="MultiAdapter", rank_stabilized=True),
    "DoRA": Method(servable="Merged", decomposed=True),
    "LoRAPlus": Method(servable="MultiAdapter", faster_b=True),
    "PiSSA": Method(servable="MultiAdapter", initialization="PrincipalWeights"),
    "EVA": Method(servable="MultiAdapter", initialization="ExplainedVariance"),
    "LongLoRA": Method(servable="Merged", long_context=True),
    "IA3": Method(servable="Merged", kind="IA3"),
    "PrefixTuning": Method(servable="None", kind="PrefixTuning"),
    "PromptTuning": Method(servable="None", kind="PromptTuning"),
}


def can_be_merged(method: Method) -> bool:
    """Tell whether the adapter can become a part of the base's own weights."""
    return method.servable != "None"
