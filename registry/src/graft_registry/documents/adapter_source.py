"""Where an adapter comes from that was trained elsewhere, and what was found there."""

from typing import Annotated

from pydantic import Field

from graft_registry.documents.base import OneOf, S3Source
from graft_registry.documents.model import Digest, Document


class AdapterDirectory(Document):
    """A directory that is mounted at ``path``; ``uri`` tells where it comes from."""

    path: Annotated[str, Field(min_length=1)]
    uri: Annotated[str, Field(min_length=1)]

    @property
    def path_in_volume(self) -> str:
        """The folder below the volume's root, as ``uri`` says it: ``persistentVolumeClaim:claim/folder``."""
        return self.uri.partition("/")[2]


class AdapterRepository(Document):
    """A repository on a Hugging Face hub, or a folder ``path`` of it; ``endpoint`` is null for the usual hub."""

    repo: Annotated[str, Field(min_length=1)]
    revision: Annotated[str, Field(min_length=1)] = "main"
    path: str | None = None
    endpoint: str | None = None


class AdapterImage(Document):
    """An OCI artifact, by tag or by digest."""

    image: Annotated[str, Field(min_length=1)]


class AdapterSource(OneOf):
    """The user's description of where an adapter comes from, without credentials."""

    s3: S3Source | None = None
    directory: AdapterDirectory | None = None
    hugging_face: AdapterRepository | None = None
    oci: AdapterImage | None = None


class FoundBefore(Document):
    """What an earlier look has found at a revision, which is never other content."""

    revision: str
    digest: Digest


class ImportedFrom(Document):
    """Where a version was imported from, instead of being trained.

    ``revision`` is the hub's commit or the artifact's digest, null where the content itself is the revision;
    ``digest`` that of canonical ``[[path, sha256], …]`` of configuration and weights. ``base_model_name_or_path`` is
    what the adapter itself calls its base.
    """

    source: AdapterSource
    revision: str | None = None
    digest: Digest
    base_model_name_or_path: str | None = None
