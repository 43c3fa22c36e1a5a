"""Self-correction of a rank that is too low: twice the rank, within limits, as long as that is what is missing.

The choice is kept in ``status.raisedRank``, never in the spec. It belongs to one training, however its versions are
served: another one starts over.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from graft_operator.api.adapter_status import RaisedRank
from graft_operator.api.conditions import no
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.api.training import DOUBLING_THE_RANK, LoraParameters
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.decision import TrainingDecision
from graft_operator.plan.training.gate import LOSS_REASONS, GateDecision
from graft_operator.plan.training.recipe import spec_digest, spec_digests
from graft_registry.documents import VersionManifest

FLAT: Final = 0.02
"""Most that the training loss may still fall, relatively, from the third to the last quarter of the steps."""

OVERFITTED: Final = 1.5
"""From this ratio of evaluation to training loss on, a version has learnt its rows by heart."""


def rank_is_too_low(manifest: VersionManifest, gate: GateDecision) -> bool:
    """Whether more rank is what the version lacks: it has learnt all it could, and that is not enough.

    That is so when

    1. the gate refused it for its loss: not enough better than the base, worse than the live version, or too perplexed;
    2. its training loss has flattened: it fell by at most 2 % from the third to the last quarter of the steps;
    3. it is not overfitted: the evaluation loss is below 1.5 times the training loss. More rank would make that worse.

    The symptom is that of an adapter whose capacity is below what the rows hold: its loss curve leaves that of larger
    ranks and flattens above it (Schulman et al., *LoRA Without Regret*, 2025). The two thresholds are ours, set so that
    a loss that still falls, or rows that are too few, are not answered with more rank.
    """
    metrics, has_rank = manifest.metrics, manifest.shape.rank > 0
    if not has_rank or gate.passed or gate.reason not in LOSS_REASONS or metrics.late_improvement is None:
        return False
    if metrics.eval_loss is None or metrics.train_loss is None:
        return False
    return metrics.late_improvement <= FLAT and metrics.eval_loss < OVERFITTED * metrics.train_loss


def correct_rank(seen: AdapterSnapshot, training: TrainingDecision, gate: GateDecision | None) -> TrainingDecision:
    """Return what is done about a version that failed its gate for want of rank: twice the rank, or a stall."""
    version, doubling, rank = training.current, seen.adapter.spec.training.rank_doubling, effective_rank(seen.adapter)
    if version is None or gate is None or doubling is None or version.manifest.recipe != seen.recipe:
        return training
    if not rank_is_too_low(version.manifest, gate):
        return training
    if limit := doubling_limit(seen, rank):
        fact = no(gate.reason, f"{gate.message}; the rank of {rank} is too low, but {limit}")
        return replace(training, stalled=fact)
    number = version.manifest.number
    message = (
        f"version {number} of rank {rank} has learnt all it could and failed its gate ({gate.message}): trained again"
        f" with rank {2 * rank}"
    )
    raised = RaisedRank(rank=2 * rank, spec_digest=spec_digest(seen.adapter.spec), message=message)
    return replace(training, raised_rank=raised, waiting=no("RankDoubled", message), requeue_after=0)


def doubling_limit(seen: AdapterSnapshot, rank: int) -> str:
    """Return the limit that forbids twice the rank; empty where none does."""
    spec, base = seen.adapter.spec, seen.base
    if spec.training.rank_doubling is not None and 2 * rank > spec.training.rank_doubling.max_rank:
        return f"spec.training.rankDoubling.maxRank is {spec.training.rank_doubling.max_rank}"
    if spec.serving.mode != "MultiAdapter" or base is None:
        return ""  # only an engine that serves adapters has a limit
    published = 2 if spec.method in DOUBLING_THE_RANK else 1
    if published * with_rank(spec.lora, 2 * rank).highest_rank > base.spec.serving.max_rank:
        return f"serving.maxRank of BaseModel {base.metadata.name} is {base.spec.serving.max_rank}"
    return ""


def raised_rank(adapter: LoraAdapter) -> RaisedRank | None:
    """Return the choice kept in status, as long as the training is the one that it was made for, and allows it."""
    kept, doubling = adapter.status.raised_rank, adapter.spec.training.rank_doubling
    if kept is None or doubling is None or kept.rank > doubling.max_rank:
        return None
    return kept if kept.spec_digest in spec_digests(adapter.spec) else None


def effective_rank(adapter: LoraAdapter) -> int:
    """Return the rank that the next version is trained with."""
    raised = raised_rank(adapter)
    return raised.rank if raised else adapter.spec.lora.rank


def with_effective_rank(adapter: LoraAdapter) -> LoraAdapter:
    """Return the adapter as it is trained: with the rank that self-correction has chosen."""
    lora = with_rank(adapter.spec.lora, effective_rank(adapter))
    return adapter.model_copy(update={"spec": adapter.spec.model_copy(update={"lora": lora})})


def with_rank(lora: LoraParameters, rank: int) -> LoraParameters:
    """Return the shape with another rank: alpha keeps its ratio to it, and so do the ranks of single modules."""
    if rank == lora.rank:
        return lora
    alpha = None if lora.alpha is None else lora.alpha * rank // lora.rank
    pattern = {module: own * rank // lora.rank for module, own in lora.rank_pattern.items()}
    return lora.model_copy(update={"rank": rank, "alpha": alpha, "rank_pattern": pattern})
