"""What is known of something that is stored elsewhere, and what isn't."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Known(Generic[T_co]):
    """It was looked for. ``value`` is None where it was not there."""

    value: T_co | None


@dataclass(frozen=True, slots=True)
class Unknown:
    """It could not be looked for, or not yet: nothing may be concluded from that."""

    reason: str = ""
    """RegistryUnavailable, RegistryForbidden, RegistryCorrupt …; empty while it is merely being looked up."""
    message: str = ""
    """What is in the way, and what to do about it where it does not pass by itself."""
    is_transient: bool = True
    """Whether it passes by itself."""


BEING_LOOKED_UP: Final = Unknown()
