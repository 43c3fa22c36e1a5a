"""What is known of something outside the cluster: what it is, that it isn't there, or nothing yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Known(Generic[T]):
    """It was looked at. ``value`` is None where it is not there."""

    value: T | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """It was not looked at yet, or can't be: nothing may be concluded from its absence."""

    reason: str = ""
    """Why, in a word, such as RegistryUnavailable; empty while the first look is under way."""
    message: str = ""
    passes: bool = True
    """Whether it passes by itself; False where a person has to act."""
