"""What every document has in common: spelling, immutability, canonical bytes."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from graft_registry.digests import canonical_json

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
"""``sha256:<64 lowercase hex>``."""

Sha256Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""The 64 lowercase hex digits of a SHA-256, without the prefix."""

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

        Raises:
            pydantic.ValidationError: not JSON, another schema, or a field that is missing or wrong.
        """
        return cls.model_validate_json(data)


class StoredFile(Document):
    """One file of a version, base or checkpoint: where it goes, how long it is, and what it hashes to."""

    path: Annotated[str, AfterValidator(relative_path)]
    size: Annotated[int, Field(ge=0)]
    sha256: Sha256Hex


def timestamp(moment: datetime | None = None) -> str:
    """Return RFC 3339 UTC with ``Z`` in whole seconds, of now by default."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
