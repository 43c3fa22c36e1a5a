"""TRL's trainers as a contestant: of answers, and of preferences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.training.contestant_inputs import lora_config, records_of
from tests.bench.training.meter import Meter

if TYPE_CHECKING:
    from graft_trainer.config import RunConfig, TrainingHyperparameters


def trl(folder: Path, meter: Meter, config: RunConfig) -> None:
    """TRL's SFTTrainer or DPOTrainer, which renders and masks the rows itself."""
    with meter.phase("imports"):
        from datasets import Dataset
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    with meter.phase("model"):
        tokenizer = AutoTokenizer.from_pretrained(config.base.path)
        base = AutoModelForCausalLM.from_pretrained(config.base.path)
        base.config.use_cache = False
    with meter.phase("rows"):
        records, arguments = records_of(config), _arguments(config.training, folder / "trl")
        kind: Any
        if config.training.objective == "DPO":
            kind, settings, rows = DPOTrainer, DPOConfig(beta=config.training.preference.beta, **arguments), records
        else:
            kind, settings = SFTTrainer, SFTConfig(packing=config.training.packing, **arguments)
            rows = [{"prompt": row["messages"][:-1], "completion": row["messages"][-1:]} for row in records]
        trainer = kind(
            model=base,
            processing_class=tokenizer,
            train_dataset=Dataset.from_list(rows),
            peft_config=lora_config(config),
            args=settings,
        )
    meter.watch(trainer.model, tokenizer.pad_token_id)
    trainer.train()
    trainer.save_model()


def _arguments(training: TrainingHyperparameters, folder: Path) -> dict[str, Any]:
    """Return what both trainers are told."""
    return {
        "output_dir": str(folder),
        "max_steps": training.max_steps or -1,
        "per_device_train_batch_size": training.batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": training.warmup_ratio,
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "max_length": training.max_sequence_length,
        "seed": training.seed,
        "data_seed": training.seed,
        "logging_steps": training.logging_steps,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
        "bf16": False,
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
