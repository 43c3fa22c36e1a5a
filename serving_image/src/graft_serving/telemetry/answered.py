"""What is noted of one answer of the engine. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer."""

    prompt: int = 0
    completion: int = 0

    def at_least(self, other: "Usage") -> "Usage":
        """The larger number of each: an answer that tells its usage in parts tells what it is so far."""
        return Usage(max(self.prompt, other.prompt), max(self.completion, other.completion))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What one answer of the engine was like.

    Times in seconds, from the moment at which the request was sent to it, without those in which the agent waited for
    the client to read: they are the engine's own.
    """

    status: int
    seconds: float
    first_token_seconds: float | None = None
    """None for an answer that came in one piece."""
    usage: Usage = Usage()
    complete: bool = True
    """False if the engine broke off in the middle, or told an error there."""

    @property
    def failed(self) -> bool:
        """Whether the engine failed, as opposed to a request that was wrong."""
        return self.status >= 500 or not self.complete

    @property
    def seconds_per_token(self) -> float | None:
        """The mean time of a token after the first one; None unless a stream of two or more came to its end."""
        if self.first_token_seconds is None or not self.complete or self.usage.completion < 2:
            return None
        return (self.seconds - self.first_token_seconds) / (self.usage.completion - 1)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever asked, as far as it is known."""

    client: str = ""
    """The same for every request of one API key, or of one address."""
    session: str | None = None
    """What the client itself named it by, and by which it stays with a version."""
