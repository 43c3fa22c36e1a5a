"""The scale of each module's update (alpha/rank), as one scale for all. Pure.

PEFT may scale each module in its own way; an engine scales all alike. So the most common scale is kept, and the factor
by which a module's own scale differs is multiplied into its matrix B, which gives the same update.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from graft_trainer.importing.fitting import Adapted
from graft_trainer.importing.patterns import ModulePattern
from graft_trainer.importing.settings import AdapterSettings
from graft_trainer.importing.wording import shown
from graft_trainer.outcome import InvalidSourceError

SMALLEST: Final = 2.0**-126
LARGEST: Final = (2.0 - 2.0**-23) * 2.0**127
"""Of the normal numbers of float32 and bfloat16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """The ranks and alphas of PEFT's configuration, and the factors for the matrices B of some modules."""

    rank: int
    alpha: float
    rank_pattern: dict[str, int]
    alpha_pattern: dict[str, float]
    factors: dict[str, float]


def scaling_of(adapted: Mapping[str, Adapted], settings: AdapterSettings) -> Scaling:
    """Return one scale for all modules, and what it takes for each to mean what it meant.

    Raises InvalidSourceError for a pattern that would have to be evaluated, and for a scale that is none.
    """
    ranks = {module: layer.rank for module, layer in adapted.items()}
    patterns = _alpha_patterns(settings)
    scales = {module: _scale(layer, patterns, settings) for module, layer in adapted.items()}
    [(scale, _)] = Counter(scales.values()).most_common(1)
    [(rank, _)] = Counter(ranks.values()).most_common(1)
    others = {module: own for module, own in ranks.items() if own != rank}
    return Scaling(
        rank=rank,
        alpha=plain(scale * _divisor(rank, settings)),
        rank_pattern=others,
        alpha_pattern={module: plain(scale * _divisor(own, settings)) for module, own in others.items()},
        factors={module: own / scale for module, own in scales.items() if not math.isclose(own, scale)},
    )


def plain(number: float) -> float:
    """Return a number without the noise of its calculation: an alpha of 16 is written as 16."""
    nearest = round(number)
    return nearest if nearest > 0 and math.isclose(number, nearest, rel_tol=1e-9) else number


def _divisor(rank: int, settings: AdapterSettings) -> float:
    return math.sqrt(rank) if settings.use_rslora else rank


def _alpha_patterns(settings: AdapterSettings) -> dict[str, ModulePattern]:
    patterns = {}
    for pattern in settings.alpha_pattern:
        try:
            patterns[pattern] = ModulePattern.parse(pattern)
        except ValueError as error:
            raise InvalidSourceError(
                f"adapter_config.json: alpha_pattern: {shown(pattern)} is an expression ({shown(error)}), and none "
                "from outside is; give the modules' names, their ends, or both with ^, $, \\. and .* only"
            ) from None
    return patterns


def _scale(layer: Adapted, patterns: Mapping[str, ModulePattern], settings: AdapterSettings) -> float:
    """Return the scale of a module, by the first pattern that PEFT would match it with."""
    pattern = next((text for text, pattern in patterns.items() if pattern.matches(layer.named)), None)
    field = "lora_alpha" if pattern is None else f"alpha_pattern: {shown(pattern)}"
    alpha = settings.lora_alpha if pattern is None else settings.alpha_pattern[pattern]
    scale = alpha / _divisor(layer.rank, settings)
    if not SMALLEST <= scale <= LARGEST:
        raise InvalidSourceError(
            f"adapter_config.json: {field} is {alpha}, which scales {shown(layer.named)} by {scale}: engines calculate "
            f"in numbers from {SMALLEST:.0e} to {LARGEST:.0e}; give what it was trained with"
        )
    return scale
