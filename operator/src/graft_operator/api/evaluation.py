"""The gate: what a version has to show before it is served."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from graft_operator.api.meta import ApiModel, DecimalString, StatusModel, decimal_that

PROBE_CHARACTERS = 16_384
"""Of all probes and prompts: they travel in an annotation, of which an object has 256 KiB, and JSON may escape one
character to 12 bytes."""

Prompt = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
"""A user's message."""


class Probe(ApiModel):
    """A question with the one right answer."""

    prompt: Prompt
    """The user's message."""
    expected: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    """The answer that counts as right."""


class Evaluation(ApiModel):
    """The gate: a version that fails it is stored and never served."""

    min_improvement_over_base: Annotated[
        DecimalString, decimal_that(lambda value: value < 1, "must be below 1; 0.1 means 10 %")
    ] = "0"
    """Least relative improvement of the evaluation loss over the base alone: 0.1 is 10 %."""
    max_regression: DecimalString = "0.05"
    """Most that the evaluation loss may be relatively worse than the served version's, on the same rows."""
    min_exact_match: (
        Annotated[DecimalString, decimal_that(lambda value: value <= 1, "must be at most 1; 0.9 means 90 %")] | None
    ) = None
    """Least part of the probes and held-out rows that must be answered exactly: 0.9 is 90 %; no limit when empty."""
    max_perplexity: (
        Annotated[DecimalString, decimal_that(lambda value: value >= 1, "must be at least 1, that of certainty")] | None
    ) = None
    """Highest perplexity, exp(evaluation loss), on the held-out rows; no limit when empty."""
    min_preference_accuracy: Annotated[
        DecimalString, decimal_that(lambda value: value <= 1, "must be at most 1; 0.9 means 90 %")
    ] = "0.5"
    """Least part of the held-out preferences that a version of DPO or KTO must have learned: 0.5 is chance."""
    probes: tuple[Probe, ...] = Field(default=(), max_length=64)
    """Further questions whose exact answers are counted; they do not apply to versions that are already trained."""

    prompts: tuple[Prompt, ...] = Field(default=(), max_length=64)
    """Messages that base and version are asked for golden prompts, where there are no rows to take them from."""

    @model_validator(mode="after")
    def _probes_fit_into_an_annotation(self) -> Evaluation:
        of_probes = sum(len(probe.prompt) + len(probe.expected) for probe in self.probes)
        if of_probes > PROBE_CHARACTERS:
            raise ValueError(f"probes must hold at most {PROBE_CHARACTERS} characters in all")
        if of_probes + sum(map(len, self.prompts)) > PROBE_CHARACTERS:
            raise ValueError(f"prompts and probes must hold at most {PROBE_CHARACTERS} characters in all")
        return self


class ComparedVersion(StatusModel):
    """The version that was served when another one came before its gate, and how the two compare on the same rows."""

    number: int
    """Version number."""
    loss_change: str
    """By what part of its evaluation loss the newer one's is higher: 0.1 is 10 % worse, and -0.1 is 10 % better."""

    @property
    def change(self) -> float:
        """Return the change as a number; what somebody else has written and is none changes nothing."""
        try:
            found = float(self.loss_change)
        except ValueError:
            return 0.0
        return found if math.isfinite(found) else 0.0
