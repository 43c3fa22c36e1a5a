"""The gate: whether a version is good enough to be served.

Figures come from the manifest: the trainer has measured adapter and base on the same held-out rows, with the base as it
is served. A version that was imported without rows has no losses, so only its answers can be judged. One that has
learned preferences has the loss of its objective, which is compared with its reference's, and also has to prefer what
people prefer on held-out rows.

Every limit is a small function that returns a rejection or None. All of them are asked, so that one message tells
everything that a version lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graft_operator.api.evaluation import ComparedVersion, Evaluation
from graft_registry.digests import digest_of
from graft_registry.documents import VersionManifest

ROUNDING: Final = 1e-9
"""Exactly at a limit passes: (1.05 - 1) / 1 is a little more than 0.05 in floating point."""

ENOUGH_ANSWERS: Final = 3
"""Golden answers that have to be the base's for anything to be said of that."""

LOSS_REASONS: Final = frozenset({"WorseThanBase", "WorseThanLive", "PerplexityTooHigh"})
"""Rejections for what the loss is, which another training of the same rows may mend."""


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Whether the version passed, and by how much, in words."""

    passed: bool
    reason: str
    message: str
    limit: str = ""
    """The field that a rejected version is beyond; empty where another value would not let it pass."""
    advice: str = ""
    """What a person may do about a rejected version, or one that passes and is hardly meant; empty where the message
    says so, or nothing is to be done."""
    compared_with: ComparedVersion | None = None
    """The version that it would take the place of, and how the loss changes; None where they can't be compared."""

    @property
    def message_and_advice(self) -> str:
        """What was found, and what may be done about it."""
        return f"{self.message}; {self.advice}" if self.advice else self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A version before the gate. Losses are nats per token on the held-out rows."""

    candidate: VersionManifest
    live: VersionManifest | None
    limits: Evaluation


Limit = Callable[[Trial], GateDecision | None]


def judge(candidate: VersionManifest, live: VersionManifest | None, limits: Evaluation) -> GateDecision:
    """Compare the candidate with its limits, with the base alone, and with the live version where that is possible.

    Improvement is relative, ``(base - candidate) / base``, and so is regression, ``(candidate - live) / live``.
    """
    trial = Trial(candidate=candidate, live=live, limits=limits)
    rejections = [rejection for limit in LIMITS if (rejection := limit(trial)) is not None]
    compared = compared_with_live(trial)
    if rejections:
        text = "; ".join(rejection.message for rejection in rejections)
        offered = advice(candidate, rejections)
        return GateDecision(False, rejections[0].reason, text, advice=offered, compared_with=compared)
    text = "; ".join(filter(None, (figures(candidate), comparison_with_live(trial))))
    return GateDecision(True, "Passed", text, advice=advice_on_answers(candidate), compared_with=compared)


def advice(candidate: VersionManifest, rejections: Sequence[GateDecision]) -> str:
    """Return what may be done about a version that is beyond limits; empty where that is not what it lacks."""
    limits = [rejection.limit for rejection in rejections]
    if not all(limits):
        return ""
    better = "train on more or better rows, or for more epochs"
    if candidate.imported is not None:
        better = "let the source hold a better one"
    return (
        f"version {candidate.number} is kept, not served: {better}, or {loosened(limits)}, which trains nothing again"
    )


def advice_on_answers(candidate: VersionManifest) -> str:
    """Return what to do about a version that answers as its base does, though it has a lower loss; empty where it
    doesn't, or too few of its own answers are known to tell."""
    pairs = [(golden.answer, golden.base_answer) for golden in candidate.golden if golden.base_answer is not None]
    if len(pairs) < ENOUGH_ANSWERS or any(own.strip() != base.strip() for own, base in pairs):
        return ""
    return (
        f"none of the {len(pairs)} golden answers of version {candidate.number} differs from the base's, so too little"
        " was learned: train for more epochs, on more rows or with a higher learningRate, and set"
        " evaluation.minExactMatch so that no such version is served"
    )


def loosened(limits: Iterable[str]) -> str:
    """Return what to do for these limits to let more versions pass, in words."""
    return " and ".join(f"{'raise' if '.max' in limit else 'lower'} {limit}" for limit in dict.fromkeys(limits))


