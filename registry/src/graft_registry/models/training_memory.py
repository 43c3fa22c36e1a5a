"""How much memory a training takes, from the base's shape and the hyperparameters alone.

Nothing is loaded and torch is not needed, so that what can't fit is refused before it takes a GPU. With

* ``h`` hidden size, ``a`` attention heads × head dimension, ``i`` intermediate size, ``L`` blocks, ``V`` vocabulary,
* ``b`` bytes of a value in the precision of the run, ``T`` tokens of a micro-batch (rows × tokens of a row, ``s``; of
  pairs twice that, since both answers are passed and kept together),
* ``r`` rank, ``in`` and ``out`` features of an adapted linear layer,

the parts are, in bytes:

==============  ========================================================================================
weights         ``b`` per parameter; NF4 with double quantization takes 4 + 8/64 + 32/16384 = 4.127 bits for
                each weight of a linear layer (QLoRA §3, arXiv:2305.14314) and ``b`` for the rest
adapter         ``r·Σ(in + out)`` parameters of 16 bytes: fp32 weight, gradient and AdamW's two moments; of 10
                where the moments have 8 bits (bitsandbytes, beside a quantized base); with LongLoRA also the
                ``V·h`` of a copy of the embeddings (arXiv:2309.12307)
activations     ``T·L·block``, where autograd keeps for each token of a Llama-like block ``8h`` (inputs of the two
                norms, fp32), ``4a·b`` (queries, repeated keys and values, attention's output), ``3i·b`` (the gated
                MLP), ``s·b`` (the attention mask, where several rows are padded, but for LongLoRA), and for each
                adapted layer ``4r + 4·in`` (its input in fp32) and the dropout's mask. With gradient checkpointing
                ``T·(L·h·b + block)``: the blocks' inputs (fp32 with LongLoRA), and one block that is computed again
logits          ``12·T·V``: log-probabilities, their gradient and that of the logits, all fp32
overhead        of the process: 0.8 GB for the CUDA context and the allocator's rounding; on a CPU what
                Python and its libraries take
==============  ========================================================================================

The reference that preferences are learned near takes no more: it passes before the adapter does, without autograd, and
leaves a number per answer, so its logits (10 bytes each, at most) are gone when the adapter's 12 come. KTO passes its
two kinds of rows one after the other, of which only one is kept. A reference that is no bare base is a copy of the
adapter, 4 bytes per parameter.

The terms of activations and logits are what autograd keeps in the trainer; a test counts them byte by byte on a small
model. Experts stay in the precision of the run, also with QLoRA: they are one stacked tensor each, which bitsandbytes
does not quantize, and so no linear layers here. Attention is taken to be PyTorch's fused kernel, which never holds the
s×s scores. Against published measurements on GPUs the sum is within ±15 % (docs/memory.md); those were all made with
gradient checkpointing. Not covered: the activations of experts, which depend on the routing, and what paging the
optimizer's state out can save.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Self

from graft_registry.documents import BaseManifest
from graft_registry.models.layer_paths import is_in_block

NF4_BITS: Final = 4 + 8 / 64 + 32 / 16384
"""Per weight: the value, one 8-bit scale per block of 64, and one fp32 scale per 256 of those."""

FP32_BYTES: Final = 4
ADAMW_BYTES: Final = 16
ADAMW_8BIT_BYTES: Final = 10
LOGIT_BYTES: Final = 12

GPU_OVERHEAD: Final = 800_000_000
"""CUDA context, cuBLAS workspaces and the allocator's rounding."""

HOST_OVERHEAD: Final = 1 << 30
"""Python with torch, transformers, peft and bitsandbytes, and rows and tokenizer beside it."""

CUDA_HOST_OVERHEAD: Final = 3 << 30
"""The same with CUDA's libraries, which are read into memory as they are used."""

ERROR: Final = 0.15
"""Relative error that the estimate is taken to have: what needs 15 % more than there is can't fit, 15 % less does."""

