"""What is known of the registry: an answer, or why there is none yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Known(Generic[T]):
    """An answer. ``value`` is None where somebody has looked and there was nothing."""

    value: T | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """No answer yet: nobody has asked so far, or the registry could not tell."""

    reason: str = ""
    message: str = ""
    passes: bool = True
    """Whether it passes by itself, as an outage does, and damage doesn't."""
