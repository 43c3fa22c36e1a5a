"""How a run ends: the exit code, the termination message and which exception means what."""

from __future__ import annotations

import json
import logging
import traceback
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from graft_registry.errors import Forbidden, Unavailable

logger = logging.getLogger(__name__)

TERMINATION_MESSAGE_LIMIT = 4096
"""Bytes of a termination message that the kubelet keeps."""

TRUNCATED = "… (truncated)"

CRASH_FRAMES = 8
"""Innermost calls of a crash that its message tells."""


class Reason(StrEnum):
    """Why a run ended, as the operator knows it."""

    PUBLISHED = "Published"
    ADOPTED = "Adopted"
    PREPARED = "Prepared"
    INVALID_CONFIG = "InvalidConfig"
    BAD_DATASET = "BadDataset"
    BASE_MISMATCH = "BaseMismatch"
    DIVERGED = "Diverged"
    REGISTRY_UNAVAILABLE = "RegistryUnavailable"
    SOURCE_UNAVAILABLE = "SourceUnavailable"
    OUT_OF_MEMORY = "OutOfMemory"
    WORKER_LOST = "WorkerLost"
    MERGE_MISMATCH = "MergeMismatch"
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_INVALID = "SourceInvalid"
    SOURCE_FORBIDDEN = "SourceForbidden"
    PREEMPTED = "Preempted"
    CRASHED = "Crashed"


# Where several reasons share a code, whoever knows nothing but the code takes it for the last of them.
EXIT_CODES: dict[Reason, int] = {
    Reason.PUBLISHED: 0,
    Reason.ADOPTED: 0,
    Reason.PREPARED: 0,
    Reason.INVALID_CONFIG: 64,
    Reason.BAD_DATASET: 65,
    Reason.BASE_MISMATCH: 66,
    Reason.DIVERGED: 67,
    Reason.SOURCE_UNAVAILABLE: 68,
    Reason.REGISTRY_UNAVAILABLE: 68,
    Reason.OUT_OF_MEMORY: 69,
    Reason.WORKER_LOST: 70,
    Reason.MERGE_MISMATCH: 71,
    Reason.SOURCE_NOT_FOUND: 72,
    Reason.SOURCE_FORBIDDEN: 72,
    Reason.SOURCE_INVALID: 72,
    Reason.PREEMPTED: 143,
    Reason.CRASHED: 1,
}


class TrainingError(Exception):
    """A run that cannot go on, with what a user can do about it.

    ``field`` is the path in the LoraAdapter that has to change, where there is one.
    """

    reason = Reason.CRASHED

    def __init__(self, message: str, *, field: str | None = None, step: int = 0) -> None:
        super().__init__(message)
        self.field = field
        self.step = step


class InvalidConfigError(TrainingError):
    """The run document is malformed or asks for something impossible."""

    reason = Reason.INVALID_CONFIG


class BadDatasetError(TrainingError):
    """The dataset cannot be read, understood or learned from."""

    reason = Reason.BAD_DATASET


class BaseMismatchError(TrainingError):
    """The mounted base is not the one that the run was made for."""

    reason = Reason.BASE_MISMATCH


class DivergedError(TrainingError):
    """The loss is not finite any more, or has exploded."""

    reason = Reason.DIVERGED


class MergeMismatchError(TrainingError):
    """The merged model does not do what the adapter does."""

    reason = Reason.MERGE_MISMATCH


class InvalidSourceError(TrainingError):
    """What an adapter is to be imported from holds none, or one that can't be served."""

    reason = Reason.SOURCE_INVALID

    def __init__(self, message: str, *, field: str = "spec.source") -> None:
        super().__init__(message, field=field)


class MissingSourceError(TrainingError):
    """There is nothing where an adapter is to be imported from."""

    reason = Reason.SOURCE_NOT_FOUND


class ForbiddenSourceError(TrainingError):
    """What an adapter is to be imported from may not be read."""

    reason = Reason.SOURCE_FORBIDDEN


class UnavailableSourceError(TrainingError):
    """What an adapter is to be imported from is away; worth a retry."""

    reason = Reason.SOURCE_UNAVAILABLE


