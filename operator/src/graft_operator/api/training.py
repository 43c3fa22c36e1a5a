"""How an adapter is trained: its shape, the optimisation, and the pod."""

from __future__ import annotations

import math
import re
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from graft_operator.api.meta import ApiModel, DecimalString, ObjectName, decimal_that
from graft_operator.api.pods import PodSettings, QueueName, QueuePriority, Resources
from graft_operator.api.preference import Objective, Preference

MODULE_NAME = r"^[A-Za-z0-9_.-]{1,128}$"
ModuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=128)]
ModuleRank = Annotated[int, Field(ge=1, le=512)]
Method = Literal[
    "Auto",
    "LoRA",
    "QLoRA",
    "RsLoRA",
    "DoRA",
    "LoRAPlus",
    "PiSSA",
    "EVA",
    "LongLoRA",
    "IA3",
    "PrefixTuning",
    "PromptTuning",
]

SERVED_MERGED_ONLY: Final = frozenset({"DoRA", "IA3", "LongLoRA"})
"""Methods whose adapters no engine applies beside others; merged they are plain models."""
NOT_SERVED: Final = frozenset({"PrefixTuning", "PromptTuning"})
"""Methods whose adapters no engine applies, and that can't be merged: they leave the base's weights alone."""
WITH_ONE_RANK: Final = frozenset({"EVA", "IA3", "PrefixTuning", "PromptTuning"})
"""Methods that share out the ranks themselves, or have none."""
NO_BEGINNING: Final = frozenset({"PiSSA", "EVA", "LongLoRA"})
"""Methods whose published adapters are no beginning for another training: their initialisation is computed from base or
rows, or they hold whole weights of the base."""
DOUBLING_THE_RANK: Final = frozenset({"PiSSA", "EVA"})
"""Methods whose published adapters may have twice the rank: PiSSA's conversion to plain LoRA doubles every rank, and
EVA gives a module up to twice the rank that was asked for."""


GpuMemory = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,5}(M|G|T|Mi|Gi|Ti)$", max_length=8)]
"""A quantity of memory in whole units."""


class Workers(ApiModel):
    """The processes that train together, each on rows of its own.

    A step takes ``batchSize`` × ``gradientAccumulation`` rows of every worker, so another number of them is another
    training: it is part of the recipe, unless it is one.
    """

    nodes: int = Field(default=1, ge=1, le=64)
    """Pods that train together. They restart together, from the last checkpoint."""
    processes_per_node: int | None = Field(default=None, ge=1, le=16)
    """Processes in each pod; when empty, one for each GPU of ``resources``, or one without GPUs."""
    sharding: Literal["None", "FSDP"] = "None"
    """FSDP shards the base's frozen weights over the workers, for a base that no single GPU holds; None keeps a
    copy on each, which is faster."""


class LoraParameters(ApiModel):
    """The adapter's shape (Hu et al. 2021, arXiv:2106.09685)."""

    rank: int = Field(default=16, ge=1, le=512)
    """Rank r of the update B·A; not used by IA3, PrefixTuning and PromptTuning."""
    alpha: int | None = Field(default=None, ge=1, le=1024)
    """Scale of the update is alpha/rank; 2×rank when empty."""
    dropout: Annotated[DecimalString, decimal_that(lambda value: value < 1, "must be below 1")] = "0.05"
    """Dropout on the adapter's input, 0 up to 1."""
    target_modules: tuple[ModuleName, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "o_proj"), min_length=1, max_length=64
    )
    """Modules that get an update: names of linear layers, or the single word ``all-linear``."""
    rank_pattern: dict[str, ModuleRank] = Field(default_factory=dict, max_length=64)
    """Ranks of single modules, by name or by the end of a path such as ``layers.0.self_attn.q_proj``."""
    bias: Literal["None"] = "None"
    """Which biases train. No engine serves trained biases, so there is one choice."""
    learning_rate_ratio: Annotated[
        DecimalString, decimal_that(lambda value: 1 <= value <= 1024, 'must be from 1 to 1024, such as "16"')
    ] = "16"
    """How much faster B learns than A, with method LoRAPlus (arXiv:2402.12354)."""

    @property
    def effective_alpha(self) -> int:
        """Return alpha with its default, 2×rank, applied."""
        return self.alpha if self.alpha is not None else 2 * self.rank

    @property
    def alpha_pattern(self) -> dict[str, int]:
        """Return the alphas of the modules with ranks of their own: 2×rank, or ``alpha`` where that is given."""
        return {} if self.alpha is not None else {module: 2 * rank for module, rank in self.rank_pattern.items()}

    @property
    def highest_rank(self) -> int:
        """Return the highest rank of any module."""
        return max((self.rank, *self.rank_pattern.values()))

    @model_validator(mode="after")
    def _module_names(self) -> LoraParameters:
        for module in self.rank_pattern:
            if not re.match(MODULE_NAME, module):
                raise ValueError("rankPattern: each key must be the name of a module, or the end of its path")
        return self

    @model_validator(mode="after")
    def _all_linear_stands_alone(self) -> LoraParameters:
        if "all-linear" in self.target_modules and len(self.target_modules) > 1:
            raise ValueError("targetModules must not name other modules beside all-linear, which means them all")
        return self


class RankDoubling(ApiModel):
    """Train again with twice the rank while a version fails its gate because its rank is too low."""

    max_rank: int = Field(ge=2, le=512)
    """Highest rank that is tried; the base's serving.maxRank holds as well."""


