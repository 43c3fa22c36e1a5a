"""The part of the run document that says where rows come from, what they look like, and which are held out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from graft_trainer.config_model import ConfigModel, NumberString

Weight = Annotated[NumberString, Field(gt=0.0)]


class S3Source(ConfigModel):
    """One object of a bucket that the registry's credentials can read, or all below a prefix that ends in ``/``."""

    uri: str = Field(pattern=r"^s3://[^/]+/.*$")


class FileSource(ConfigModel):
    """A file or folder that is mounted into the pod; ``uri`` tells where it comes from."""

    path: Path = Field(strict=False)
    uri: str


class HubSource(ConfigModel):
    """One file of a dataset on a Hugging Face hub, or all files of a split (``train`` where neither is named)."""

    repo: str = Field(min_length=1)
    revision: str = "main"
    file: str | None = None
    split: str | None = None
    endpoint: str | None = None


class DataSource(ConfigModel):
    """Exactly one of the places where rows may come from."""

    s3: S3Source | None = None
    file: FileSource | None = None
    hugging_face: HubSource | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> DataSource:
        if sum(source is not None for source in (self.s3, self.file, self.hugging_face)) != 1:
            raise ValueError("set exactly one of s3, file and huggingFace")
        return self


class HeldOut(ConfigModel):
    """The rows that are never trained on: a seeded share of the dataset, or a source of their own."""

    split_percent: int | None = Field(default=None, ge=0, le=50)
    source: DataSource | None = None
    digest: str | None = None


class RowShape(ConfigModel):
    """What the rows of one set look like.

    ``columns`` maps names that the formats know, such as ``prompt``, to the names that the set has for them.
    """

    format: Literal["Auto", "Messages", "Alpaca", "ShareGPT", "PromptCompletion", "Text"] = "Auto"
    file_type: Literal["Auto", "JSONL", "JSON", "Parquet", "CSV"] = "Auto"
    columns: dict[str, str] = Field(default_factory=dict)


class MixedSet(RowShape):
    """A set that is mixed with the first one: its part of the rows is its ``weight`` of all weights."""

    source: DataSource
    weight: Weight
    digest: str | None = None


class DatasetConfig(RowShape):
    """The rows. A ``digest``, where set, is what the bytes of its source have to hash to.

    ``weight`` is that of the first set, beside those of ``mix``; alone a set is taken whole.
    """

    source: DataSource
    weight: Weight = 1.0
    mix: list[MixedSet] = Field(default_factory=list)
    max_dropped_percent: int = Field(default=5, ge=0, le=100)
    digest: str | None = None
    evaluation: HeldOut = HeldOut()


@dataclass(frozen=True, slots=True, kw_only=True)
class SetsIdentity:
    """Which rows a run is about: URI and digest of each of its sets, and of rows of their own for evaluation."""

    training: tuple[tuple[str, str], ...]
    evaluation: tuple[str, str] | None


def pinned_sets(config: DatasetConfig) -> SetsIdentity | None:
    """Return which rows a run is about where that is known without them: they lie in S3, and have a given digest."""
    mixed = (_pinned(one.source, one.digest) for one in config.mix)
    training = [_pinned(config.source, config.digest), *mixed]
    own = config.evaluation
    evaluation = _pinned(own.source, own.digest) if own.source is not None else None
    known = tuple(one for one in training if one is not None)
    if len(known) < len(training) or (own.source is not None and evaluation is None):
        return None
    return SetsIdentity(training=known, evaluation=evaluation)


def _pinned(source: DataSource, digest: str | None) -> tuple[str, str] | None:
    return (source.s3.uri, digest) if source.s3 is not None and digest is not None else None
