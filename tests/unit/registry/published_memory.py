"""What others have measured on GPUs, beside our estimates: ``python -m tests.unit.registry.published_memory``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graft_registry.models.training_memory import (
    MemoryEstimate,
    ModelShape,
    TrainingSetup,
    estimate_gpu,
    linear_layers,
)

GIGABYTE = 10**9
LLAMA_FACTORY = "LLaMA-Factory's wiki, A100"
LLAMA_FACTORY_TABLE = "LLaMA-Factory's README, GPU sizes"
UNSLOTH = "Unsloth's documentation, minimum"
QLORA = "QLoRA §1, one 48 GB GPU"


def llama(
    *, hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int, vocab: int = 32_000, head_dim: int = 128
) -> ModelShape:
    """Return the shape of a Llama with untied embeddings."""
    block = {
        "q_proj": (heads * head_dim, hidden),
        "k_proj": (kv_heads * head_dim, hidden),
        "v_proj": (kv_heads * head_dim, hidden),
        "o_proj": (hidden, heads * head_dim),
        "gate_proj": (intermediate, hidden),
        "up_proj": (intermediate, hidden),
        "down_proj": (hidden, intermediate),
    }
    modules = {f"model.layers.{layer}.{name}": shape for layer in range(layers) for name, shape in block.items()}
    linear = linear_layers(modules)
    norms = (2 * layers + 1) * hidden
    return ModelShape(
        parameters=sum(item.weights for item in linear.values()) + 2 * vocab * hidden + norms,
        hidden_size=hidden,
        attention_size=heads * head_dim,
        intermediate_size=intermediate,
        layers=layers,
        vocab_size=vocab,
        linear=linear,
    )


LLAMA_2_7B = llama(hidden=4096, intermediate=11_008, layers=32, heads=32, kv_heads=32)
LLAMA_3_8B = llama(hidden=4096, intermediate=14_336, layers=32, heads=32, kv_heads=8, vocab=128_256)
LLAMA_65B = llama(hidden=8192, intermediate=22_016, layers=80, heads=64, kv_heads=64)
LLAMA_2_70B = llama(hidden=8192, intermediate=28_672, layers=80, heads=64, kv_heads=8)


def setup(**fields: Any) -> TrainingSetup:
    """Return what they have in common: all linear layers, bfloat16, gradient checkpointing, no dropout."""
    defaults: dict[str, Any] = {
        "rank": 8,
        "target_modules": ("all-linear",),
        "dropout": False,
        "batch_size": 1,
        "sequence_length": 1024,
        "value_bytes": 2,
        "gradient_checkpointing": True,
    }
    return TrainingSetup(**defaults | fields)


@dataclass(frozen=True)
class Published:
    shape: ModelShape
    setup: TrainingSetup
    gigabytes: float
    source: str

    @property
    def estimate(self) -> MemoryEstimate:
        return estimate_gpu(self.shape, self.setup)

    @property
    def error(self) -> float:
        return self.estimate.total / (self.gigabytes * GIGABYTE) - 1


PUBLISHED = {
    "Llama 2 7B, QLoRA r8, 1 × 1,024": Published(LLAMA_2_7B, setup(quantized=True), 6, LLAMA_FACTORY),
    "Llama 2 7B, QLoRA r8, 1 × 2,048": Published(
        LLAMA_2_7B, setup(quantized=True, sequence_length=2048), 7, LLAMA_FACTORY
    ),
    "Llama 2 7B, QLoRA r8, 1 × 4,096": Published(
        LLAMA_2_7B, setup(quantized=True, sequence_length=4096), 9, LLAMA_FACTORY
    ),
    "Llama 2 7B, QLoRA r8, 1 × 8,192": Published(
        LLAMA_2_7B, setup(quantized=True, sequence_length=8192), 12, LLAMA_FACTORY
    ),
    "Llama 2 7B, QLoRA r8, 1 × 16,384": Published(
        LLAMA_2_7B, setup(quantized=True, sequence_length=16_384), 19, LLAMA_FACTORY
    ),
    "Llama 2 7B, QLoRA r8, 1 × 32,768": Published(
        LLAMA_2_7B, setup(quantized=True, sequence_length=32_768), 32, LLAMA_FACTORY
    ),
    "Llama 2 7B, LoRA r8, 4 × 1,024": Published(LLAMA_2_7B, setup(batch_size=4), 17, LLAMA_FACTORY),
    "Llama 2 7B, QLoRA r8, 4 × 1,024": Published(LLAMA_2_7B, setup(quantized=True, batch_size=4), 9, LLAMA_FACTORY),
    "Llama 65B, QLoRA r64, 1 × 512": Published(
        LLAMA_65B, setup(quantized=True, rank=64, sequence_length=512), 48, QLORA
    ),
    "Llama 2 70B, QLoRA r16, 1 × 1,024": Published(LLAMA_2_70B, setup(quantized=True, rank=16), 41, UNSLOTH),
    "Llama 2 70B, QLoRA r16, 1 × 1,024 (a size)": Published(
        LLAMA_2_70B, setup(quantized=True, rank=16), 48, LLAMA_FACTORY_TABLE
    ),
    "Llama 2 70B, LoRA r16, 1 × 1,024": Published(LLAMA_2_70B, setup(rank=16), 160, LLAMA_FACTORY_TABLE),
    "Llama 3.1 8B, LoRA r16, 1 × 2,048": Published(LLAMA_3_8B, setup(rank=16, sequence_length=2048), 22, UNSLOTH),
}


def table() -> str:
    """Return the comparison as Markdown, in gigabytes (10⁹ bytes)."""
    lines = [
        "| training: base, method and rank, rows × tokens | weights | adapter | activations | logits | sum |"
        " published | error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, case in PUBLISHED.items():
        found = case.estimate
        parts = (found.weights, found.adapter, found.activations, found.logits, found.total)
        cells = " | ".join(f"{part / GIGABYTE:.1f}" for part in parts)
        lines.append(f"| {name} | {cells} | {case.gigabytes:g} ({case.source}) | {case.error:+.0%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
