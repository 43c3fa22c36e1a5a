"""What the router reads from and changes in the body of a request: its `model`, nothing else. Pure.

The body goes to the engine byte for byte, but for the value of `model`: no parameter that this agent has never heard of
is lost, and a long prompt isn't written a second time.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

_BEGIN, _COLON, _COMMA, _END = (re.compile(rf"[ \t\n\r]*{mark}[ \t\n\r]*") for mark in (r"\{", ":", ",", r"\}"))
_DECODER = json.JSONDecoder()


class InvalidBodyError(ValueError):
    """The body is not a request for a generation; the message says what is wrong, for people."""

    def __init__(self, code: str, message: str) -> None:
        """Take the machine-readable code of the error answer, and the message."""
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A body in which `model` has been found."""

    model: str
    user: str | None
    """OpenAI's field `user`: whoever the client asks on behalf of."""
    before: str
    """The body up to the value of `model`."""
    after: str
    """The body from the end of that value."""

    def body_for(self, model: str) -> bytes:
        """The body with another model."""
        return f"{self.before}{json.dumps(model)}{self.after}".encode()


def parse_generation_request(body: bytes) -> GenerationRequest:
    """Find the model in a JSON object.

    The object's members are walked over one by one, each value by the standard decoder, since only so its place in the
    text is known. A member that comes twice would be read differently by different parsers, and a client could name
    one model to the agent and another one to the engine.

    Raises:
        InvalidBodyError: not JSON, not an object, or without exactly one `model` that is a string.
    """
    try:
        text = body.decode()
        members = _members(text)
    except (ValueError, RecursionError) as error:
        raise InvalidBodyError("invalid_json", f"The request body must be a JSON object: {error}") from error
    model, begin, end = members.get("model", (None, 0, 0))
    if not isinstance(model, str):
        raise InvalidBodyError("model_missing", "Set the field model to one of the names of GET /v1/models.")
    user, _, _ = members.get("user", (None, 0, 0))
    return GenerationRequest(
        model=model, user=user if isinstance(user, str) else None, before=text[:begin], after=text[end:]
    )


def _members(text: str) -> dict[str, tuple[Any, int, int]]:
    """Every member of the object with the begin and the end of its value in the text.

    Raises:
        ValueError: the text is not a JSON object, or a name comes twice.
    """
    members: dict[str, tuple[Any, int, int]] = {}
    position = _after(_BEGIN, text, 0)
    end = _END.match(text, position)
    while end is None:
        name, position = _DECODER.raw_decode(text, position)
        if not isinstance(name, str) or name in members:
            raise ValueError(f"{name!r} is not the name of a member, or comes twice")
        begin = _after(_COLON, text, position)
        value, position = _DECODER.raw_decode(text, begin)
        members[name] = (value, begin, position)
        end = _END.match(text, position)
        if end is None:
            position = _after(_COMMA, text, position)
    if end.end() != len(text):
        raise ValueError(f"something follows the object at {end.end()}")
    return members


def _after(mark: re.Pattern[str], text: str, position: int) -> int:
    """The position of what follows the mark, which must come next."""
    found = mark.match(text, position)
    if found is None:
        raise ValueError(f"unexpected text at {position}")
    return found.end()
