"""What can go wrong in the agent, sorted by what has to happen next."""

import re
from typing import Final

MOST_CHARACTERS: Final = 1024
"""Of a message. It may quote an engine or a file, and goes into the log, into conditions, and into a document that the
operator takes for no answer at all if one adapter's part of it is too long."""
_CUT: Final = " […] "
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def shortened(text: str) -> str:
    """The text as it may be told: what is too much is left out of its middle, since the advice stands at its end."""
    if len(text) > MOST_CHARACTERS:
        end = MOST_CHARACTERS // 4
        text = text[: MOST_CHARACTERS - len(_CUT) - end] + _CUT + text[-end:]
    return _UNPRINTABLE.sub("?", text)


class AgentError(Exception):
    """Base of the agent's own errors."""

    def __init__(self, message: str) -> None:
        """Take the message for people, shortened."""
        super().__init__(shortened(message))


class WantedSetError(AgentError):
    """The wanted set can't be applied; the former one stays in force until the operator writes a better one."""


class RefusedError(AgentError):
    """This version must not be served here. Final until the wanted set names another version.

    What the engine refused, and neither its files nor its answers, is tried again on an engine that was started anew.
    """

    def __init__(self, reason: str, message: str, *, by_engine: bool = False) -> None:
        """Take the CamelCase reason for the agent's state, the message for people, and whether the engine said so."""
        super().__init__(message)
        self.reason = reason
        self.by_engine = by_engine


class RetryableError(AgentError):
    """Something outside the version failed; the same step may well succeed later."""

    def __init__(self, reason: str, message: str) -> None:
        """Take the CamelCase reason that goes into the agent's state, and the message for people."""
        super().__init__(message)
        self.reason = reason


class EngineUnreachableError(AgentError):
    """The engine did not answer."""


class EngineTimeoutError(EngineUnreachableError):
    """The engine took too long; it may only be busy."""


class EngineRejectedError(AgentError):
    """The engine answered a request of the agent with an error status."""

    def __init__(self, status: int, message: str) -> None:
        """Take the HTTP status and the engine's own words."""
        super().__init__(f"the engine answered {status}: {message}")
        self.status = status

    @property
    def is_final(self) -> bool:
        """Whether the engine would say the same of the same request again: it was wrong."""
        return 400 <= self.status < 500 and self.status not in _PASSING


_PASSING: Final = frozenset({404, 408, 409, 425, 429})
"""Statuses below 500 that depend on the moment: a model that is not there any more, an engine with too much to do."""
