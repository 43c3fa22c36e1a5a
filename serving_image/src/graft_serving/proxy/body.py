"""What the router reads from and changes in the body of a request: its `model`, nothing else. Pure.

The body's members are found without building their values, and are written out again one by one as they came, so no
parameter that this agent has never heard of is lost, and the engine reads the very members that the agent has read: of
a name that comes twice both take the last one.
"""

import codecs
import hashlib
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Final

import msgspec

MOST_MEMBERS: Final = 256
"""Of the object itself; OpenAI's longest request has about 40, and vLLM adds another 40."""
LONGEST_MODEL: Final = 512
"""Characters of a name. No adapter's has more than 253, and `@v` with the number of a version."""
LONGEST_USER: Final = 1024
"""Characters that are taken as they are. Each pod and version that may answer is chosen by a digest of them."""
_READ_TEXT: Final = msgspec.json.Decoder(str)
_WRITE: Final = msgspec.json.Encoder()


class InvalidBodyError(ValueError):
    """The body is not a request that names a model; the message says what is wrong, for people."""

    def __init__(self, code: str, message: str) -> None:
        """Take the machine-readable code of the error answer, and the message."""
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class RequestBody:
    """A body in which `model` has been found."""

    model: str
    user: str | None
    """OpenAI's field `user`: whoever the client asks on behalf of; of a long one its digest."""
    members: MutableMapping[str, msgspec.Raw]

    def naming(self, model: str) -> bytes:
        """The body with this model."""
        return _WRITE.encode({**self.members, "model": model})


def parse_body(body: bytes) -> RequestBody:
    """Find the model in a JSON object. Takes about 1 ms for a MiB of text.

    Raises:
        InvalidBodyError: not JSON, not an object, with too many members, or without a `model` that may be a name.
    """
    try:
        # RFC 8259 (8.1) allows to ignore it, and engines do.
        body = body.removeprefix(codecs.BOM_UTF8)
        # Values that nobody looks at here may hold anything but broken text: whatever reads it later must be able to.
        str(body, "utf-8")
        named = msgspec.json.decode(body, type=dict[_Name, msgspec.Raw], dec_hook=_Names().add)
    except (ValueError, RecursionError) as error:
        raise InvalidBodyError("invalid_json", f"The request body must be a JSON object: {error}") from error
    members: dict[str, msgspec.Raw] = {str(name): value for name, value in named.items()}
    model = _text(members.get("model"))
    if model is None:
        raise InvalidBodyError("model_missing", "Set the field model to one of the names of GET /v1/models.")
    if len(model) > LONGEST_MODEL:
        # Before anybody looks for it: a name of 4 MiB takes its time, and would be quoted in the answer.
        message = f"No name of GET /v1/models has more than {LONGEST_MODEL} characters, and model has {len(model)}."
        raise InvalidBodyError("model_not_found", message)
    return RequestBody(model=model, user=_user(members.get("user")), members=members)


class _Name(str):
    """A member's name. A type of its own, since only for such ones the decoder asks."""

    __slots__ = ()


class _Names:
    """Counts the names while they are read: what would be refused in the end is not read to its end."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, _: type[_Name], name: str) -> _Name:
        self._count += 1
        if self._count > MOST_MEMBERS:
            raise ValueError(f"it has more than {MOST_MEMBERS} members")
        return _Name(name)


def _user(value: msgspec.Raw | None) -> str | None:
    user = _text(value)
    if user is None or len(user) <= LONGEST_USER:
        return user
    return hashlib.sha256(user.encode()).hexdigest()


def _text(value: msgspec.Raw | None) -> str | None:
    try:
        return None if value is None else _READ_TEXT.decode(value)
    except ValueError:
        return None
