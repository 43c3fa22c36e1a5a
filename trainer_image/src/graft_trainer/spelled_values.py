"""Numbers and digests as the run document spells them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

NUMBER_PATTERN = re.compile(r"\d+(\.\d+)?([eE][-+]?\d+)?")


def parse_number_string(value: Any) -> float:
    """Read a non-negative number that is written as a string, such as ``"2e-4"``.

    The API has no floats: JSON and YAML tools change their spelling, which would change the recipe digest.
    """
    if not isinstance(value, str) or not NUMBER_PATTERN.fullmatch(value):
        raise ValueError('must be a number in quotes, such as "2e-4"')
    return float(value)


NumberString = Annotated[float, BeforeValidator(parse_number_string)]
Ratio = Annotated[NumberString, Field(ge=0.0, le=1.0)]
DigestString = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
