"""The request to stop: SIGTERM before an eviction, a spot reclaim or a node drain."""

from __future__ import annotations

import signal
from types import FrameType

from graft_trainer.outcome import PreemptedError


class PreemptionNotice:
    """Remembers that SIGTERM came, for the run to stop at its next safe point.

    The handler only sets a flag: raising in it would unwind libraries in the middle of a write.
    """

    def __init__(self) -> None:
        self.requested = False

    def listen(self) -> None:
        """Start to watch for SIGTERM in this process; must be called on the main thread."""
        signal.signal(signal.SIGTERM, self._handle)

    def request(self) -> None:
        """Stop this run too, because another worker of it has been asked to."""
        self.requested = True

    def stop_if_requested(self, *, step: int = 0) -> None:
        """Raise PreemptedError once SIGTERM has come; for the places where nothing can be lost."""
        if self.requested:
            raise PreemptedError(f"stopped by SIGTERM at step {step}; the next pod resumes", step=step)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        del signum, frame
        self.requested = True
