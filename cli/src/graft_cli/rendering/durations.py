"""Spans of time in few characters, as kubectl writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def age(then: datetime, now: datetime) -> str:
    """Return how long ago something was."""
    if then.tzinfo is None:  # the API server keeps such a time as it came
        then = then.replace(tzinfo=UTC)
    return duration(max(0, int((now - then).total_seconds())))


def duration(count: int) -> str:
    """Return a duration in its two largest units, such as ``3h12m``."""
    units = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
    parts: list[tuple[int, str]] = []
    for name, size in units:
        amount, count = divmod(count, size)
        if amount or parts:
            parts.append((amount, name))
    shown = [f"{amount}{name}" for amount, name in parts[:2] if amount]
    return "".join(shown) or "0s"
