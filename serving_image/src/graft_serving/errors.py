"""What can go wrong in the agent, sorted by what has to happen next."""

from typing import Final


class AgentError(Exception):
    """Base of the agent's own errors."""


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
