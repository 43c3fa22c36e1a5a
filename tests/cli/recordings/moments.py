"""Moments in an adapter's life at which a scene begins or ends: predicates over objects of the API server. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from demo.cluster import Object
from demo.goals import answers_with, settled

Moment = Callable[[Object], bool]


def served(version: int) -> Moment:
    """Return the moment when a version answers everything, and is what the spec asks for."""
    return lambda adapter: settled(adapter) and answers_with(version)(adapter)


def candidate(version: int) -> Moment:
    """Return the moment when a version answers a part of the requests."""

    def is_candidate(adapter: Object) -> bool:
        is_split = _in_status(adapter, "serving", "rollout", "stepTime") is not None
        return is_split and _in_status(adapter, "candidateVersion") == version

    return is_candidate


def seen(adapter: Object) -> bool:
    """Whether the operator has looked at the spec as it is."""
    return bool(_in_status(adapter, "observedGeneration") == adapter["metadata"]["generation"])


def in_training(adapter: Object) -> bool:
    """Whether a training has taken a step."""
    return bool(_in_status(adapter, "training", "step"))


def failed(adapter: Object) -> bool:
    """Whether a training of the current spec has failed."""
    return _in_status(adapter, "failedTrainings") is not None


def _in_status(adapter: Object, *path: str) -> Any:
    found: Any = adapter.get("status")
    for name in path:
        found = (found or {}).get(name)
    return found
