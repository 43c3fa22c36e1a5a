"""Where the rows of a training come from, what they look like, and which of them are held out."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from graft_operator.api.base_source import HubRepository, HubRevision, RelativePath
from graft_operator.api.meta import ApiModel, Digest, ObjectName

S3Location = Annotated[
    str,
    StringConstraints(
        pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/([A-Za-z0-9!_.*'()=+@-]+/)*[A-Za-z0-9!_.*'()=+@-]*$",
        max_length=1024,
    ),
]
"""An object, or a prefix that ends in a slash."""

SplitName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$", max_length=256)
]

Url = Annotated[
    str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~/-]*)?$", max_length=512)
]


class S3Dataset(ApiModel):
    """Rows in an object of an S3 bucket, or in all objects below a prefix."""

    uri: S3Location
    """``s3://bucket/key`` of a file, or ``s3://bucket/prefix/`` for all files below it, in the order of their keys."""
    digest: Digest | None = None
    """SHA-256 of the object; when given, other content is refused. Of a prefix, see docs/contracts.md."""


class HuggingFaceDataset(ApiModel):
    """Rows in a dataset on the Hugging Face hub, or on a mirror of it."""

    repo: HubRepository
    """Repository, such as ``openai/gsm8k``."""
    revision: HubRevision = "main"
    """Branch, tag or commit, ``main`` if empty. Each training resolves a branch again; versions record the commit."""
    file: RelativePath | None = None
    """Path of the file in the repository."""
    split: SplitName | None = None
    """Split, such as ``test`` or, where several folders have one, ``folder/test``; ``train`` if ``file`` is empty."""
    endpoint: Url | None = None
    """URL of a mirror, which gets no token. Empty:, ``HF_ENDPOINT`` and ``HF_TOKEN`` of the registry's Secret."""

    @model_validator(mode="after")
    def _file_or_split(self) -> HuggingFaceDataset:
        if self.file is not None and self.split is not None:
            raise ValueError("file and split must not both be set")
        return self


class ConfigMapDataset(ApiModel):
    """Rows in a ConfigMap, for small sets."""

    name: ObjectName
    """ConfigMap in the same namespace."""
    key: Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]
    """Key that holds the file, in ``data`` or ``binaryData``."""


class ClaimDataset(ApiModel):
    """Rows on a PersistentVolumeClaim, which is mounted read-only."""

    claim_name: ObjectName
    """Claim in the same namespace; it must be mountable by the training pod."""
    path: RelativePath
    """File below the volume's root, or folder for all files below it, in the order of their paths."""


class DatasetSource(ApiModel):
    """Where rows come from: exactly one of the fields."""

    s3: S3Dataset | None = None
    """One or several objects in an S3 bucket."""
    hugging_face: HuggingFaceDataset | None = None
    """A dataset on the Hugging Face hub."""
    config_map: ConfigMapDataset | None = None
    """A key of a ConfigMap."""
    persistent_volume_claim: ClaimDataset | None = None
    """One or several files on a volume."""

    @model_validator(mode="after")
    def _exactly_one(self) -> DatasetSource:
        given = (self.s3, self.hugging_face, self.config_map, self.persistent_volume_claim)
        if sum(source is not None for source in given) != 1:
            raise ValueError("exactly one of s3, huggingFace, configMap and persistentVolumeClaim must be set")
        return self


COLUMNS: Final = frozenset(
    {
        *("messages", "conversations", "tools", "prompt", "completion", "instruction", "input", "output"),
        *("question", "answer", "response", "context", "system", "history", "reasoning_content", "text"),
        *("chosen", "rejected", "label"),
    }
)
"""Names that the formats know."""

ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=256)]


Columns = Annotated[dict[str, ColumnName], Field(max_length=16)]

RowFormat = Literal["Auto", "Messages", "Alpaca", "ShareGPT", "PromptCompletion", "Text"]
FileType = Literal["Auto", "JSONL", "JSON", "Parquet", "CSV"]

