"""Manifests and indexes of artifacts, in the forms that registries hold, and which entry of an index is meant. Pure."""

import platform
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError, model_validator

from graft_registry.documents.model import Digest, complaint
from graft_registry.errors import InvalidArtifact

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
ACCEPT: Final = ", ".join(
    (
        OCI_MANIFEST,
        OCI_INDEX,
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        # Of the releases of ORAS and the specification before 1.1.
        "application/vnd.oci.artifact.manifest.v1+json",
    )
)
_MOST_LAYERS: Final = 1000
_ATTESTATION: Final = "vnd.docker.reference.type"
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_left_out(cls, document: Any) -> Any:
        """Some programs write what they leave out as null."""
        if not isinstance(document, Mapping):
            return document
        return {name: value for name, value in document.items() if value is not None}


class Platform(_Model):
    """What an entry of an index runs on."""

    os: str = ""
    architecture: str = ""
    variant: str = ""


class Descriptor(_Model):
    """A blob or manifest: what it is, how long, and its digest."""

    media_type: str = Field(default="", alias="mediaType")
    digest: Digest
    size: Annotated[int, Field(ge=0)]
    annotations: dict[str, Any] | None = None
    platform: Platform | None = None
    artifact_type: str | None = Field(default=None, alias="artifactType")

    def annotation(self, *names: str) -> str | None:
        """Return the first annotation that is there. What is no text is none, whatever else stands beside it."""
        values = ((self.annotations or {}).get(name) for name in names)
        return next((value for value in values if isinstance(value, str)), None)


Descriptors = Annotated[tuple[Descriptor, ...], FailFast(), Field(max_length=_MOST_LAYERS)]


class Manifest(_Model):
    """The layers of one artifact or image, and what it says that it is."""

    media_type: str = Field(default="", alias="mediaType")
    artifact_type: str | None = Field(default=None, alias="artifactType")
    config: Descriptor | None = None
    layers: Descriptors

    @property
    def kind(self) -> str:
        """What the artifact is, in its own words."""
        return self.artifact_type or (self.config.media_type if self.config else "") or self.media_type


class Index(_Model):
    """Manifests of which one is meant."""

    manifests: Descriptors


def parse_manifest(document: Mapping[str, Any], *, where: str) -> Manifest | Index:
    """Read a manifest or an index by what it holds: media types are left out, or wrong, too often.

    Raises:
        InvalidArtifact: it is neither.
    """
    if "fsLayers" in document:
        raise InvalidArtifact(f"{where} is an image in Docker's first form; push it again with a newer client")
    content = dict(document)
    if "blobs" in content and "layers" not in content:
        content["layers"] = content["blobs"]
    kind = Index if "manifests" in content else Manifest
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise InvalidArtifact(f"{where} is not a manifest that can be read: {complaint(error)}") from error


def meant_entry(index: Index, *, where: str) -> Descriptor:
    """Return the entry of an index that holds the adapter: the only one, or that for this machine's platform.

    Of several variants of a platform that is the one which runs on all its machines, and so the same one wherever it is
    asked for.

    Raises:
        InvalidArtifact: there is none, or it isn't clear which one.
    """
    entries = [entry for entry in index.manifests if not _is_attestation(entry)]
    if not entries:
        raise InvalidArtifact(f"{where} is an index without entries")
    machine = platform.machine()
    suiting = [entry for entry in entries if _runs_on(entry, _MACHINES.get(machine, machine))]
    for found in (entries, suiting, [entry for entry in entries if _runs_on(entry, "amd64")]):
        plainest = _plainest(found) if found is not entries else found
        if len({entry.digest for entry in plainest}) == 1:
            return plainest[0]
    raise InvalidArtifact(f"{where} is an index of several artifacts; name one by its digest: {_listed(entries)}")


def _is_attestation(entry: Descriptor) -> bool:
    return entry.annotation(_ATTESTATION) is not None or (
        entry.platform is not None and entry.platform.os == "unknown" and entry.platform.architecture == "unknown"
    )


def _runs_on(entry: Descriptor, architecture: str) -> bool:
    return entry.platform is not None and (entry.platform.os, entry.platform.architecture) == ("linux", architecture)


def _plainest(entries: Sequence[Descriptor]) -> Sequence[Descriptor]:
    """Return the entries of the least variant, such as ``v1`` before ``v3``; without one it is for all machines."""
    least = min((_variant(entry) for entry in entries), default=0)
    return [entry for entry in entries if _variant(entry) == least]


def _variant(entry: Descriptor) -> int:
    number = re.fullmatch(r"v(\d{1,3})", entry.platform.variant if entry.platform else "")
    return int(number[1]) if number else 0


def _listed(entries: Sequence[Descriptor]) -> str:
    return ", ".join(entry.digest for entry in entries[:5]) + (", …" if len(entries) > 5 else "")