ALL_LINEAR: Final = "all-linear"
DEFAULT_TARGETS: Final = frozenset({"q_proj", "k_proj", "v_proj", "o_proj"})
ATTENTION: Final = DEFAULT_TARGETS | {
    *("qkv_proj", "query_key_value", "dense", "out_proj", "c_attn", "Wqkv", "wqkv"),
    *("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "in_proj_qkvz", "in_proj_qkv", "in_proj_z"),
}
"""What architectures call the layers of attention. The trainer reads them off the model; by names alone a few layers of
others are counted too, which errs on the safe side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearLayers:
    """All linear layers of one name, such as ``q_proj``: features and weights summed over the blocks."""

    inputs: int
    outputs: int
    weights: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The dimensions of a causal language model that memory depends on; ``linear`` is by the layers' last name."""

    parameters: int
    hidden_size: int
    attention_size: int
    intermediate_size: int
    layers: int
    vocab_size: int
    linear: Mapping[str, LinearLayers]

    @classmethod
    def of(cls, base: BaseManifest) -> Self:
        """Take the shape from a base's manifest."""
        found = base.fingerprint
        return cls(
            parameters=base.parameters,
            hidden_size=found.hidden_size,
            attention_size=found.attention_heads * found.head_dim,
            # Models that don't state it have the classic width.
            intermediate_size=found.intermediate_size or 4 * found.hidden_size,
            layers=found.layers,
            vocab_size=found.vocab_size,
            linear=linear_layers(base.linear_modules),
        )

    def adapted(self, target_modules: Collection[str]) -> list[LinearLayers]:
        """Return the layers that get an adapter; the field's default stands for attention, whatever it is called."""
        everything = ALL_LINEAR in target_modules
        wanted = ATTENTION if frozenset(target_modules) == DEFAULT_TARGETS else target_modules
        return [layers for name, layers in self.linear.items() if everything or name in wanted]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSetup:
    """The hyperparameters that memory depends on. ``rank`` 0 stands for methods that add next to nothing."""

    quantized: bool = False
    rank: int
    target_modules: tuple[str, ...]
    dropout: bool = True
    batch_size: int
    answers_per_row: int = 1
    """2 for pairs (DPO), whose answers are learned from together."""
    copies_adapter: bool = False
    """Whether the weights that the adapter began with are held beside it, as what preferences are learned near."""
    sequence_length: int
    value_bytes: int
    """2 for bfloat16, 4 for float32."""
    gradient_checkpointing: bool = False
    long_context: bool = False
    """LongLoRA (arXiv:2309.12307): the embeddings train too, in fp32, and groups of tokens need no attention mask."""
    shards: int = 1
    """Workers that share the weights of the blocks out among themselves (FSDP)."""

    @property
    def tokens(self) -> int:
        """Tokens of one micro-batch, all rows at full length."""
        return self.batch_size * self.answers_per_row * self.sequence_length


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Bytes by part, at the peak of a training step."""

    weights: int
    adapter: int
    activations: int
    logits: int
    overhead: int

    @property
    def total(self) -> int:
        """The sum of the parts."""
        return self.weights + self.adapter + self.activations + self.logits + self.overhead

    def surely_fits(self, available: int) -> bool:
        """Whether the training fits into ``available`` bytes even if it takes more than was estimated."""
        return self.total * (1 + ERROR) <= available

    def cannot_fit(self, available: int) -> bool:
        """Whether the training would not fit even if it takes less than was estimated."""
        return self.total > available * (1 + ERROR)


def estimate_gpu(shape: ModelShape, setup: TrainingSetup) -> MemoryEstimate:
    """Estimate what one GPU holds, alone or as one of several."""
    return MemoryEstimate(
        weights=weight_bytes(shape, setup),
        adapter=adapter_bytes(shape, setup),
        activations=activation_bytes(shape, setup, mask_bytes=1),
        logits=LOGIT_BYTES * setup.tokens * shape.vocab_size,
        overhead=GPU_OVERHEAD,
    )


def estimate_cpu(shape: ModelShape, setup: TrainingSetup) -> MemoryEstimate:
    """Estimate the memory of a process that trains on a CPU, whose dropout keeps its mask in the values' own format."""
    return MemoryEstimate(
        weights=weight_bytes(shape, setup),
        adapter=adapter_bytes(shape, setup),
        activations=activation_bytes(shape, setup, mask_bytes=FP32_BYTES),
        logits=LOGIT_BYTES * setup.tokens * shape.vocab_size,
        overhead=HOST_OVERHEAD,
    )


def host_bytes_beside_gpu(shape: ModelShape, setup: TrainingSetup) -> int:
    """Return the main memory that a training on a GPU takes: the base passes through it, in full precision."""
    return shape.parameters * setup.value_bytes + CUDA_HOST_OVERHEAD


def weight_bytes(shape: ModelShape, setup: TrainingSetup) -> int:
    """Return the bytes of the frozen base, of which sharding leaves a part of the blocks, and one whole at a time."""
    in_blocks = sum(layers.weights for layers in shape.linear.values())
    blocks = in_blocks * (NF4_BITS / 8 if setup.quantized else setup.value_bytes)
    if setup.shards > 1:
        blocks = blocks / setup.shards + blocks / shape.layers
    return round(blocks) + (shape.parameters - in_blocks) * setup.value_bytes


def adapter_bytes(shape: ModelShape, setup: TrainingSetup) -> int:
    """Return the bytes of the adapter's weights, their gradients and the optimizer's state."""
    adapted = shape.adapted(setup.target_modules)
    parameters = setup.rank * sum(layers.inputs + layers.outputs for layers in adapted)
    if setup.long_context:
        parameters += shape.vocab_size * shape.hidden_size
    copy = FP32_BYTES if setup.copies_adapter else 0
    return parameters * (copy + (ADAMW_8BIT_BYTES if setup.quantized else ADAMW_BYTES))


def activation_bytes(shape: ModelShape, setup: TrainingSetup, *, mask_bytes: int) -> int:
    """Return what autograd keeps for the backward pass, without the logits; ``mask_bytes`` per value of dropout."""
    blocks = setup.tokens * _blocks_bytes(shape, setup, mask_bytes)
    if not setup.gradient_checkpointing:
        return blocks
    value_bytes = FP32_BYTES if setup.long_context else setup.value_bytes
    return setup.tokens * shape.layers * shape.hidden_size * value_bytes + blocks // shape.layers


def _blocks_bytes(shape: ModelShape, setup: TrainingSetup, mask_bytes: int) -> int:
    """Return the bytes per token that all blocks keep together."""
    norms = 2 * FP32_BYTES * shape.hidden_size
    # A single row is never padded, and needs no mask; neither do groups, which see nothing of the padding after them.
    is_padded = setup.batch_size * setup.answers_per_row > 1
    mask = setup.sequence_length if is_padded and not setup.long_context else 0
    attention = (4 * shape.attention_size + mask) * setup.value_bytes
    mlp = 3 * shape.intermediate_size * setup.value_bytes
    adapters = 0
    if setup.rank:
        per_input = FP32_BYTES + (mask_bytes if setup.dropout else 0)
        adapted = shape.adapted(setup.target_modules)
        # Each adapted layer keeps its input and, of rank values, the output of A.
        features = sum(layers.inputs for layers in adapted)
        adapters = per_input * features + FP32_BYTES * setup.rank * shape.layers * len(adapted)
    return shape.layers * (norms + attention + mlp) + adapters


def linear_layers(modules: Mapping[str, tuple[int, int]]) -> dict[str, LinearLayers]:
    """Sum up the linear layers of the blocks by their last names; ``modules``: path → (out, in) features."""
    totals: dict[str, LinearLayers] = {}
    for path, (outputs, inputs) in modules.items():
        if not is_in_block(path):
            continue
        name = path.rpartition(".")[2]
        known = totals.get(name, LinearLayers(inputs=0, outputs=0, weights=0))
        totals[name] = LinearLayers(
            inputs=known.inputs + inputs,
            outputs=known.outputs + outputs,
            weights=known.weights + inputs * outputs,
        )
    return totals