def is_evaluated(trial: Trial) -> GateDecision | None:
    """Without held-out rows nobody knows how good the version is; one that is imported without is taken as it is."""
    metrics = trial.candidate.metrics
    if trial.candidate.imported is not None and trial.candidate.dataset is None:
        return None
    if metrics.eval_loss is None or metrics.base_eval_loss is None:
        return GateDecision(False, "NotEvaluated", "the manifest holds no evaluation loss: train again")
    return None


def improves_the_base(trial: Trial) -> GateDecision | None:
    """An adapter that is hardly better than its base costs memory and gives nothing."""
    metrics = trial.candidate.metrics
    if metrics.eval_loss is None or metrics.base_eval_loss is None:
        return None
    gained, needed = improvement(trial.candidate), float(trial.limits.min_improvement_over_base)
    if gained >= needed - ROUNDING:
        return None
    return GateDecision(
        False,
        "WorseThanBase",
        f"evaluation loss {metrics.eval_loss:.4f} improves the {opponent(trial.candidate)}'s"
        f" {metrics.base_eval_loss:.4f} by {gained:.1%},"
        f" below evaluation.minImprovementOverBase {needed:.1%}",
        limit="evaluation.minImprovementOverBase",
    )


def keeps_up_with_live(trial: Trial) -> GateDecision | None:
    """Users must not get worse answers than they have now."""
    loss, live = trial.candidate.metrics.eval_loss, trial.live
    live_loss = live.metrics.eval_loss if live else None
    if loss is None or live is None or not live_loss or incomparable(trial):
        return None
    regression, allowed = (loss - live_loss) / live_loss, float(trial.limits.max_regression)
    if regression <= allowed + ROUNDING:
        return None
    return GateDecision(
        False,
        "WorseThanLive",
        f"evaluation loss {loss:.4f} is {regression:.1%} worse than version {live.number}'s {live_loss:.4f},"
        f" above evaluation.maxRegression {allowed:.1%}",
        limit="evaluation.maxRegression",
    )


def keeps_to_max_perplexity(trial: Trial) -> GateDecision | None:
    """An absolute bound on the perplexity, where the user sets one."""
    perplexity, limit = trial.candidate.metrics.perplexity, trial.limits.max_perplexity
    if limit is None:
        return None
    if perplexity is None:
        return GateDecision(False, "NotEvaluated", "evaluation.maxPerplexity: the manifest holds no perplexity")
    if perplexity <= float(limit) + ROUNDING:
        return None
    over = (perplexity - float(limit)) / float(limit)
    text = f"perplexity {perplexity:.2f} is {over:.1%} above evaluation.maxPerplexity {limit}"
    return GateDecision(False, "PerplexityTooHigh", text, limit="evaluation.maxPerplexity")


def answers_exactly(trial: Trial) -> GateDecision | None:
    """An absolute bound on the part of probes and held-out rows that is answered word for word."""
    matched, limit = trial.candidate.metrics.exact_match, trial.limits.min_exact_match
    if limit is None:
        return None
    if matched is None:
        text = "evaluation.minExactMatch: no question was asked; give evaluation.probes, or rows with short answers"
        return GateDecision(False, "NotEvaluated", text)
    needed = float(limit)
    if matched >= needed - ROUNDING:
        return None
    text = f"{matched:.1%} of the answers are exact, {needed - matched:.1%} below evaluation.minExactMatch {needed:.1%}"
    return GateDecision(False, "ExactMatchTooLow", text, limit="evaluation.minExactMatch")


def prefers_what_is_better(trial: Trial) -> GateDecision | None:
    """What has learned preferences has to have them, also where it was not told."""
    candidate, needed = trial.candidate, float(trial.limits.min_preference_accuracy)
    if candidate.objective == "SFT":
        return None
    accuracy = candidate.metrics.preference_accuracy
    if accuracy is None:
        text = "evaluation.minPreferenceAccuracy: the held-out rows are all wanted or all unwanted; hold out both"
        return GateDecision(False, "NotEvaluated", text)
    if accuracy >= needed - ROUNDING:
        return None
    text = f"preference accuracy {accuracy:.1%} is below evaluation.minPreferenceAccuracy {needed:.1%}"
    return GateDecision(False, "PreferenceAccuracyTooLow", text, limit="evaluation.minPreferenceAccuracy")


