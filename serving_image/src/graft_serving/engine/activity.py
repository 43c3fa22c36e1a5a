"""What clients have of an engine: whether they wait for it, and when it last gave them anything."""

import contextlib
import time
from collections.abc import Callable, Iterator


class ClientActivity:
    """Two questions that are not the same: clients may wait for an engine that is dead, and a living one may have none.

    For one event loop.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with an engine that nobody has asked yet."""
        self._clock = clock
        self._waiting = 0
        self._left_at = float("-inf")
        self._heard_at = float("-inf")

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """A client waits for the engine until the block ends, however long its answer takes."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            self._left_at = self._clock()

    @property
    def seconds_unasked(self) -> float:
        """For how long no client has waited for the engine: 0 while one does, infinite before the first one."""
        return 0.0 if self._waiting else self._clock() - self._left_at

    def note_sign_of_life(self) -> None:
        """The engine has given a client a part of an answer. That one waits for it is no such sign."""
        self._heard_at = self._clock()

    @property
    def seconds_silent(self) -> float:
        """Since the engine's last sign of life to a client; infinite before the first one."""
        return self._clock() - self._heard_at
