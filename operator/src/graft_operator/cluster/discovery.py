"""Which optional kinds the API server knows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from graft_operator.cluster.client import Cluster
from graft_operator.cluster.resources import Resource

KEPT: Final = timedelta(seconds=10)
"""How long an answer counts: a kind is noticed, or missed, at the first look after that."""


class Discovery:
    """Asks for each kind at most once in a while, however many objects want to know."""

    def __init__(self, cluster: Cluster, clock: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._answers: dict[Resource, tuple[bool, datetime]] = {}

    async def serves(self, resource: Resource) -> bool:
        """Return whether the server knows the kind. Raises what the cluster raises when it is away."""
        known = self._answers.get(resource)
        if known is None or self._clock() - known[1] >= KEPT:
            known = (await self._cluster.serves(resource), self._clock())
            self._answers[resource] = known
        return known[0]
