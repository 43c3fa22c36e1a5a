"""What is legal in a spec and yet seldom meant. Advice never stops anything: it is told beside ``Accepted``."""

from __future__ import annotations

from typing import Final

from graft_operator.api.adapter_status import Version
from graft_operator.api.evaluation import Evaluation
from graft_operator.api.lora_adapter import LoraAdapterSpec

SCALED_BY_RANK: Final = frozenset({"Auto", "LoRA", "QLoRA", "DoRA", "PiSSA", "LoRAPlus", "EVA"})
"""Methods whose update is scaled by alpha/rank, with learning rates of the same size."""

LOWEST_RATE, USUAL_RATE, HIGHEST_RATE = 5e-5, "2e-4", 1e-3
"""LoRA wants about ten times the rate of full fine-tuning (Schulman et al., *LoRA Without Regret*, 2025)."""

LARGEST_STEP: Final = 32
"""Rows of one optimizer step: LoRA takes larger ones worse than full fine-tuning, whatever its rank (same source)."""


DEFAULT_REGRESSION: Final = Evaluation().max_regression

LARGEST_REGRESSION: Final = 1.0
"""Part by which a limit lets the loss grow: above it, a version of twice the loss takes over."""

WORTH_A_WORD: Final = 0.5
"""Part by which the loss of a version that serves has grown, within its limits, when that is told all the same."""


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
    return (*sentences, *limit_advice(spec))


def limit_advice(spec: LoraAdapterSpec) -> tuple[str, ...]:
    """Return the advice on what versions are let through by, which matters as soon as there is one to compare with."""
    limit = spec.evaluation.max_regression
    if spec.is_only_imported or not float(limit) > LARGEST_REGRESSION:
        return ()
    text = f"spec.evaluation.maxRegression: {limit} lets a version take over that is {float(limit):.0%} worse"
    return (f"{text}; {DEFAULT_REGRESSION} is recommended",)


def served_advice(spec: LoraAdapterSpec, answering: Version | None) -> tuple[str, ...]:
    """Return a sentence on a version that answers though it is much worse than the one before, as its limit allows."""
    before = answering.compared_with if answering is not None else None
    if answering is None or before is None or not before.change > WORTH_A_WORD:
        return ()
    change, limit = before.change, spec.evaluation.max_regression
    text = f"version {answering.number} is {change:.0%} worse than version {before.number} on the same rows"
    text += f" and was let through by {limit}" if change <= float(limit) else ""
    return (f"spec.evaluation.maxRegression: {text}; set spec.version to {before.number} to serve that one again",)
