"""The document that says what has become of a version where it was served, or by its gate."""

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from graft_registry.documents.model import Digest, Document

VerdictState = Literal["RolledBack", "Refused", "Rejected", "Cleared"]
"""RolledBack: for what it did while it was served. Refused: by the serving pods. Rejected: by its gate. Cleared:
somebody wants it served all the same."""
_MESSAGE_CHARACTERS: Final = 4096


def _shortened(message: object) -> object:
    return message[:_MESSAGE_CHARACTERS] if isinstance(message, str) else message


class VersionVerdict(Document):
    """What was decided about a version last (``graft.dev/verdict/v1``).

    Unlike the version it may be written anew. It is about the manifest of ``manifest_digest`` alone: where a number was
    given out again, the verdict on the version before says nothing of the new one.
    """

    schema_id: Literal["graft.dev/verdict/v1"] = Field(default="graft.dev/verdict/v1", alias="schema")
    number: Annotated[int, Field(ge=1, le=99_999_999)]
    manifest_digest: Digest
    state: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z]{0,63}$")]
    """One of `VerdictState`, or a word of a later release."""
    message: Annotated[str, BeforeValidator(_shortened)] = ""
    """Why, in words for people; what is longer than 4,096 characters is cut."""
    time: str
    """When it was decided."""
