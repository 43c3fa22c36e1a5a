"""How an adapter is trained: its shape, the optimisation, and the pod."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from graft_operator.api.meta import ApiModel, DecimalString, ObjectName, decimal_that
from graft_operator.api.pods import Placement, Resources

ModuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=128)]
Method = Literal["LoRA", "QLoRA", "RsLoRA"]


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


class TrainingPod(Placement):
    """The pod that trains."""

    resources: Resources = Resources()
    """Resources of the trainer's container; GPUs are asked for here."""
    service_account_name: ObjectName | None = None
    """ServiceAccount of the same namespace, for workload identity."""
