"""Where an adapter comes from that was trained elsewhere, what becomes of it when the base changes, and what is known
of it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import StringConstraints, model_validator

from graft_operator.api.base_source import Folder, HubRepository, HubRevision, OciReference, S3Uri
from graft_operator.api.conditions import Text, Word
from graft_operator.api.dataset import Url
from graft_operator.api.meta import ApiModel, Digest, LocalObjectReference, ObjectName, StatusModel

Interval = Annotated[
    str, StringConstraints(pattern=r"^([1-9][0-9]{0,3}h([1-9][0-9]?m)?|[1-9][0-9]{0,4}m)$", max_length=8)
]
"""A duration of whole hours and minutes, such as ``1h``, ``90m`` or ``1h30m``: a minute at least."""

DURATION: Final = re.compile(r"(?:(?P<hours>[0-9]+)h)?(?:(?P<minutes>[0-9]+)m)?")


class S3Adapter(ApiModel):
    """An adapter's folder in an S3 bucket."""

    uri: S3Uri
    """``s3://bucket/prefix/`` of the folder that holds adapter_config.json."""


class ClaimAdapter(ApiModel):
    """An adapter's folder on a PersistentVolumeClaim, which is mounted read-only."""

    claim_name: ObjectName
    """Claim in the same namespace; it must be mountable by the pod that imports."""
    path: Folder = ""
    """Folder below the volume's root that holds adapter_config.json; the root when empty."""


class HuggingFaceAdapter(ApiModel):
    """An adapter on the Hugging Face hub, or on a mirror of it."""

    repo: HubRepository
    """Repository, such as ``team/support-lora``."""
    revision: HubRevision = "main"
    """Branch, tag or commit. The version records the commit that it was."""
    path: Folder = ""
    """Folder of the repository that holds adapter_config.json; its top level when empty."""
    endpoint: Url | None = None
    """URL of a mirror, which gets no token. Empty: ``HF_ENDPOINT`` and ``HF_TOKEN`` of the registry's Secret."""


class OciAdapter(ApiModel):
    """An adapter as an OCI artefact, such as ``oras push`` makes one."""

    image: OciReference
    """``registry.example.com/adapters/support:v3``, or the same with a digest instead of the tag."""
    pull_secret_ref: LocalObjectReference | None = None
    """Secret of type kubernetes.io/dockerconfigjson with the registry's login. Pods that read the artefact mount it."""


class AdapterSource(ApiModel):
    """Where the adapter comes from: exactly one of s3, persistentVolumeClaim, huggingFace and oci."""

    s3: S3Adapter | None = None
    """A folder in an S3 bucket."""
    persistent_volume_claim: ClaimAdapter | None = None
    """A folder on a volume."""
    hugging_face: HuggingFaceAdapter | None = None
    """A repository on the Hugging Face hub, or a folder of it."""
    oci: OciAdapter | None = None
    """An OCI artefact."""
    digest: Digest | None = None
    """Digest that the content must have, as shown in ``status.source.digest``; other content is refused."""
    interval: Interval | None = None
    """How often the source is checked, such as ``1h``: new content is a new version. When empty it is read once
    per spec."""
    on_base_change: Literal["Keep", "Import"] = "Keep"
    """Keep: stays on the base that it was imported for, which is served on, or is trained on the new one where there is
    a dataset. Import: the same weights are imported onto the new base, where its gate decides."""

    @property
    def interval_seconds(self) -> float | None:
        """The interval in seconds; None where the source is read once."""
        found = DURATION.fullmatch(self.interval) if self.interval else None
        if found is None:
            return None
        hours, minutes = int(found["hours"] or 0), int(found["minutes"] or 0)
        return timedelta(hours=hours, minutes=minutes).total_seconds()

    @model_validator(mode="after")
    def _exactly_one(self) -> AdapterSource:
        given = (self.s3, self.persistent_volume_claim, self.hugging_face, self.oci)
        if sum(source is not None for source in given) != 1:
            raise ValueError("exactly one of s3, persistentVolumeClaim, huggingFace and oci must be set")
        return self

    @model_validator(mode="after")
    def _content_may_change(self) -> AdapterSource:
        if self.digest is not None and self.interval is not None:
            raise ValueError("interval must be empty with digest: content that may not change is read once; remove one")
        return self


class ImportedVersion(StatusModel):
    """What a version was made from that was trained elsewhere."""

    source_digest: Digest
    """Digest of the source, as its spec named it."""
    digest: Digest
    """Digest of the adapter's content there."""
    revision: Text = ""
    """What the source calls that content: the hub's commit, or the digest of an OCI manifest."""


class SourceStatus(StatusModel):
    """What is known of spec.source."""

    source_digest: Digest
    """Digest of the source, as the spec names it: what is known of another one is forgotten."""
    digest: Digest | None = None
    """Digest of the adapter's content that was found there last."""
    revision: Text = ""
    """What the source calls that content: the hub's commit, or the digest of an OCI manifest."""
    base_digest: Digest | None = None
    """The base that this content was imported for; empty while it was for none."""
    pending_digest: Digest | None = None
    """Digest of other content that looks have found since; it is imported once it has stayed the same for a minute."""
    pending_time: datetime | None = None
    """When a look first found it."""
    checked_time: datetime | None = None
    """When the source was last checked, with spec.source.interval."""
    job: Text = ""
    """UID of the Job that has looked last."""
    reason: Word | None = None
    """Why the last look has failed; empty where it has not."""
    message: Text = ""
    """What was wrong, in words."""
    retry: Text = ""
    """Value of the annotation graft.dev/retry at the last check; another value causes a check at once."""
    pull_secret: Text = ""
    """Name of oci.pullSecretRef at the last look: after a login that was refused another one is tried at once."""
