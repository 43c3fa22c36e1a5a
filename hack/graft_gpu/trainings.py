"""Trainings on random models: what the trainer's own steps take, beside the estimate and beside a bare loop."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, PrinterCallback, TrainerCallback, set_seed

from graft_gpu.random_bases import LLAMA_7B, LLAMA_65B, TINY, Sizes, random_base
from graft_registry.models.training_memory import TrainingSetup, estimate_cpu, estimate_gpu
from graft_trainer.config import LoraHyperparameters, TrainingHyperparameters
from graft_trainer.data.rows import Row
from graft_trainer.methods.peft_configs import lora_config
from graft_trainer.methods.table import METHODS
from graft_trainer.model import device
from graft_trainer.training.batching import batching
from graft_trainer.training.loop import training_arguments
from graft_trainer.training.token_count import TokenCountingTrainer

ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
STEPS = 9
"""The first is start-up, and not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What is trained: a model by its sizes, with an adapter on all of its linear layers."""

    sizes: Sizes
    quantized: bool
    rank: int
    batch_size: int
    tokens: int
    checkpointing: bool
    most_bytes: int | None = None
    """Of the GPU's memory, for what is to fit a smaller one."""

    @property
    def setup(self) -> TrainingSetup:
        """Return what the estimate is made from."""
        return TrainingSetup(
            quantized=self.quantized,
            rank=self.rank,
            target_modules=ALL_LINEAR,
            dropout=False,
            batch_size=self.batch_size,
            sequence_length=self.tokens,
            value_bytes=2,
            gradient_checkpointing=self.checkpointing,
        )

    @property
    def method(self) -> str:
        """Return the name of the method."""
        return "QLoRA" if self.quantized else "LoRA"


TRAININGS = {
    "QLoRA of 7B": Training(sizes=LLAMA_7B, quantized=True, rank=16, batch_size=4, tokens=1024, checkpointing=True),
    "QLoRA of 65B on 48 GB": Training(
        sizes=LLAMA_65B, quantized=True, rank=64, batch_size=1, tokens=512, checkpointing=True, most_bytes=48 * 10**9
    ),
    "LoRA of 7B in bfloat16": Training(
        sizes=LLAMA_7B, quantized=False, rank=16, batch_size=4, tokens=1024, checkpointing=True
    ),
}
BESIDE_A_BARE_LOOP = "LoRA of 7B in bfloat16"


def tiny(training: Training) -> Training:
    """Return the same with sizes for a dry run."""
    return Training(
        **{**{name: getattr(training, name) for name in Training.__slots__}, "sizes": TINY, "rank": 4, "tokens": 32,
           "most_bytes": None}
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a training took."""

    peak_bytes: int
    """At the peak of a step; of the process, on a CPU."""
    estimated_bytes: int
    tokens_per_second: float
    bare_tokens_per_second: float | None
    """Of a bare loop of PEFT and Transformers on the same model."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return asdict(self)


def measure(training: Training, *, bare: bool) -> Measured:
    """Train some steps with the trainer's own Trainer, and with a bare loop if wanted."""
    where = device()
    if training.most_bytes is not None and where.type == "cuda":
        total = torch.cuda.get_device_properties(where).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, training.most_bytes / total))
    set_seed(1)
    base = random_base(training.sizes, where, torch.bfloat16, quantized=training.quantized)
    if training.checkpointing:
        base.enable_input_require_grads()
    adapter = LoraHyperparameters.model_validate(
        {"rank": training.rank, "alpha": 16, "dropout": "0", "targetModules": list(ALL_LINEAR)}
    )
    model = get_peft_model(base, lora_config(adapter, METHODS[training.method], targets=ALL_LINEAR))
    own = trainers_speed(model, training)
    estimate = (estimate_gpu if where.type == "cuda" else estimate_cpu)(training.sizes.shape(), training.setup)
    return Measured(
        peak_bytes=_peak(where),
        estimated_bytes=estimate.total,
        tokens_per_second=own,
        bare_tokens_per_second=bare_speed(model, training) if bare else None,
    )


def trainers_speed(model: PeftModel, training: Training) -> float:
    """Return tokens a second of the trainer's own steps: its arguments, optimizer, batches and loss."""
    hyperparameters = _hyperparameters(training)
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = TokenCountingTrainer(
            model=model,
            args=training_arguments(hyperparameters, METHODS[training.method], Path(folder), evaluate=False),
            **batching(_rows(training), (), _tokenizer(), hyperparameters),
            callbacks=[clock],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return clock.tokens_per_second(training)


def bare_speed(model: PeftModel, training: Training) -> float:
    """Return tokens a second of a loop as in PEFT's documentation, on the same model."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-4)
    clock = _Clock()
    for batch in _batches(training, model.device):
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        clock.tick()
    return clock.tokens_per_second(training)


class _Clock(TrainerCallback):  # type: ignore[misc] # Transformers is untyped here
    """Looks at the time after every step."""

    def __init__(self) -> None:
        self._times: list[float] = []

    def tick(self) -> None:
        """A step is over; a GPU may still be at it."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._times.append(time.perf_counter())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Transformers calls this."""
        self.tick()

    def tokens_per_second(self, training: Training) -> float:
        """Return the speed of all steps but the first."""
        seconds = self._times[-1] - self._times[0]
        return (len(self._times) - 1) * training.batch_size * training.tokens / seconds


def _batches(training: Training, where: torch.device) -> Iterator[dict[str, torch.Tensor]]:
    for _ in range(STEPS):
        ids = torch.randint(3, training.sizes.vocabulary, (training.batch_size, training.tokens), device=where)
        yield {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}


def _rows(training: Training) -> list[Row]:
    tokens = torch.randint(3, training.sizes.vocabulary, (STEPS * training.batch_size, training.tokens)).tolist()
    return [Row.labelled(row, row) for row in tokens]


def _tokenizer() -> PreTrainedTokenizerFast:
    """Return one that pads, which is all that batches need of it."""
    words = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>")


def _hyperparameters(training: Training) -> TrainingHyperparameters:
    return TrainingHyperparameters.model_validate(
        {
            "epochs": 1,
            "maxSteps": STEPS,
            "batchSize": training.batch_size,
            "gradientAccumulation": 1,
            "learningRate": "1e-4",
            "schedule": "Constant",
            "warmupRatio": "0",
            "weightDecay": "0",
            "maxGradNorm": "1.0",
            "maxSequenceLength": training.tokens,
            "packing": False,
            "seed": 1,
            "precision": "BFloat16",
            "evalSteps": STEPS,
            "earlyStoppingPatience": None,
            "checkpointSeconds": 600,
            "loggingSteps": STEPS,
            "gradientCheckpointing": training.checkpointing,
        }
    )


def _peak(where: torch.device) -> int:
    read: Callable[[], int] = torch.cuda.max_memory_reserved
    return read() if where.type == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