class PromptTuning(ApiModel):
    """The shape of a trained prompt: PromptTuning (arXiv:2104.08691) and PrefixTuning (arXiv:2101.00190)."""

    virtual_tokens: int = Field(default=20, ge=1, le=1024)
    """Trained vectors before the first token; they take room in the context."""


class Training(ApiModel):
    """How the adapter is trained."""

    objective: Objective = "SFT"
    """What is learned: SFT, the answers word for word; DPO, which of two answers is better; KTO, which are wanted."""
    preference: Preference = Preference()
    """How preferences are learned, with objectives DPO and KTO."""
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
    """Longer rows are cut, in tokens; cut rows are counted. Method LongLoRA extends the base's context to this."""
    attention_group_size: int | None = Field(default=None, ge=2, le=524_288)
    """Tokens that attend to one another in training with method LongLoRA; a quarter of ``maxSequenceLength`` when
    empty."""
    packing: bool = False
    """Fills each sequence with several short rows that don't see one another: faster, but with fewer optimizer steps,
    since ``batchSize`` then counts sequences; lower it or ``gradientAccumulation``."""
    train_on_inputs: bool = False
    """Trains on every token of a conversation, also on the questions, and not only on its answers."""
    seed: int = Field(default=42, ge=0, le=2_147_483_647)
    """Seed of everything random."""
    precision: Literal["Auto", "Float32", "BFloat16"] = "Auto"
    """Compute precision; Auto takes the base's own."""
    eval_steps: int = Field(default=100, ge=1, le=1_000_000)
    """Steps between two evaluations; the best one is kept."""
    early_stopping_patience: int | None = Field(default=None, ge=1, le=1000)
    """Evaluations without improvement after which training ends."""
    gradient_checkpointing: bool = False
    """Computes activations again in the backward pass instead of keeping them: less memory for a fifth more time."""
    rank_doubling: RankDoubling | None = None
    """Doubles the rank of a version that fails its gate though its training loss has flattened; off when empty."""
    checkpoint_seconds: int = Field(default=300, ge=1, le=86_400)
    """At most this much work is lost when a pod dies, in seconds."""
    deadline_seconds: int = Field(default=86_400, ge=60, le=2_592_000)
    """A training is ended once its pods have run for this many seconds; that they wait for a node, a quota or their
    turn does not count."""

    @property
    def reference_version(self) -> int | None:
        """The version that a training of preferences begins with; None for one that begins with nothing."""
        return None if self.objective == "SFT" else self.preference.reference_version

    @property
    def effective_attention_group_size(self) -> int:
        """Return the group's size with its default, a quarter of a row rounded up to an even number, applied.

        A quarter is LongLoRA's own choice (arXiv:2309.12307, §3.2); half a group, which is what heads shift by, has to
        be whole.
        """
        return self.attention_group_size or 2 * math.ceil(self.max_sequence_length / 8)

    @model_validator(mode="after")
    def _preferences_are_rows_of_their_own(self) -> Training:
        if self.objective == "SFT":
            return self
        if self.packing:
            raise ValueError(f"packing must be false with objective {self.objective}: answers are compared one by one")
        if self.train_on_inputs:
            raise ValueError(f"trainOnInputs must be false with objective {self.objective}: answers alone are compared")
        if self.rank_doubling is not None:
            raise ValueError(f"rankDoubling must be empty with objective {self.objective}: it reads losses of SFT")
        return self

    @model_validator(mode="after")
    def _groups_can_shift(self) -> Training:
        size = self.attention_group_size
        if size is not None and size % 2:
            raise ValueError("attentionGroupSize must be even: half of the heads shift by half a group")
        if size is not None and 2 * size > self.max_sequence_length:
            raise ValueError("attentionGroupSize must be at most half of maxSequenceLength; lower it or leave it empty")
        return self


class TrainingPod(PodSettings):
    """The pod that trains."""

    resources: Resources = Resources()
    """Resources of the trainer's container; request GPUs here. Without memory, Graft requests what it expects."""
    gpu_memory: GpuMemory | None = None
    """Memory of one GPU of the pod, such as ``"24Gi"``: what can't fit is refused, and method Auto chooses by it. The
    node selector ``nvidia.com/gpu.memory`` tells it, too."""
    service_account_name: ObjectName | None = None
    """ServiceAccount of the same namespace, for workload identity."""
    queue_name: QueueName | None = None
    """LocalQueue of Kueue that decides when the training may run; at once when empty."""
    workload_priority_class_name: QueuePriority | None = None
    """WorkloadPriorityClass of Kueue: which trainings go first in their queue, and may take quota back from others.
    Without one, Kueue uses ``priorityClassName``."""
    ttl_seconds_after_finished: int = Field(default=86_400, ge=0, le=31_536_000)
    """How long a Job is kept, with the logs of its pods, once its version is published. One that failed stays for as
    long as its failure decides what happens."""
    workers: Workers = Workers()
    """The processes that train together."""

    @property
    def processes_per_node(self) -> int:
        """Workers in each pod."""
        return self.workers.processes_per_node or max(1, self.resources.gpus)

    @property
    def worker_count(self) -> int:
        """Workers of all pods together."""
        return self.workers.nodes * self.processes_per_node

    @property
    def is_sharded(self) -> bool:
        """Whether the base's weights are shared out; a worker alone has nobody to share with."""
        return self.workers.sharding == "FSDP" and self.worker_count > 1
