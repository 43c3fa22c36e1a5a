"""How a new version takes over: at once or by canary, what it may not do meanwhile, and the way back."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from graft_operator.api.meta import ApiModel

MOST_SECONDS = 604_800
"""A week."""


class RolloutStep(ApiModel):
    """One step of a canary."""

    weight: int = Field(ge=1, le=99)
    """Percent of the requests that the new version answers; after the last step it answers all."""
    seconds: int = Field(ge=0, le=MOST_SECONDS)
    """How long the step lasts, from the moment when every replica splits requests so."""


DEFAULT_STEPS = (RolloutStep(weight=10, seconds=60), RolloutStep(weight=50, seconds=60))
"""Where ``steps`` is empty."""


class RolloutLimits(ApiModel):
    """What a new version may not do, measured by the serving pods; beyond a limit it is rolled back."""

    max_error_percent: int = Field(default=5, ge=0, le=100)
    """Most of its requests that may fail, in percent, beyond what fails of the version before at the same time."""
    max_latency_percent: int = Field(default=200, ge=1, le=10_000)
    """Longest 95th percentile of its answers' seconds, in percent of that of the version before."""
    max_probe_score_drop_percent: int = Field(default=20, ge=0, le=100)
    """Most percentage points that its score, of probes answered right, may be below the one before; 100 asks none."""
    min_requests: int = Field(default=20, ge=1, le=100_000)
    """Requests to a version without which nothing is said of it; a step lasts longer until there are as many."""
    wait_seconds: int = Field(default=600, ge=0, le=MOST_SECONDS)
    """How much longer at most: then the step is passed, since a version that nobody asks hurts nobody."""

    @property
    def judge_probes(self) -> bool:
        """Whether any score of probes could be beyond the limits."""
        return self.max_probe_score_drop_percent < 100


class RolloutSpec(ApiModel):
    """How a version takes over from the one before."""

    strategy: Literal["Immediate", "Canary"] = "Immediate"
    """Canary goes by steps. A version on another base, one that is pinned, and a way back go at once all the same."""
    steps: tuple[RolloutStep, ...] = Field(default=(), max_length=16)
    """Steps of a canary, of rising weights; 10 % and then 50 %, each for a minute, when empty."""
    limits: RolloutLimits | None = None
    """Beyond them a new version is rolled back. A canary has the defaults when empty; Immediate has none."""
    rollback_window_seconds: int = Field(default=300, ge=0, le=MOST_SECONDS)
    """How long the version before stays loaded, where there is room, and the limits are watched, after a rollout."""
    promote: int | None = Field(default=None, ge=1, le=99_999_999)
    """Version that takes over at once and whatever the limits say, even after it was rolled back."""
    abort: int | None = Field(default=None, ge=1, le=99_999_999)
    """Version that is rolled back while the one before is still loaded, and not rolled out again."""

    @model_validator(mode="after")
    def _weights_rise(self) -> RolloutSpec:
        weights = [step.weight for step in self.steps]
        if any(later <= earlier for earlier, later in pairwise(weights)):
            raise ValueError("steps must have rising weights, such as 10 and then 50")
        if self.promote is not None and self.promote == self.abort:
            raise ValueError("promote and abort must not name the same version; remove one")
        return self

    @property
    def effective_steps(self) -> tuple[RolloutStep, ...]:
        """The steps of a new version's canary; none when it takes over at once."""
        return (self.steps or DEFAULT_STEPS) if self.strategy == "Canary" else ()

    @property
    def effective_limits(self) -> RolloutLimits | None:
        """The limits that are watched, if any."""
        return self.limits or (RolloutLimits() if self.strategy == "Canary" else None)
