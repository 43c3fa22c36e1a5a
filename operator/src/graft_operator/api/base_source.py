"""Where a base comes from, and the names of places that the sources of adapters and rows share."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints, model_validator

from graft_operator.api.meta import ApiModel, ObjectName

S3Uri = Annotated[
    str,
    StringConstraints(pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()=+@-]+)*/?$", max_length=1024),
]
RelativePath = Annotated[
    str,
    StringConstraints(
        pattern=r"^([A-Za-z0-9_@+=-][A-Za-z0-9._@+=-]*)(/[A-Za-z0-9_@+=-][A-Za-z0-9._@+=-]*)*$",
        max_length=512,
    ),
]
"""A path below a volume's root: no leading slash, no segment that begins with a dot."""
Folder = Annotated[
    str,
    StringConstraints(
        pattern=r"^(([A-Za-z0-9_@+=-][A-Za-z0-9._@+=-]*)(/[A-Za-z0-9_@+=-][A-Za-z0-9._@+=-]*)*)?$",
        max_length=512,
    ),
]
"""A folder below a root; empty for the root itself. No leading slash, no segment that begins with a dot."""

OciReference = Annotated[
    str,
    StringConstraints(
        pattern=(
            r"^((([A-Za-z0-9-]+\.)+[A-Za-z0-9-]+|localhost)(:[0-9]{1,5})?|[A-Za-z0-9-]+:[0-9]{1,5})"
            r"(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"
            r"(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?$"
        ),
        max_length=512,
    ),
]
"""``host/repository:tag`` or ``host/repository@sha256:…``. No host is assumed, as Docker does for short names."""

HubRepository = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?$", max_length=192)]
HubRevision = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./-]+$", max_length=128)]


class HuggingFaceSource(ApiModel):
    """A model repository on the Hugging Face hub, or on a mirror of it."""

    repo: HubRepository
    """Repository, such as ``mistralai/Mistral-7B-v0.3``."""
    revision: HubRevision = "main"
    """Branch, tag or commit. It is resolved once to a commit; change it to bump the base."""


class S3Source(ApiModel):
    """A model directory in an S3 bucket."""

    uri: S3Uri
    """``s3://bucket/prefix`` of the directory that holds config.json."""


class ClaimSource(ApiModel):
    """A model directory on a PersistentVolumeClaim; pods mount it read-only, nothing is copied."""

    claim_name: ObjectName
    """Claim in the same namespace; it must be mountable by every pod that needs the base (ROX or RWX)."""
    path: RelativePath
    """Directory below the volume's root that holds config.json."""


class ImageSource(ApiModel):
    """A model directory in an OCI image, which the cluster mounts as an image volume; it is read once and copied."""

    reference: OciReference
    """``registry.example.com/models/qwen:v1``, or with a digest. A tag is read once; name another to bump the base."""
    path: Folder = ""
    """Folder of the image that holds config.json; the image's root when empty."""


class BaseSource(ApiModel):
    """Where the base comes from: exactly one of the fields."""

    hugging_face: HuggingFaceSource | None = None
    """A repository on the Hugging Face hub."""
    s3: S3Source | None = None
    """A directory in an S3 bucket."""
    persistent_volume_claim: ClaimSource | None = None
    """A directory on a volume."""
    image: ImageSource | None = None
    """A directory in an OCI image, where the cluster has image volumes."""

    @model_validator(mode="after")
    def _exactly_one(self) -> BaseSource:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("exactly one of huggingFace, s3, persistentVolumeClaim and image must be set")
        return self
