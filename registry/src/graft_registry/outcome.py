"""How a command's result is told to whoever started it: an exit code and a termination message."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from graft_registry.documents.model import Document
from graft_registry.errors import (
    Corrupt,
    Forbidden,
    InvalidArtifact,
    NotFound,
    RegistryError,
    Unavailable,
    Unfit,
    Unsafe,
    VersionConflict,
)
from graft_registry.sources.source_files import SourceError, SourceProblem

TERMINATION_LOG_VARIABLE: Final = "GRAFT_TERMINATION_LOG"
_KUBELETS_FILE: Final = "/dev/termination-log"
_MESSAGE_CHARACTERS: Final = 900
"""Kubernetes keeps 4096 bytes of a termination message; a character takes up to 4."""

FAILURES: Final = (SourceError, RegistryError, ValueError)
"""What a command may raise that isn't a defect."""

_EXIT_CODES: Final = {
    "InvalidConfig": 64,
    SourceProblem.NOT_FOUND: 65,
    SourceProblem.INVALID: 65,
    "NotFound": 66,
    "Corrupt": 66,
    "Conflict": 73,
    SourceProblem.UNAVAILABLE: 68,
    "StoreUnfit": 69,
    SourceProblem.FORBIDDEN: 77,
    SourceProblem.ADAPTER_UNAVAILABLE: 68,
    SourceProblem.ADAPTER_FORBIDDEN: 77,
}
_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (Forbidden, SourceProblem.FORBIDDEN),
    (NotFound, "NotFound"),
    (Corrupt, "Corrupt"),
    (Unsafe, "Corrupt"),
    (InvalidArtifact, SourceProblem.INVALID),
    (VersionConflict, "Conflict"),
    (Unfit, "StoreUnfit"),
    (Unavailable, SourceProblem.UNAVAILABLE),
    (RegistryError, SourceProblem.UNAVAILABLE),
    (ValueError, "InvalidConfig"),
)


class Outcome(Document):
    """The termination message of a command."""

    outcome: str
    reason: str | None = None
    message: str | None = None
    field: str | None = None
    digest: str | None = None
    revision: str | None = None
    number: int | None = None
    location: str | None = None
    """Where an export is now."""

    def text(self) -> str:
        """Return JSON that can be written: names of files from outside may hold what is no character."""
        document = json.dumps(self.model_dump(exclude_none=True), ensure_ascii=False, separators=(",", ":"))
        return document.encode(errors="replace").decode()


def failure(error: Exception) -> tuple[Outcome, int]:
    """Return the message and the exit code for one of ``FAILURES``. Pure."""
    if isinstance(error, SourceError):
        reason, field = str(error.reason), error.field
    else:
        reason, field = next(name for kind, name in _REASONS if isinstance(error, kind)), None
    message = str(error)[:_MESSAGE_CHARACTERS]
    return Outcome(outcome="Failed", reason=reason, message=message, field=field), _EXIT_CODES[reason]


def write_outcome(outcome: Outcome, environ: Mapping[str, str]) -> None:
    """Write the termination message where the kubelet reads it. Outside a container that is nowhere."""
    path = Path(environ.get(TERMINATION_LOG_VARIABLE, _KUBELETS_FILE))
    if TERMINATION_LOG_VARIABLE in environ or path.exists():
        path.write_text(outcome.text(), encoding="utf-8")
