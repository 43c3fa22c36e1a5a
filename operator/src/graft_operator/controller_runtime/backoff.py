"""Exponential backoff with jitter. Pure, apart from the injected source of randomness."""

from collections.abc import Callable
from dataclasses import dataclass
from random import random


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delay before attempt n+1 after n consecutive failures: `min(cap, base * 2**(n-1))`, jittered.

    Jitter is "equal jitter": the delay is drawn from [half, whole], so that keys that failed together (an API
    server restart) spread out, while none retries at once.
    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    base_seconds: float = 1.0
    cap_seconds: float = 300.0
    random: Callable[[], float] = random

    def delay(self, failures: int) -> float:
        """Return seconds to wait after `failures` (≥ 1) consecutive failures."""
        # The exponent is bounded because 2.0 ** 1024 overflows, and a key may well fail for weeks.
        whole = min(self.cap_seconds, self.base_seconds * 2.0 ** min(failures - 1, 32))
        return whole * (0.5 + 0.5 * self.random())
