"""Which files of a source are brought, and what can be wrong with a source."""

import os
from collections.abc import Iterable
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final

WANTED_FILES: Final = (
    "*.json",
    "*.safetensors",
    "*.jinja",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "spiece.model",
    "merges.txt",
    "vocab.txt",
)
UNWANTED_FILES: Final = ("consolidated*.safetensors", "adapter_*")
"""The second copy of the weights that some publishers add in their own format."""
TEMPLATE_FOLDER: Final = "additional_chat_templates"
"""Holds a file for each chat template but the default one."""
TEMPLATE_FILES: Final = f"{TEMPLATE_FOLDER}/*.jinja"
"""All that is wanted of subdirectories."""
_PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")


class SourceProblem(StrEnum):
    """Why a base or an adapter couldn't be imported, as the operator reads it."""

    NOT_FOUND = "SourceNotFound"
    INVALID = "SourceInvalid"
    UNAVAILABLE = "RegistryUnavailable"
    """The registry, or the store or hub that the source is in, is away; worth a retry."""
    FORBIDDEN = "Forbidden"
    ADAPTER_UNAVAILABLE = "SourceUnavailable"
    """The same of an adapter's source, which is told apart from the registry: a version may be served all the same."""
    ADAPTER_FORBIDDEN = "SourceForbidden"


class SourceError(Exception):
    """A source can't be imported. ``field``: of the BaseModel's spec, where a correction would help."""

    def __init__(self, reason: SourceProblem, message: str, field: str = "spec.source") -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field


def wanted(path: str) -> bool:
    """Return whether a file, by its path below the source, is part of a base."""
    if "/" in path:
        return fnmatchcase(path, TEMPLATE_FILES) and path.count("/") == 1
    return any(fnmatchcase(path, pattern) for pattern in WANTED_FILES) and not any(
        fnmatchcase(path, pattern) for pattern in UNWANTED_FILES
    )


def files_below(directory: Path) -> list[str]:
    """Return the paths of the files in a model's directory and in the one subdirectory that may hold some, sorted."""
    folder = directory / TEMPLATE_FOLDER
    paths = [*directory.iterdir(), *(folder.iterdir() if folder.is_dir() else ())]
    return sorted(path.relative_to(directory).as_posix() for path in paths if path.is_file())


def mounted_root(directory: Path, path: str) -> Path:
    """Return where a volume is mounted of which ``directory`` is the folder ``path``. Pure."""
    below = PurePosixPath(path.strip("/")).parts
    return directory.parents[len(below) - 1] if below and directory.parts[-len(below) :] == below else directory


def leads_out(path: Path, root: Path) -> bool:
    """Return whether what would be read at ``path`` is elsewhere than below ``root``, by whichever link on the way.

    Whoever fills a volume could have files of the pod that mounts it read otherwise, such as its tokens.
    """
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def volume_away(where: str, error: OSError, field: str) -> SourceError:
    """Return what it means that a mounted volume fails to read, other than by rights or by what lies on it."""
    message = f"{where}: {error}: the volume can't be read now; look at what it is on"
    return SourceError(SourceProblem.UNAVAILABLE, message, field)


def check_listing(paths: Iterable[str], *, where: str, field: str) -> None:
    """Check that a source has weights that may be loaded, before anything is downloaded.

    Raises:
        SourceError: the source is empty, or has no safetensors; says so if it has pickles instead.
    """
    names = list(paths)
    if not names:
        raise SourceError(SourceProblem.NOT_FOUND, f"{where} has no files", field)
    if any(wanted(name) and name.endswith(".safetensors") for name in names):
        return
    pickle = next((name for name in names if any(fnmatchcase(name, pattern) for pattern in _PICKLES)), None)
    if pickle is not None:
        message = f"{where} has only pickled weights ({pickle}), which are never loaded; convert them to safetensors"
    else:
        message = f"{where} has no *.safetensors file at its top level"
    raise SourceError(SourceProblem.INVALID, message, field)