LIMITS: Final[tuple[Limit, ...]] = (
    is_evaluated,
    improves_the_base,
    keeps_up_with_live,
    keeps_to_max_perplexity,
    answers_exactly,
    prefers_what_is_better,
)


def improvement(candidate: VersionManifest) -> float:
    """Return by what part of the base's loss the candidate's is lower; 0 where the base makes no mistake."""
    loss, base_loss = candidate.metrics.eval_loss, candidate.metrics.base_eval_loss
    return (base_loss - loss) / base_loss if base_loss and loss is not None else 0.0


def incomparable(trial: Trial) -> str:
    """Return why candidate and live version can't be compared; empty when they can.

    An older candidate is a way back that somebody chose, by a revert of the spec or of the base: it is not compared.
    Losses per token say nothing about each other when the rows or the tokens are others.
    """
    candidate, live = trial.candidate, trial.live
    if live is None or candidate.number <= live.number:
        return "there is no earlier version"
    if candidate.metrics.eval_loss is None:
        return "there are no rows to compare them on"
    if live.eval_digest != candidate.eval_digest:
        return "its held-out rows are others"
    tokenizers = (live.base.tokenizer_digest, candidate.base.tokenizer_digest)
    if None not in tokenizers and tokenizers[0] != tokenizers[1]:
        return "its base has another tokenizer"
    if yardstick(live) != yardstick(candidate):
        return "it was trained for another objective, or near another reference"
    return "" if live.metrics.eval_loss else "it has no evaluation loss"


def yardstick(version: VersionManifest) -> tuple[Any, ...]:
    """Return what a version's losses are relative to, besides rows and tokens: for SFT nothing."""
    if version.objective == "SFT":
        return ("SFT",)
    parameters = version.hyperparameters.get("training", {}).get("preference", {})
    return version.objective, version.base.digest, version.warm_start, digest_of(parameters)


def opponent(candidate: VersionManifest) -> str:
    """Return whose loss stands beside the candidate's: the base's, or that of what preferences were learned near."""
    return "base" if candidate.objective == "SFT" else "reference"


def figures(candidate: VersionManifest) -> str:
    """Return the scores of a version beside its base's."""
    metrics, other = candidate.metrics, opponent(candidate)
    text = "imported as it is, without rows to measure it on"
    if metrics.eval_loss is not None or candidate.imported is None:
        text = loss_figures(candidate, other)
    if metrics.preference_accuracy is not None:
        text = f"preference accuracy {metrics.preference_accuracy:.1%}; {text}"
    if metrics.exact_match is not None and metrics.base_exact_match is not None:
        text += f"; {metrics.exact_match:.1%} of the answers exact, the base {metrics.base_exact_match:.1%}"
    return text


def loss_figures(candidate: VersionManifest, other: str) -> str:
    """Return a version's loss beside the other's."""
    metrics = candidate.metrics
    return (
        f"evaluation loss {metrics.eval_loss or 0.0:.4f},"
        f" {improvement(candidate):.1%} better than the {other}'s {metrics.base_eval_loss or 0.0:.4f}"
    )


def compared_with_live(trial: Trial) -> ComparedVersion | None:
    """Return the live version and the relative change of its loss; None where the two can't be compared."""
    loss, live = trial.candidate.metrics.eval_loss, trial.live
    live_loss = live.metrics.eval_loss if live is not None else None
    if live is None or loss is None or not live_loss or incomparable(trial):
        return None
    return ComparedVersion(number=live.number, loss_change=f"{(loss - live_loss) / live_loss:.4f}")


def comparison_with_live(trial: Trial) -> str:
    """Return how the candidate compares with the live version, or why it isn't compared."""
    live, loss = trial.live, trial.candidate.metrics.eval_loss
    if live is None or trial.candidate.number <= live.number:
        return ""
    if why := incomparable(trial):
        return f"not compared with version {live.number}: {why}"
    live_loss = live.metrics.eval_loss or 0.0
    change = ((loss or 0.0) - live_loss) / live_loss
    return f"{abs(change):.1%} {'worse' if change > 0 else 'better'} than version {live.number}'s {live_loss:.4f}"
