"""What is legal in a spec and yet seldom meant. Advice never stops anything: it is told beside ``Accepted``."""

from __future__ import annotations

from typing import Final

from graft_operator.api.lora_adapter import LoraAdapterSpec

SCALED_BY_RANK: Final = frozenset({"Auto", "LoRA", "QLoRA", "DoRA", "PiSSA", "LoRAPlus", "EVA"})
"""Methods whose update is scaled by alpha/rank, with learning rates of the same size."""

LOWEST_RATE, USUAL_RATE, HIGHEST_RATE = 5e-5, "2e-4", 1e-3
"""LoRA wants about ten times the rate of full fine-tuning (Schulman et al., *LoRA Without Regret*, 2025)."""

LARGEST_STEP: Final = 32
"""Rows of one optimizer step: LoRA takes larger ones worse than full fine-tuning, whatever its rank (same source)."""


def advice(spec: LoraAdapterSpec) -> tuple[str, ...]:
    """Return one sentence per field that should be looked at again, each with the value that is recommended."""
    if spec.is_only_imported:
        return ()
    lora, training = spec.lora, spec.training
    sentences = []
    if spec.method in SCALED_BY_RANK and lora.effective_alpha != 2 * lora.rank:
        sentences.append(f"spec.lora.alpha: {lora.alpha} is not twice the rank; {2 * lora.rank} is recommended")
    rate = float(training.learning_rate)
    if spec.method in SCALED_BY_RANK and not LOWEST_RATE <= rate <= HIGHEST_RATE:
        size = "low" if rate < LOWEST_RATE else "high"
        text = f"spec.training.learningRate: {training.learning_rate} is {size} for {spec.method}"
        sentences.append(f"{text}; {USUAL_RATE} is recommended")
    workers = spec.pod.worker_count
    rows = training.batch_size * training.gradient_accumulation * workers
    if rows > LARGEST_STEP:
        passes = LARGEST_STEP // (training.batch_size * workers)
        field = "gradientAccumulation" if passes else "batchSize"
        value = f"{passes} with this batchSize" if passes else max(1, LARGEST_STEP // workers)
        text = f"spec.training.{field}: {rows} rows per optimizer step are many for an adapter"
        sentences.append(f"{text}; {value} is recommended")
    return tuple(sentences)
