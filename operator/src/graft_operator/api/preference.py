"""What an adapter learns from its rows: answers, or which answers are better than others."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from graft_operator.api.meta import ApiModel, DecimalString, decimal_that

Objective = Literal["SFT", "DPO", "KTO"]

Beta = Annotated[DecimalString, decimal_that(lambda value: 0 < value <= 10, 'must be above 0 and at most 10, as "0.1"')]
Weight = Annotated[
    DecimalString, decimal_that(lambda value: 0 < value <= 100, 'must be above 0 and at most 100, as "1"')
]


class Preference(ApiModel):
    """How preferences are learned, with the objectives DPO and KTO.

    The defaults are those that the papers' experiments and TRL begin with: beta 0.1 (DPO, arXiv:2305.18290, appendix B;
    KTO, arXiv:2402.01306), and both weights 1.
    """

    beta: Beta = "0.1"
    """How strongly the adapter is held near its reference, as a string; higher is nearer."""
    desirable_weight: Weight = "1"
    """What wanted answers count, with objective KTO; raise it where they are the fewer."""
    undesirable_weight: Weight = "1"
    """What unwanted answers count, with objective KTO; raise it where they are the fewer."""
    reference_version: int | None = Field(default=None, ge=1, le=99_999_999)
    """Version of this adapter, such as one of SFT, that the training begins with and is held near; when empty it begins
    with nothing, near the base."""
