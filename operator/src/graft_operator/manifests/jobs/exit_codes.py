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
        {"action": "Ignore", "onExitCodes": _trainer_exits_with([WORKER_LOST_CODE, PREEMPTED_CODE])},
        {"action": "FailJob", "onExitCodes": _trainer_exits_with(final)},
    ]


def _trainer_exits_with(codes: list[int]) -> dict[str, Any]:
    return {"containerName": "trainer", "operator": "In", "values": codes}
