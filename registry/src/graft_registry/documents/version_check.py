"""The document that says whether a version is still what was published: object by object."""

from typing import Annotated, Literal

from pydantic import Field

from graft_registry.documents.model import Document

ObjectVerdict = Literal["Same", "Differs", "Missing", "NotAllowed"]
"""NotAllowed: the manifest names a file that no version may contain, so it was not read."""


class CheckedObject(Document):
    """One object of the store, and what was found under its key."""

    key: str
    path: str
    """In the version; ``manifest.json`` for the manifest itself."""
    size: int | None = None
    """Bytes that the manifest tells; null for the manifest."""
    expected: str | None = None
    """The SHA-256, or what else was to be there; null for a manifest whose digest nobody has told."""
    found: str | None = None
    """The SHA-256 of what was read, or what was found instead; null for what is missing or was not read."""
    verdict: ObjectVerdict


class VersionCheck(Document):
    """What was found of one version (``graft.dev/version-check/v1``)."""

    schema_id: Literal["graft.dev/version-check/v1"] = Field(default="graft.dev/version-check/v1", alias="schema")
    namespace: str
    adapter: str
    number: Annotated[int, Field(ge=1)]
    digest: str | None = None
    """Of the manifest as stored; null where it can't be read as one."""
    base_digest: str | None = None
    """Of the base that the manifest names."""
    objects: tuple[CheckedObject, ...]

    @property
    def is_whole(self) -> bool:
        """Whether everything is what was published."""
        return all(found.verdict == "Same" for found in self.objects)

    @property
    def damaged(self) -> tuple[CheckedObject, ...]:
        """What is not."""
        return tuple(found for found in self.objects if found.verdict != "Same")
