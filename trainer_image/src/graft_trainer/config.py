"""The run document `graft.dev/run/v1`: what to train, as the operator decided it.

Parsing is strict: a key that the trainer does not know, or a value of the wrong type, is an error that names the
field of the LoraAdapter. Nothing after this module validates configuration again.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from graft_registry.config import RegistryConfig
from graft_trainer.outcome import InvalidConfigError

NUMBER_PATTERN = re.compile(r"\d+(\.\d+)?([eE][-+]?\d+)?")


def parse_number_string(value: Any) -> float:
    """Read a non-negative number that is written as a string, such as ``"2e-4"``.

    The API has no floats: JSON and YAML tools change their spelling, which would change the recipe digest.
    """
    if not isinstance(value, str) or not NUMBER_PATTERN.fullmatch(value):
        raise ValueError('must be a number in quotes, such as "2e-4"')
    return float(value)


NumberString = Annotated[float, BeforeValidator(parse_number_string)]
Ratio = Annotated[NumberString, Field(ge=0.0, le=1.0)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel)


class BaseReference(_Document):
    """The base model, already fetched and verified by the init container."""

    name: str
    digest: str
    path: Path = Field(strict=False)


class S3Source(_Document):
    """One object of a bucket that the registry's credentials can read."""

    uri: str = Field(pattern=r"^s3://[^/]+/.+$")


class FileSource(_Document):
    """A file that is mounted into the pod; ``uri`` tells where it comes from."""

    path: Path = Field(strict=False)
    uri: str


class DataSource(_Document):
    """Exactly one of the places where rows may come from."""

    s3: S3Source | None = None
    file: FileSource | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> DataSource:
        if (self.s3 is None) == (self.file is None):
            raise ValueError("set exactly one of s3 and file")
        return self


class HeldOut(_Document):
    """The rows that are never trained on: a seeded share of the dataset, or a source of their own."""

    split_percent: int | None = Field(default=None, ge=0, le=50)
    source: DataSource | None = None


class DatasetConfig(_Document):
    """The rows. ``digest``, where set, is what their bytes have to hash to."""

    source: DataSource
    format: Literal["Auto", "Messages", "Alpaca", "ShareGPT", "PromptCompletion", "Text"] = "Auto"
    digest: str | None = None
    evaluation: HeldOut = HeldOut()


class LoraHyperparameters(_Document):
    """The shape of the adapter. ``target_modules`` of ``["all-linear"]`` means every linear layer but the head."""

    rank: int = Field(ge=1, le=512)
    alpha: int = Field(ge=1)
    dropout: Annotated[NumberString, Field(ge=0.0, lt=1.0)]
    target_modules: list[str] = Field(min_length=1)
    bias: Literal["None"] = "None"


class TrainingHyperparameters(_Document):
    """The optimisation. Steps are optimiser steps; ``batch_size`` is per device and micro-batch, in rows."""

    epochs: int = Field(ge=1)
    max_steps: int | None = Field(default=None, ge=1)
    batch_size: int = Field(ge=1)
    gradient_accumulation: int = Field(ge=1)
    learning_rate: Annotated[NumberString, Field(gt=0.0)]
    schedule: Literal["Cosine", "Linear", "Constant"]
    warmup_ratio: Ratio
    weight_decay: NumberString
    max_grad_norm: NumberString
    max_sequence_length: int = Field(ge=8)
    packing: Literal[False]
    seed: int = Field(ge=0, lt=2**32)
    precision: Literal["Auto", "Float32", "BFloat16"]
    eval_steps: int = Field(ge=1)
    early_stopping_patience: int | None = Field(default=None, ge=1)
    checkpoint_seconds: int = Field(ge=1)
    logging_steps: int = Field(ge=1)
    gradient_checkpointing: bool


class Probe(_Document):
    """A question with the one answer that counts as right."""

    prompt: str
    expected: str


class EvaluationConfig(_Document):
    """What the finished adapter is asked. ``max_probe_rows`` bounds the greedy answers per model."""

    probes: list[Probe] = []
    max_probe_rows: int = Field(default=64, ge=1, le=4096)


class RunConfig(_Document):
    """One training run."""

    schema_: Literal["graft.dev/run/v1"] = Field(alias="schema")
    namespace: str
    adapter: str
    uid: str
    generation: int
    recipe: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    reason: Literal["SpecChanged", "BaseModelChanged", "DataChanged", "RankDoubled", "Imported"]
    parent: int | None
    image: str
    registry: RegistryConfig = Field(strict=False)
    base: BaseReference
    dataset: DatasetConfig
    method: Literal["LoRA", "QLoRA", "RsLoRA"]
    lora: LoraHyperparameters
    training: TrainingHyperparameters
    evaluation: EvaluationConfig = EvaluationConfig()


def read_run_config(path: Path) -> RunConfig:
    """Read and check the run document.

    Raises InvalidConfigError with the first offending field, as the user of the LoraAdapter knows it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidConfigError(f"cannot read the run document: {error}") from error
    try:
        return RunConfig.model_validate_json(text)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        field = spec_field(first["loc"])
        more = f" (and {len(others)} more)" if others else ""
        raise InvalidConfigError(f"{field}: {_explain(first['type'], first['msg'])}{more}", field=field) from error


def spec_field(location: tuple[int | str, ...]) -> str:
    """Name the LoraAdapter's field for a place in the run document, such as ``spec.training.learningRate``."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return f"spec{path}" if path else "spec"


def _explain(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "unknown key; remove it or check its spelling"
    return message.removeprefix("Value error, ")
