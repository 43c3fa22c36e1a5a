"""The LoraAdapter resource: what to train on which base, how to judge it, and how to serve it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.api.base_model import ClaimSource, S3Uri
from graft_operator.api.meta import (
    ApiModel,
    DecimalString,
    Digest,
    LocalObjectReference,
    ObjectMeta,
    ObjectName,
    StatusModel,
    decimal_that,
)
from graft_operator.api.pods import Placement, Resources

ModuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=128)]
Method = Literal["LoRA", "QLoRA", "RsLoRA"]

ADAPTER_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?")
"""A DNS label, with room for the suffix of a training Job."""


PROBE_CHARACTERS = 16_384
"""Of all probes: they travel in an annotation, of which an object has 256 KiB, and JSON may escape one to 12 bytes."""


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


class LoraParameters(ApiModel):
    """The adapter's shape (Hu et al. 2021, arXiv:2106.09685)."""

    rank: int = Field(default=16, ge=1, le=512)
    """Rank r of the update B·A."""
    alpha: int | None = Field(default=None, ge=1, le=1024)
    """Scale of the update is alpha/rank; 2×rank when empty."""
    dropout: Annotated[DecimalString, decimal_that(lambda value: value < 1, "must be below 1")] = "0.05"
    """Dropout on the adapter's input, 0 up to 1."""
    target_modules: tuple[ModuleName, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "o_proj"), min_length=1, max_length=64
    )
    """Modules that get an update: names of linear layers, or the single word ``all-linear``."""
    bias: Literal["None"] = "None"
    """Which biases train. No engine serves trained biases, so there is one choice."""

    @property
    def effective_alpha(self) -> int:
        """Return alpha with its default, 2×rank, applied."""
        return self.alpha if self.alpha is not None else 2 * self.rank

    @model_validator(mode="after")
    def _all_linear_stands_alone(self) -> LoraParameters:
        if "all-linear" in self.target_modules and len(self.target_modules) > 1:
            raise ValueError("targetModules must not name other modules beside all-linear, which means them all")
        return self


class Training(ApiModel):
    """How the adapter is trained."""

    epochs: int = Field(default=3, ge=1, le=1000)
    """Passes over the training rows."""
    max_steps: int | None = Field(default=None, ge=1, le=10_000_000)
    """Optimizer steps; replaces ``epochs`` when set."""
    batch_size: int = Field(default=4, ge=1, le=1024)
    """Rows of one forward pass on one device."""
    gradient_accumulation: int = Field(default=4, ge=1, le=1024)
    """Forward passes per optimizer step."""
    learning_rate: Annotated[
        DecimalString, decimal_that(lambda value: 0 < value <= 1, 'must be above 0 and at most 1, such as "2e-4"')
    ] = "2e-4"
    """Peak learning rate, as a string."""
    schedule: Literal["Constant", "Linear", "Cosine"] = "Cosine"
    """Shape of the learning rate after the warm-up."""
    warmup_ratio: Annotated[DecimalString, decimal_that(lambda value: value <= 1, "must be at most 1")] = "0.03"
    """Part of the steps over which the learning rate rises."""
    weight_decay: Annotated[DecimalString, decimal_that(lambda value: value <= 1, "must be at most 1")] = "0"
    """Weight decay of AdamW."""
    max_grad_norm: Annotated[DecimalString, decimal_that(lambda value: value > 0, "must be above 0")] = "1"
    """Gradients are clipped to this norm."""
    max_sequence_length: int = Field(default=1024, ge=8, le=1_048_576)
    """Longer rows are cut, in tokens; cut rows are counted."""
    seed: int = Field(default=42, ge=0, le=2_147_483_647)
    """Seed of everything random."""
    precision: Literal["Auto", "Float32", "BFloat16"] = "Auto"
    """Compute precision; Auto takes the base's own."""
    eval_steps: int = Field(default=100, ge=1, le=1_000_000)
    """Steps between two evaluations; the best one is kept."""
    early_stopping_patience: int | None = Field(default=None, ge=1, le=1000)
    """Evaluations without improvement after which training ends."""
    checkpoint_seconds: int = Field(default=300, ge=1, le=86_400)
    """At most this much work is lost when a pod dies, in seconds."""
    deadline_seconds: int = Field(default=86_400, ge=60, le=2_592_000)
    """The whole training Job fails after this many seconds."""


