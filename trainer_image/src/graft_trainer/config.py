"""The run document `graft.dev/run/v1`: what to train, as the operator decided it.

Parsing is strict: a key that the trainer does not know, or a value of the wrong type, is an error that names the
field of the LoraAdapter. Nothing after this module validates configuration again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.alias_generators import to_camel

from graft_registry.config import RegistryConfig
from graft_registry.documents import AdapterSource
from graft_trainer.methods.table import METHODS, MethodName, can_be_merged
from graft_trainer.outcome import InvalidConfigError
from graft_trainer.spelled_values import DigestString, NumberString, Ratio

Objective = Literal["SFT", "DPO", "KTO"]
"""What is learned: answers word for word, which of two is better, or which are wanted."""


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel)


class BaseReference(_Document):
    """The base model, already fetched and verified by the init container."""

    name: str
    digest: str
    path: Path = Field(strict=False)


class S3Source(_Document):
    """One object of a bucket that the registry's credentials can read, or all below a prefix that ends in ``/``."""

    uri: str = Field(pattern=r"^s3://[^/]+/.*$")


class FileSource(_Document):
    """A file or folder that is mounted into the pod; ``uri`` tells where it comes from."""

    path: Path = Field(strict=False)
    uri: str


class HubSource(_Document):
    """One file of a dataset on a Hugging Face hub, or all files of a split (``train`` where neither is named)."""

    repo: str = Field(min_length=1)
    revision: str = "main"
    file: str | None = None
    split: str | None = None
    endpoint: str | None = None


class DataSource(_Document):
    """Exactly one of the places where rows may come from."""

    s3: S3Source | None = None
    file: FileSource | None = None
    hugging_face: HubSource | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> DataSource:
        if sum(source is not None for source in (self.s3, self.file, self.hugging_face)) != 1:
            raise ValueError("set exactly one of s3, file and huggingFace")
        return self


class HeldOut(_Document):
    """The rows that are never trained on: a seeded share of the dataset, or a source of their own."""

    split_percent: int | None = Field(default=None, ge=0, le=50)
    source: DataSource | None = None
    digest: str | None = None


class DatasetConfig(_Document):
    """The rows. A ``digest``, where set, is what the bytes of its source have to hash to.

    ``columns`` maps names that the formats know, such as ``prompt``, to the names that the set has for them.
    """

    source: DataSource
    format: Literal["Auto", "Messages", "Alpaca", "ShareGPT", "PromptCompletion", "Text"] = "Auto"
    file_type: Literal["Auto", "JSONL", "JSON", "Parquet", "CSV"] = "Auto"
    columns: dict[str, str] = {}
    max_dropped_percent: int = Field(default=5, ge=0, le=100)
    digest: str | None = None
    evaluation: HeldOut = HeldOut()


class LoraHyperparameters(_Document):
    """The shape of the adapter. ``target_modules`` of ``["all-linear"]`` means every linear layer but the head.

    The patterns are by the end of a module's path and replace ``rank`` and ``alpha`` there. ``learning_rate_ratio`` is
    LoRA+'s, of the matrices B to the matrices A.
    """

    rank: int = Field(ge=1, le=512)
    alpha: int = Field(ge=1)
    dropout: Annotated[NumberString, Field(ge=0.0, lt=1.0)]
    target_modules: list[str] = Field(min_length=1)
    rank_pattern: dict[str, Annotated[int, Field(ge=1, le=512)]] = {}
    alpha_pattern: dict[str, Annotated[int, Field(ge=1)]] = {}
    bias: Literal["None"] = "None"
    learning_rate_ratio: Annotated[NumberString, Field(ge=1.0)] = 16.0


class PromptTuningHyperparameters(_Document):
    """The shape of an adapter that is a prompt of its own: trained vectors before the first token."""

    virtual_tokens: int = Field(default=20, ge=1, le=1024)


class PreferenceHyperparameters(_Document):
    """How preferences are learned. ``beta`` holds the adapter near the reference; the weights are KTO's.

    The reference is the base, or with a warm start the version that the training begins with.
    """

    beta: Annotated[NumberString, Field(gt=0.0)] = 0.1
    desirable_weight: Annotated[NumberString, Field(gt=0.0)] = 1.0
    undesirable_weight: Annotated[NumberString, Field(gt=0.0)] = 1.0
    reference_version: int | None = Field(default=None, ge=1)


