"""What a terminal shows, and when: an asciicast of version 2, whose time is not the clock's."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

LONGEST_WAIT: Final = 1.5
"""Seconds that a recording stands still at most while a program is at work; who watches learns nothing from more."""
KEY_SECONDS: Final = 0.05
"""Between two keys of somebody who types."""

PICTURE_SECONDS: Final = 0.25
"""Of what is shown faster than it was: more pictures make larger files, and are not seen."""


class Tape:
    """Takes what is shown, as a file does."""

    def __init__(self, columns: int, rows: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = {"width": columns, "height": rows}
        self._events: list[tuple[float, str]] = []
        self._time = 0.0
        self._clock = clock
        self._heard = clock()
        self._longest_wait = LONGEST_WAIT
        self.line_seconds = 0.0
        """How long each line stands before the next one; for what is longer than the screen."""

    def write(self, text: str) -> None:
        """Take what a program shows now."""
        now = self._clock()
        self._time += min(now - self._heard, self._longest_wait)
        self._heard = now
        for line in text.splitlines(keepends=True):
            self._events.append((self._time, line))
            self._time += self.line_seconds

    def flush(self) -> None:
        """Do nothing: all is taken at once."""

    def key_in(self, text: str) -> None:
        """Show a text as if somebody typed it."""
        for key in text:
            self._add(KEY_SECONDS, key)

    def rest(self, seconds: float) -> None:
        """Stand still, for people to read."""
        self._add(seconds, "")

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Show what happens in this block in so many seconds, if it takes longer, and evenly: nothing is cut."""
        first, begun = len(self._events), self._time
        self._longest_wait = math.inf
        yield
        self._longest_wait = LONGEST_WAIT
        share = min(1.0, seconds / max(self._time - begun, seconds))
        for number, (when, text) in enumerate(self._events[first:], first):
            self._events[number] = (begun + (when - begun) * share // PICTURE_SECONDS * PICTURE_SECONDS, text)
        self._time = begun + (self._time - begun) * share

    def cast(self) -> str:
        """Return the asciicast."""
        events = [json.dumps([round(when, 3), "o", text]) for when, text in self._events]
        return "\n".join([json.dumps({"version": 2, **self._size}), *events]) + "\n"

    def _add(self, seconds: float, text: str) -> None:
        self._time += seconds
        self._events.append((self._time, text))
        self._heard = self._clock()
