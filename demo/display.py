"""What a person sees: headings, lines, aligned tables, and how long things took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def heading(text: str) -> None:
    """Begin a chapter."""
    print(f"\n{text}\n{'─' * len(text)}", flush=True)


def say(text: str) -> None:
    """Print one line."""
    print(f"  {text}", flush=True)


def table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows with aligned columns; the first row is the header."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number == 0:
            say("  ".join("─" * width for width in widths))


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    whole = round(seconds)
    if whole < 10:
        return f"{seconds} s" if isinstance(seconds, int) else f"{seconds:.1f} s"
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60:02d} s"


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say what is done now, and how long it took when it has succeeded."""
    begun = time.monotonic()
    say(f"… {text}")
    yield
    say(f"✓ {text} ({duration(time.monotonic() - begun)})")