class TrainingHyperparameters(_Document):
    """The optimisation. Steps are optimiser steps; ``batch_size`` is per device and micro-batch, in rows.

    ``attention_group_size`` is LongLoRA's, in tokens; ``preference`` is for the objectives DPO and KTO.
    """

    objective: Objective = "SFT"
    preference: PreferenceHyperparameters = PreferenceHyperparameters()
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
    attention_group_size: int = Field(default=256, ge=2, multiple_of=2)
    packing: bool
    train_on_inputs: bool = False
    seed: int = Field(ge=0, lt=2**32)
    precision: Literal["Auto", "Float32", "BFloat16"]
    eval_steps: int = Field(ge=1)
    early_stopping_patience: int | None = Field(default=None, ge=1)
    checkpoint_seconds: int = Field(ge=1)
    logging_steps: int = Field(ge=1)
    gradient_checkpointing: bool

    @model_validator(mode="after")
    def _preferences_are_not_packed(self) -> TrainingHyperparameters:
        if self.objective != "SFT" and self.packing:
            raise ValueError(f"packing must be false with objective {self.objective}: answers are compared one by one")
        return self


class Probe(_Document):
    """A question with the one answer that counts as right."""

    prompt: str
    expected: str


class EvaluationConfig(_Document):
    """What the finished adapter is asked. ``max_probe_rows`` bounds the greedy answers per model."""

    probes: list[Probe] = []
    prompts: list[Annotated[str, Field(min_length=1)]] = Field(default=[], max_length=64)
    """Questions without a right answer, to tell an imported adapter from its base by."""
    max_probe_rows: int = Field(default=64, ge=1, le=4096)


class AdapterSourceConfig(_Document):
    """Where an adapter comes from that was trained elsewhere; a ``digest``, where set, is what it has to hash to."""

    source: AdapterSource = Field(strict=False)
    digest: DigestString | None = None


class WarmStartConfig(_Document):
    """The older version of the same adapter whose weights the training begins with."""

    number: int = Field(ge=1)
    manifest_digest: DigestString


class ServingConfig(_Document):
    """How the version is to be served, as far as its files depend on it: a merged one holds a whole model."""

    mode: Literal["MultiAdapter", "Merged", "None"] = "None"


class WorkersConfig(_Document):
    """The processes that train together."""

    nodes: int = Field(default=1, ge=1)
    processes_per_node: int = Field(default=1, ge=1)
    sharding: Literal["None", "FSDP"] = "None"

    @property
    def count(self) -> int:
        """Workers of all pods together."""
        return self.nodes * self.processes_per_node

    @property
    def sharded(self) -> bool:
        """Whether the frozen weights are shared out; a worker alone has nobody to share with."""
        return self.sharding == "FSDP" and self.count > 1


class RunConfig(_Document):
    """One training run."""

    schema_: Literal["graft.dev/run/v1"] = Field(alias="schema")
    namespace: str
    adapter: str
    uid: str
    generation: int
    recipe: DigestString
    reason: Literal["SpecChanged", "BaseModelChanged", "DataChanged", "RankDoubled", "Imported"]
    parent: int | None
    image: str
    registry: RegistryConfig = Field(strict=False)
    base: BaseReference
    adapter_source: AdapterSourceConfig | None = None
    dataset: DatasetConfig | None
    method: MethodName
    lora: LoraHyperparameters
    prompt_tuning: PromptTuningHyperparameters = PromptTuningHyperparameters()
    training: TrainingHyperparameters
    evaluation: EvaluationConfig = EvaluationConfig()
    workers: WorkersConfig = WorkersConfig()
    serving: ServingConfig = ServingConfig()
    warm_start: WarmStartConfig | None = None

    @property
    def rows(self) -> DatasetConfig:
        """The dataset, which every training has."""
        assert self.dataset is not None
        return self.dataset

    @field_validator("dataset")
    @classmethod
    def _trainings_have_rows(cls, dataset: DatasetConfig | None, info: ValidationInfo) -> DatasetConfig | None:
        if dataset is None and info.data.get("adapter_source") is None:
            raise ValueError("a training needs rows; only an imported adapter (spec.source) does without")
        return dataset

    @field_validator("serving")
    @classmethod
    def _method_can_be_merged(cls, serving: ServingConfig, info: ValidationInfo) -> ServingConfig:
        method = None if info.data.get("adapter_source") else info.data.get("method")
        if serving.mode == "Merged" and method is not None and not can_be_merged(METHODS[method]):
            raise ValueError(
                f"method {method} leaves the base's weights alone, so nothing can be merged; use mode None"
            )
        return serving


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
    if location[:1] == ("adapterSource",):
        location = ("source", *location[2:])
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return f"spec{path}" if path else "spec"


def _explain(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "unknown key; remove it or check its spelling"
    return message.removeprefix("Value error, ")
