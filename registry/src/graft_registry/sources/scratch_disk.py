"""The disk of the pod that reads a source, and what is said where it is full."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from graft_registry.sources.source_files import SourceError, SourceProblem

RESOURCES_FIELD: Final = "spec.pod.resources"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_full(error: BaseException | None) -> bool:
    """Return whether an error says that there is no room to write. Nothing is ever written to a source."""
    return isinstance(error, OSError) and error.errno in _FULL


@contextmanager
def naming_a_full_disk(field: str = RESOURCES_FIELD) -> Iterator[None]:
    """Say of a file that finds no room that it is this pod's disk, not the source; another node may have more.

    Raises:
        SourceError: there was no room; ``field`` of the spec asks for some.
    """
    try:
        yield
    except (OSError, SourceError) as error:
        if not is_full(error) and not is_full(error.__cause__):
            raise
        message = (
            f"the disk of the pod that reads the source is full ({error}): let {field} request the "
            "ephemeral-storage that its files take twice"
        )
        raise SourceError(SourceProblem.UNAVAILABLE, message, field) from error
