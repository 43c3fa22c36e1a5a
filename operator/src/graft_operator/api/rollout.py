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
    """How long the step lasts, from the moment when every replica uses its weight."""


DEFAULT_STEPS = (RolloutStep(weight=10, seconds=60), RolloutStep(weight=50, seconds=60))
"""Where ``steps`` is empty."""


class RolloutLimits(ApiModel):
    """What a new version may not do, measured by the serving pods; beyond a limit it is rolled back."""

    max_error_percent: int = Field(default=5, ge=0, le=100)
    """Percentage of its requests that may fail beyond that of the previous version at the same time."""
    max_latency_percent: int = Field(default=200, ge=1, le=10_000)
    """Highest 95th percentile of its latency, in percent of that of the previous version."""
    max_probe_score_drop_percent: int = Field(default=20, ge=0, le=100)
    """Percentage points that its probe score may be below that of the previous version; 100 sends no probes."""
    min_requests: int = Field(default=20, ge=1, le=100_000)
    """Requests to a version before it is judged by them; a step lasts longer until there are that many."""
    wait_seconds: int = Field(default=600, ge=0, le=MOST_SECONDS)
    """How much longer a step waits for minRequests; then it passes, since a version without requests does no harm."""

    @property
    def judge_probes(self) -> bool:
        """Whether any score of probes could be beyond the limits."""
        return self.max_probe_score_drop_percent < 100


class RolloutSpec(ApiModel):
    """How a version takes over from the previous one."""

    strategy: Literal["Immediate", "Canary"] = "Immediate"
    """Canary uses steps. A version on another base, a pinned version and a rollback always take over at once."""
    steps: tuple[RolloutStep, ...] = Field(default=(), max_length=16)
    """Steps of a canary, of rising weights; 10 % and then 50 %, each for a minute, when empty."""
    limits: RolloutLimits | None = None
    """A new version that exceeds them is rolled back. When empty, a canary has the defaults and Immediate has none."""
    rollback_window_seconds: int = Field(default=300, ge=0, le=MOST_SECONDS)
    """How long after a rollout the previous version stays loaded, if there is room, and the limits apply."""
    promote: int | None = Field(default=None, ge=1, le=99_999_999)
    """Version that takes over at once and whatever the limits say, even after it was rolled back."""
    abort: int | None = Field(default=None, ge=1, le=99_999_999)
    """Version that is rolled back while the previous one is still loaded, and not rolled out again."""

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