class PreemptedError(TrainingError):
    """The pod was asked to stop, and its last checkpoint is in the registry."""

    reason = Reason.PREEMPTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of a run."""

    reason: Reason
    message: str
    field: str | None = None
    number: int | None = None
    manifest_digest: str | None = None
    step: int = 0

    @property
    def exit_code(self) -> int:
        """The process's exit status."""
        return EXIT_CODES[self.reason]

    @property
    def kind(self) -> str:
        """``Published``, ``Adopted``, ``Prepared``, ``Preempted`` or ``Failed``."""
        succeeded_or_paused = (Reason.PUBLISHED, Reason.ADOPTED, Reason.PREPARED, Reason.PREEMPTED)
        return self.reason.value if self.reason in succeeded_or_paused else "Failed"

    def termination_message(self) -> str:
        """Render the JSON document of at most 4 KiB, shortening only ``message``."""
        document: dict[str, object] = {
            "outcome": self.kind,
            "reason": self.reason.value,
            "message": self.message,
            "field": self.field,
            "number": self.number,
            "manifestDigest": self.manifest_digest,
            "step": self.step,
        }
        text = _dump(document)
        message = self.message
        while len(text.encode()) > TERMINATION_MESSAGE_LIMIT:
            message = message[: len(message) * 3 // 4]
            text = _dump(document | {"message": message + TRUNCATED})
        return text


def classify(error: BaseException, *, step: int = 0) -> Outcome:
    """Turn whatever ended the run into an outcome; an error of no known class is ``Crashed``."""
    if isinstance(error, TrainingError):
        return Outcome(reason=error.reason, message=str(error), field=error.field, step=error.step or step)
    if isinstance(error, (Unavailable, Forbidden)):
        return Outcome(reason=Reason.REGISTRY_UNAVAILABLE, message=str(error), step=step)
    if ran_out_of_memory(error):
        # What helps is the operator's to say: it first tries by itself to get along with less.
        return Outcome(reason=Reason.OUT_OF_MEMORY, message=f"out of memory: {error}", step=step)
    if lost_a_worker(error):
        message = f"another worker of the run is gone ({error}); all start again from the last checkpoint"
        return Outcome(reason=Reason.WORKER_LOST, message=message, step=step)
    return Outcome(
        reason=Reason.CRASHED, message=f"{type(error).__name__}: {error}\n{innermost_calls(error)}", step=step
    )


def innermost_calls(error: BaseException) -> str:
    """Return the innermost frames of an error's traceback: all that is left of it once the pod's log is gone."""
    frames = traceback.extract_tb(error.__traceback__)[-CRASH_FRAMES:]
    return "\n".join(f"  {Path(frame.filename).name}:{frame.lineno} {frame.name}: {frame.line}" for frame in frames)


def lost_a_worker(error: BaseException) -> bool:
    """Tell whether a collective operation failed because the other side has gone.

    Gloo raises a plain RuntimeError that only its source file's name gives away; NCCL's have a class, whose name is
    compared so that classifying an early failure does not import torch.
    """
    names = {type_.__name__ for type_ in type(error).__mro__}
    return "DistError" in names or (isinstance(error, RuntimeError) and "gloo/transport" in str(error))


def ran_out_of_memory(error: BaseException) -> bool:
    """Tell whether an allocation failed, on the GPU or on the CPU.

    Torch raises ``torch.OutOfMemoryError`` for CUDA but a plain RuntimeError from its CPU allocator.
    Names are compared so that classifying an early failure does not import torch.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def report(outcome: Outcome, path: Path) -> None:
    """Write the termination message where the kubelet picks it up."""
    try:
        path.write_text(outcome.termination_message(), encoding="utf-8")
    except OSError as error:
        logger.warning("cannot write the termination message to %s: %s", path, error)


def _dump(document: dict[str, object]) -> str:
    """Return JSON that can be encoded: file names and strings from outside may hold half of a surrogate pair."""
    return json.dumps(document, ensure_ascii=False).encode(errors="replace").decode()
