"""What every document has in common: spelling, immutability, canonical bytes."""

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, FailFast, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import InitErrorDetails, PydanticCustomError

from graft_registry.digests import canonical_json


def entries_are(what: str, is_one: Callable[[Any], bool]) -> BeforeValidator:
    """Refuse an object at the first of its values that is not ``what``, instead of keeping an error for each."""

    def check(value: Any) -> Any:
        if isinstance(value, dict):
            for key, item in value.items():
                if not is_one(item):
                    raise ValueError(f"{str(key)[:100]!r}: not {what}")
        return value

    return BeforeValidator(check)


def is_whole(value: object) -> bool:
    """Whether a value is a whole number. Pure."""
    return isinstance(value, int) and not isinstance(value, bool)


Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
"""``sha256:<64 lowercase hex>``."""

Sha256Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""The 64 lowercase hex digits of a SHA-256, without the prefix."""

_MOST_CONTAINERS: Final = 250_000
"""Arrays and objects of one document. The most that are meant are the modules of a mixture of 256 experts, some 50,000.
A document of nothing but ``[],`` costs twenty times its size in memory."""

_HALF_A_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")
"""Of a pair, or alone: then it is no text that anything could be written with."""

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")


def relative_path(path: str) -> str:
    """Accept a path only if it can't leave the directory that it is joined to.

    Raises:
        ValueError: absolute, hidden, ``..``, empty segments, or characters beyond letters, digits and ``._+-``.
    """
    segments = path.split("/")
    if len(path) > 512 or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise ValueError(f"not a plain relative path: {path!r}")
    return path


class Document(BaseModel):
    """Base of every document: frozen, camelCase outside, unknown fields ignored for later schema additions."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    def to_dict(self) -> dict[str, Any]:
        """Return the document as JSON-compatible values under its outside (camelCase) names."""
        return self.model_dump(mode="json", by_alias=True)

    def to_bytes(self) -> bytes:
        """Return the canonical JSON, the form that is stored and that digests are taken over."""
        return canonical_json(self.to_dict())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Parse stored bytes.

        They are parsed first and looked at afterwards: pydantic's own parser keeps a copy of the text for each field
        that is wrong. What Python's parser takes and no document can be written with is not JSON: it would be an error
        of whoever passes it on.

        Raises:
            pydantic.ValidationError: not JSON, another schema, or a field that is missing or wrong.
        """
        if data.count(b"[") + data.count(b"{") > _MOST_CONTAINERS:
            raise _unusable(cls, f"more than {_MOST_CONTAINERS} arrays and objects")
        try:
            content = json.loads(data, parse_float=_finite, parse_constant=_finite)
            if _HALF_A_CHARACTER.search(data):
                canonical_json(content)
        except (ValueError, RecursionError) as error:
            raise _unusable(cls, f"not JSON: {error}") from None
        return cls.model_validate(content)


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:20]} is no number")
    return value


def _unusable(kind: type[Document], why: str) -> ValidationError:
    """Return the error of a document that no field is to blame for."""
    details = InitErrorDetails(type=PydanticCustomError("document", "{why}", {"why": why}), input=None)
    return ValidationError.from_exception_data(kind.__name__, [details])


def complaint(error: ValidationError) -> str:
    """Return the first of what is wrong with a document in a few words, and how much else is."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(map(str, first["loc"]))
    others = error.error_count() - 1
    return f"{f'{field}: ' if field else ''}{first['msg'][:300]}{f', and {others} more' if others else ''}"


class StoredFile(Document):
    """One file of a version, base or checkpoint: where it goes, how long it is, and what it hashes to."""

    path: Annotated[str, AfterValidator(relative_path)]
    size: Annotated[int, Field(ge=0)]
    sha256: Sha256Hex


StoredFiles = Annotated[tuple[StoredFile, ...], FailFast()]
"""Files of one version, base or checkpoint. As with every list, the first that is wrong is told, and no more."""


def timestamp(moment: datetime | None = None) -> str:
    """Return RFC 3339 UTC with ``Z`` in whole seconds, of now by default."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
