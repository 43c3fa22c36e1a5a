"""The run document `graft.dev/run/v1`: what to train, as the operator decided it.

Parsing is strict: a key that the trainer does not know, or a value of the wrong type, is an error that names the
field of the LoraAdapter. Nothing after this module validates configuration again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from graft_registry.config import RegistryConfig
from graft_registry.documents import AdapterSource
from graft_trainer.config_model import ConfigModel, DigestString, NumberString, Ratio
from graft_trainer.dataset_config import DatasetConfig
from graft_trainer.methods.table import METHODS, MethodName, can_be_merged
from graft_trainer.outcome import InvalidConfigError

Objective = Literal["SFT", "DPO", "KTO"]
"""What is learned: answers word for word, which of two is better, or which are wanted."""


class BaseReference(ConfigModel):
    """The base model, already fetched and verified by the init container."""

    name: str
    digest: str
    path: Path = Field(strict=False)


class LoraHyperparameters(ConfigModel):
    """The shape of the adapter. ``target_modules`` of ``["all-linear"]`` means every linear layer but the head.

    The patterns map the end of a module's path to the ``rank`` or ``alpha`` that the module has instead.
    ``learning_rate_ratio`` is LoRA+'s: how many times the learning rate of the matrices A that of the matrices B is.
    """

    rank: int = Field(ge=1, le=512)
    alpha: int = Field(ge=1)
    dropout: Annotated[NumberString, Field(ge=0.0, lt=1.0)]
    target_modules: list[str] = Field(min_length=1)
    rank_pattern: dict[str, Annotated[int, Field(ge=1, le=512)]] = Field(default_factory=dict)
    alpha_pattern: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    bias: Literal["None"] = "None"
    learning_rate_ratio: Annotated[NumberString, Field(ge=1.0)] = 16.0


class PromptTuningHyperparameters(ConfigModel):
    """The shape of an adapter that is a prompt of its own: trained vectors before the first token."""

    virtual_tokens: int = Field(default=20, ge=1, le=1024)


class PreferenceHyperparameters(ConfigModel):
    """How preferences are learned. ``beta`` holds the adapter near the reference; the weights are KTO's.

    The reference is the base, or with a warm start the version that the training begins with.
    """

    beta: Annotated[NumberString, Field(gt=0.0)] = 0.1
    desirable_weight: Annotated[NumberString, Field(gt=0.0)] = 1.0
    undesirable_weight: Annotated[NumberString, Field(gt=0.0)] = 1.0
    reference_version: int | None = Field(default=None, ge=1)


class TrainingHyperparameters(ConfigModel):
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


class Probe(ConfigModel):
    """A question with the one answer that counts as right."""

    prompt: str
    expected: str


class EvaluationConfig(ConfigModel):
    """What the finished adapter is asked. ``max_probe_rows`` bounds the greedy answers per model."""

    probes: list[Probe] = Field(default_factory=list)
    prompts: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list, max_length=64)
    """Questions without a right answer, to tell an imported adapter from its base by."""
    max_probe_rows: int = Field(default=64, ge=1, le=4096)


class AdapterSourceConfig(ConfigModel):
    """Where to import an adapter from. A ``digest``, where set, is what the content has to hash to."""

    source: AdapterSource = Field(strict=False)
    digest: DigestString | None = None


class WarmStartConfig(ConfigModel):
    """The older version of the same adapter whose weights the training begins with."""

    number: int = Field(ge=1)
    manifest_digest: DigestString


class ServingConfig(ConfigModel):
    """How the version is to be served, as far as its files depend on it: a merged one holds a whole model."""

    mode: Literal["MultiAdapter", "Merged", "None"] = "None"


class WorkersConfig(ConfigModel):
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


class RunConfig(ConfigModel):
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
        """The dataset of a training. Only an import may have none, and its caller looks at ``dataset`` first."""
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
