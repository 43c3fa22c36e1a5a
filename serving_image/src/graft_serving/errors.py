"""What can go wrong in the agent, sorted by what has to happen next."""


class AgentError(Exception):
    """Base of the agent's own errors."""


class WantedSetError(AgentError):
    """The wanted set can't be applied; the former one stays in force until the operator writes a better one."""


class RefusedError(AgentError):
    """This version must never be served here. Final until the wanted set names another version."""

    def __init__(self, reason: str, message: str) -> None:
        """Take the CamelCase reason that goes into the agent's state, and the message for people."""
        super().__init__(message)
        self.reason = reason


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
