"""What can go wrong, each with the way out and an exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every verb (docs/cli.md)."""

    OK = 0
    FAILED = 1
    """What was asked for can't be done, or a check has failed."""
    USAGE = 2
    """The command line is wrong."""
    NOT_FOUND = 3
    """There is no such object."""
    FORBIDDEN = 4
    """The cluster does not let this person do it."""
    UNREACHABLE = 5
    """The cluster can't be asked."""
    MANAGED_ELSEWHERE = 6
    """The spec lies in Git, and is to be changed there."""
    INTERRUPTED = 130
    """Ended by Ctrl-C."""


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the way out of a mistyped word: the nearest one that is known, or else another way."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}?" if near else otherwise


class GraftError(Exception):
    """Something went wrong; ``fix`` is what the person can do about it."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class Refused(GraftError):
    """What was asked for makes no sense for the object as it is now."""


class NotFound(GraftError):
    """There is no such object, or its kind is not installed."""

    exit_code = ExitCode.NOT_FOUND


class Forbidden(GraftError):
    """The API server does not let this person do it."""

    exit_code = ExitCode.FORBIDDEN


class Unreachable(GraftError):
    """There is no kubeconfig, or the API server does not answer."""

    exit_code = ExitCode.UNREACHABLE


class Conflict(GraftError):
    """The object has changed since it was read."""


class Gone(Unreachable):
    """The API server has forgotten the state that was asked for: everything has to be listed again."""


class ManagedElsewhere(GraftError):
    """A GitOps tool owns the spec and would undo the change."""

    exit_code = ExitCode.MANAGED_ELSEWHERE
