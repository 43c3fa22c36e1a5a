"""Where the rows of a training come from, what they look like, and which of them are held out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from graft_operator.api.base_model import ClaimSource, S3Uri
from graft_operator.api.meta import ApiModel, Digest, ObjectName


class S3Dataset(ApiModel):
    """Rows in one object of an S3 bucket."""

    uri: S3Uri
    """``s3://bucket/key`` of a JSONL file."""
    digest: Digest | None = None
    """SHA-256 of the object; when given, other content is refused."""


class ConfigMapDataset(ApiModel):
    """Rows in a ConfigMap, for small sets."""

    name: ObjectName
    """ConfigMap in the same namespace."""
    key: Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]
    """Key that holds the JSONL text."""


class DatasetSource(ApiModel):
    """Where rows come from: exactly one of the fields."""

    s3: S3Dataset | None = None
    """An object in an S3 bucket."""
    config_map: ConfigMapDataset | None = None
    """A key of a ConfigMap."""
    persistent_volume_claim: ClaimSource | None = None
    """A JSONL file on a volume."""

    @model_validator(mode="after")
    def _exactly_one(self) -> DatasetSource:
        given = (self.s3, self.config_map, self.persistent_volume_claim)
        if sum(source is not None for source in given) != 1:
            raise ValueError("exactly one of s3, configMap and persistentVolumeClaim must be set")
        return self


class Dataset(DatasetSource):
    """The training rows, their format, and what is held out for evaluation."""

    format: Literal["Auto", "Messages", "PromptCompletion", "Text"] = "Auto"
    """Row format; Auto tells it from the fields of the first row."""
    evaluation: DatasetSource | None = None
    """Rows of their own for evaluation; when empty a seeded part of the training rows is held out."""
    evaluation_percent: int = Field(default=5, ge=1, le=50)
    """Percentage of the training rows that is held out when ``evaluation`` is empty."""
