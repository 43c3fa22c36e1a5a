"""Tells the operator, through the registry, how far the run is."""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict

from graft_registry.documents import Progress, ProgressState, timestamp
from graft_registry.errors import RegistryError
from graft_registry.versions import AdapterRegistry

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 5.0
"""Least time between two writes within one state."""


class ProgressWriter:
    """Writes progress documents: at once when the state changes, else at most every ``interval`` seconds."""

    def __init__(self, registry: AdapterRegistry | None, recipe: str, *, interval: float = INTERVAL_SECONDS) -> None:
        """``registry`` is None where another worker of the run writes."""
        self._registry = registry
        self._interval = interval
        self._progress = Progress(recipe=recipe, state="Loading", updated_time=timestamp())
        self._written_at = -math.inf
        self._entered_at = time.monotonic()
        self._seconds: defaultdict[ProgressState, float] = defaultdict(float)

    def seconds_in(self, state: ProgressState) -> float:
        """Return how long this process was in a state that it has left."""
        return self._seconds[state]

    def enter(self, state: ProgressState, **fields: object) -> None:
        """Report a new state of the run, with whatever fields changed."""
        now = time.monotonic()
        self._seconds[self._progress.state] += now - self._entered_at
        self._entered_at = now
        self._written_at = -math.inf
        self.update(state=state, **fields)

    def update(self, **fields: object) -> None:
        """Report changed fields. A registry that is away for a moment does not stop the training."""
        self._progress = self._progress.model_copy(update={**fields, "updated_time": timestamp()})
        now = time.monotonic()
        if self._registry is None or now - self._written_at < self._interval:
            return
        self._written_at = now
        try:
            self._registry.write_progress(self._progress)
        except RegistryError as error:
            logger.warning("progress was not written: %s", error)
