"""The trainer's exit codes (docs/contracts.md §4), and how they count for its Job."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

OUT_OF_MEMORY: Final = "OutOfMemory"

WORKER_LOST: Final = "WorkerLost"
WORKER_LOST_CODE: Final = 70
"""A worker of another pod is gone, for a reason that this other pod tells."""

PREEMPTED_CODE: Final = 143
"""128 + SIGTERM: the trainer has stored a checkpoint and left, as it was asked to."""

REASONS: Final[Mapping[int, str]] = MappingProxyType(
    {
        64: "InvalidConfig",
        65: "BadDataset",
        66: "BaseMismatch",
        67: "Diverged",
        68: "RegistryUnavailable",
        69: OUT_OF_MEMORY,
        WORKER_LOST_CODE: WORKER_LOST,
        71: "MergeMismatch",
        72: "SourceInvalid",
        PREEMPTED_CODE: "Preempted",
    }
)
"""Reason by exit code, where nobody has said more: with 72 the source of an adapter may also not be there, or not be
ours to read, and with 68 it may be the source that is away. Any other code is a crash.

So is 137, SIGKILL: a node or a person sends it, too. That it was the kernel, for want of memory, is only known where
the runtime says OOMKilled.
"""

SOURCE_REFUSED: Final = frozenset({"SourceInvalid", "SourceNotFound", "SourceForbidden"})
"""What may be wrong with the source of an adapter that trying again can't mend."""

SOURCE_UNAVAILABLE: Final = "SourceUnavailable"

RETRIED: Final = frozenset({"RegistryUnavailable", SOURCE_UNAVAILABLE, "Preempted", WORKER_LOST})
"""Reasons for which the same Job may try again unchanged."""


def failure_rules() -> list[dict[str, Any]]:
    """Return how pod failures count: the first rule that matches wins, so a preemption never looks like an error,
    nor does a pod that stopped because another one did: the other one counts.

    A Job whose failure another try can't mend ends at once. Whoever is out of memory is out of it again with the same
    batch: the operator makes another Job with a smaller one.
    """
    final = sorted(code for code, reason in REASONS.items() if reason not in RETRIED)
    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
        {"action": "Ignore", "onExitCodes": exits_with("trainer", [WORKER_LOST_CODE, PREEMPTED_CODE])},
        was_told_to_end("fetch-base"),
        {"action": "FailJob", "onExitCodes": exits_with("trainer", final)},
    ]


def was_told_to_end(container: str) -> dict[str, Any]:
    """Return the rule that a container of the registry's, which ended as it was told to, does not count as a failure.

    A queue that takes its quota back deletes the pods of a Job, and nothing but this code tells that from an error.
    """
    return {"action": "Ignore", "onExitCodes": exits_with(container, [PREEMPTED_CODE])}


def exits_with(container: str, codes: list[int]) -> dict[str, Any]:
    """Return what a rule is asked for that goes by the exit code of one container."""
    return {"containerName": container, "operator": "In", "values": codes}