class Probe(ApiModel):
    """A question with the one right answer."""

    prompt: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    """The user's message."""
    expected: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    """The answer that counts as right."""


class Evaluation(ApiModel):
    """The gate: a version that fails it is stored and never served."""

    min_improvement_over_base: Annotated[
        DecimalString, decimal_that(lambda value: value < 1, "must be below 1; 0.1 means 10 %")
    ] = "0"
    """Least relative improvement of the evaluation loss over the base alone: 0.1 is 10 %."""
    max_regression: DecimalString = "0.05"
    """Most that the evaluation loss may be relatively worse than the served version's, on the same rows."""
    probes: tuple[Probe, ...] = Field(default=(), max_length=64)
    """Further questions whose exact answers are counted and reported."""

    @model_validator(mode="after")
    def _probes_fit_into_an_annotation(self) -> Evaluation:
        if sum(len(probe.prompt) + len(probe.expected) for probe in self.probes) > PROBE_CHARACTERS:
            raise ValueError(f"probes must hold at most {PROBE_CHARACTERS} characters in all")
        return self


class TrainingPod(Placement):
    """The pod that trains."""

    resources: Resources = Resources()
    """Resources of the trainer's container; GPUs are asked for here."""
    service_account_name: ObjectName | None = None
    """ServiceAccount of the same namespace, for workload identity."""


class AdapterServing(ApiModel):
    """How the adapter is served."""

    mode: Literal["MultiAdapter", "None"] = "MultiAdapter"
    """MultiAdapter: beside its siblings on the base's engine. None: trained and published only."""


class LoraAdapterSpec(ApiModel):
    """What the user wants of an adapter."""

    base_model_ref: LocalObjectReference
    """The BaseModel that the adapter belongs to."""
    dataset: Dataset
    """The rows to learn from."""
    method: Method = "LoRA"
    """LoRA; QLoRA trains on a 4-bit base (NF4, double quantisation); RsLoRA scales by alpha/√rank."""
    lora: LoraParameters = LoraParameters()
    """The adapter's shape."""
    training: Training = Training()
    """How it is trained."""
    evaluation: Evaluation = Evaluation()
    """When it is good enough."""
    pod: TrainingPod = TrainingPod()
    """The pod that trains."""
    serving: AdapterServing = AdapterServing()
    """How it is served."""
    version: int | None = Field(default=None, ge=1, le=99_999_999)
    """Pins the served version: nothing is trained while it is set."""
    deletion_policy: Literal["Retain", "Delete"] = "Retain"
    """What becomes of the published versions when this object is deleted."""
    suspend: bool = False
    """No new training starts while true; what is served stays served."""


class LoraAdapter(StatusModel):
    """An adapter as stored in the cluster."""

    metadata: ObjectMeta
    spec: LoraAdapterSpec
    status: LoraAdapterStatus = LoraAdapterStatus()

    @model_validator(mode="after")
    def _well_named(self) -> LoraAdapter:
        if not ADAPTER_NAME.fullmatch(self.metadata.name):
            raise ValueError("metadata.name must be at most 52 of a-z, 0-9 and '-'")
        if self.metadata.name == self.spec.base_model_ref.name:
            raise ValueError("metadata.name must not equal spec.baseModelRef.name: both name a model on one endpoint")
        return self

    @classmethod
    def parse(cls, body: dict[str, Any]) -> LoraAdapter:
        """Parse an API object; raises pydantic.ValidationError that names the field."""
        return cls.model_validate(body)