SetWeight = Annotated[
    str,
    StringConstraints(pattern=r"^([1-9][0-9]{0,5}(\.[0-9]{1,6})?|0\.[0-9]{0,5}[1-9][0-9]{0,5})$", max_length=13),
]
"""A number above 0, in quotes: JSON and YAML tools change the spelling of others."""


class MixedDataset(ApiModel):
    """Rows of another set, from exactly one of ``s3``, ``huggingFace`` and ``persistentVolumeClaim``."""

    s3: S3Dataset | None = None
    """One or several objects in an S3 bucket."""
    hugging_face: HuggingFaceDataset | None = None
    """A dataset on the Hugging Face hub."""
    persistent_volume_claim: ClaimDataset | None = None
    """One or several files on a volume."""
    weight: SetWeight = "1"
    """Part of the mix, ``"1"`` if empty: ``"3"`` beside ``"7"`` is as ``"0.3"`` beside ``"0.7"``."""
    format: RowFormat = "Auto"
    """Row format; Auto, as when empty, detects it from the fields of the first row."""
    file_type: FileType = "Auto"
    """Type of the files; Auto, as when empty, detects it from content and name."""
    columns: Columns = Field(default_factory=dict)
    """Maps names of the formats, such as ``prompt``, to the names in the rows, such as ``user_question``."""

    @model_validator(mode="after")
    def _is_one_set(self) -> MixedDataset:
        if sum(source is not None for source in (self.s3, self.hugging_face, self.persistent_volume_claim)) != 1:
            raise ValueError("exactly one of s3, huggingFace and persistentVolumeClaim must be set")
        check_columns(self.columns)
        return self


def check_columns(columns: Mapping[str, str]) -> None:
    """Raise ValueError for a name that no format knows, and for two names of one column."""
    if unknown := sorted(columns.keys() - COLUMNS):
        near = get_close_matches(unknown[0], COLUMNS, n=1)
        fix = f"did you mean {near[0]}?" if near else f"use one of {', '.join(sorted(COLUMNS))}"
        raise ValueError(f"columns.{unknown[0]}: no format knows this name; {fix}")
    if len(set(columns.values())) < len(columns):
        raise ValueError("columns must not give one column two names; remove one")


class Dataset(DatasetSource):
    """The training rows, their format, and what is held out for evaluation."""

    format: RowFormat = "Auto"
    """Row format; Auto detects it from the fields of the first row."""
    file_type: FileType = "Auto"
    """Type of the files; Auto detects it from content and name. JSONL, JSON and CSV may be compressed by gzip."""
    columns: Columns = Field(default_factory=dict)
    """Maps names of the formats, such as ``prompt``, to the names in the rows, such as ``user_question``."""
    max_dropped_percent: int = Field(default=5, ge=0, le=100)
    """Rows that can't be used are left out and counted; above this percentage the training fails before it begins."""
    weight: SetWeight | None = None
    """Part of this first set where others are mixed in: a number in quotes, ``"1"`` if empty."""
    mix: Annotated[list[MixedDataset], Field(max_length=8)] = Field(default_factory=list)
    """Other sets to learn from, mixed with the first. The number of rows taken from each follows its weight."""
    evaluation: DatasetSource | None = None
    """Separate rows for evaluation; when empty a seeded part of the training rows is held out."""
    evaluation_percent: int = Field(default=5, ge=1, le=50)
    """Percentage of the training rows that is held out when ``evaluation`` is empty."""

    @model_validator(mode="after")
    def _columns_are_known(self) -> Dataset:
        check_columns(self.columns)
        if self.weight is not None and not self.mix:
            raise ValueError("weight is the part of the first of several sets; add mix, or remove weight")
        return self

    @property
    def effective_weight(self) -> str:
        """The weight of the first set beside those of ``mix``."""
        return self.weight or "1"
