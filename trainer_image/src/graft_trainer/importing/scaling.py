"""What an adapter's matrices are multiplied with, by module. Pure.

PEFT may scale each module in its own way; an engine multiplies all with the same. So the most common scale is kept, and
what a module's own differs by goes into its matrix B, where it means the same.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from graft_trainer.importing.fitting import Adapted
from graft_trainer.importing.settings import AdapterSettings
from graft_trainer.outcome import InvalidSourceError


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

    Raises InvalidSourceError for a pattern that is no regular expression.
    """
    ranks = {module: layer.rank for module, layer in adapted.items()}
    scales = {
        module: _alpha(layer.named, settings) / _divisor(layer.rank, settings) for module, layer in adapted.items()
    }
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


def _alpha(module: str, settings: AdapterSettings) -> float:
    """Return the alpha of a module, by the first pattern that PEFT would match it with."""
    for pattern, alpha in settings.alpha_pattern.items():
        try:
            found = re.match(rf"(.*\.)?({pattern})$", module)
        except re.error as error:
            raise InvalidSourceError(
                f"adapter_config.json: alpha_pattern: {pattern} is no regular expression ({error})"
            ) from error
        if found:
            return alpha
    return settings.lora_alpha
