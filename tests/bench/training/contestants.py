"""One training in a process of its own: ``-m tests.bench.training.contestants NAME FOLDER`` prints what it measured.

All of them train the same model on the same rows with the same hyperparameters, those of the run document in FOLDER,
and draw the rows in the same order.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.training.contestant_inputs import lora_config, records_of
from tests.bench.training.meter import Meter
from tests.bench.training.trl_contestant import trl

if TYPE_CHECKING:
    from graft_trainer.config import RunConfig, TrainingHyperparameters


def graft(folder: Path, meter: Meter, config: RunConfig) -> None:
    """The training part of the trainer's pipeline, checkpoint and progress in the registry included."""
    with meter.phase("imports"):
        from graft_registry.runs.checkpoints import CheckpointStore
        from graft_registry.s3.store import ObjectStore
        from graft_registry.versions import AdapterRegistry
        from graft_trainer import model
        from graft_trainer.methods.adapters import attach_adapter
        from graft_trainer.methods.architectures import layers_of
        from graft_trainer.methods.table import METHODS
        from graft_trainer.methods.targets import target_modules
        from graft_trainer.preemption import PreemptionNotice
        from graft_trainer.preferences.reference import InitialModel
        from graft_trainer.preferences.trainer import disable_dropout
        from graft_trainer.progress import ProgressWriter
        from graft_trainer.training.checkpoint import RunCheckpoints
        from graft_trainer.training.loop import RunTrainer
        from graft_trainer.workers.distributed import Workers

    method, workers, work = METHODS[config.method], Workers(), folder / "work"
    with meter.phase("rows"):
        tokenizer = model.load_tokenizer(config.base.path)
        rows = _rendered(config, tokenizer, work)
    with meter.phase("model"):
        store = ObjectStore(config.registry)
        saved = CheckpointStore(store, config.namespace, config.adapter, config.recipe)
        checkpoints = RunCheckpoints(saved, work / "checkpoints", workers)
        base = model.load_base(config.base.path, dtype=model.compute_dtype(config.base.path, "Auto"), method=method)
        targets = target_modules(config.lora.target_modules, layers_of(base))
        resumed = checkpoints.restore()
        adapted = attach_adapter(base, config, targets, rows=rows, checkpoints=checkpoints, resumed=resumed)
    progress = ProgressWriter(AdapterRegistry(store, config.namespace, config.adapter), config.recipe)
    reference = None
    if config.training.objective == "DPO":
        disable_dropout(adapted)
        reference = InitialModel(adapted)
    trainer = RunTrainer(
        config.training,
        method,
        checkpoints,
        progress,
        PreemptionNotice(),
        workers,
        learning_rate_ratio=16.0,
        reference=reference,
    )
    meter.watch(adapted, tokenizer.pad_token_id)
    trainer.train(adapted, tokenizer, rows, (), resumed=None)


def _rendered(config: RunConfig, tokenizer: Any, work: Path) -> Any:
    from graft_trainer.data.dataset import load_dataset
    from graft_trainer.data.files.sources import DataFetcher
    from graft_trainer.data.rendering import Renderer
    from graft_trainer.preferences.rendering import render_preferences
    from graft_trainer.row_files.rendering import render_rows

    objective = config.training.objective
    render = render_rows if objective == "SFT" else render_preferences
    fetcher = DataFetcher(config.registry, work / "data")
    dataset = load_dataset(config.rows, fetcher, seed=config.training.seed, objective=objective)
    return render(
        dataset.training,
        Renderer(tokenizer),
        max_length=config.training.max_sequence_length,
        max_dropped_percent=config.rows.max_dropped_percent,
    ).rows


def bare_loop(folder: Path, meter: Meter, config: RunConfig) -> None:
    """PEFT and Transformers with a training loop as in their documentation."""
    with meter.phase("imports"):
        import torch
        from peft import get_peft_model
        from torch.utils.data import DataLoader, RandomSampler
        from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, set_seed

    seed = config.training.seed
    with meter.phase("rows"):
        tokenizer = AutoTokenizer.from_pretrained(config.base.path)
        features = [_masked(record["messages"], tokenizer) for record in records_of(config)]
    with meter.phase("model"):
        set_seed(seed)
        base = AutoModelForCausalLM.from_pretrained(config.base.path)
        base.config.use_cache = False
        model = get_peft_model(base, lora_config(config))
    loader: DataLoader[Any] = DataLoader(
        features,  # type: ignore[arg-type] # a list is as good as a Dataset
        batch_size=config.training.batch_size,
        sampler=RandomSampler(features, generator=torch.Generator().manual_seed(seed)),
        collate_fn=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100),
    )
    meter.watch(model, tokenizer.pad_token_id)
    _loop(model, loader, config.training)
    model.save_pretrained(folder / "bare")


def _loop(model: Any, loader: Iterable[Any], training: TrainingHyperparameters) -> None:
    import torch
    from transformers import get_cosine_schedule_with_warmup

    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=training.learning_rate, weight_decay=training.weight_decay)
    steps = training.max_steps or 0
    schedule = get_cosine_schedule_with_warmup(optimizer, int(training.warmup_ratio * steps), steps)
    model.train()
    done = 0
    while done < steps:
        for batch in loader:
            model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, training.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            done += 1
            if done == steps:
                break


def _masked(messages: list[dict[str, str]], tokenizer: Any) -> dict[str, list[int]]:
    """Render a conversation of one question and mask the question."""
    question = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    prompt = tokenizer(question, add_special_tokens=False)["input_ids"]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return {"input_ids": ids, "labels": [-100] * len(prompt) + ids[len(prompt) :]}


CONTESTANTS: dict[str, Callable[[Path, Meter, RunConfig], None]] = {"Graft": graft, "bare loop": bare_loop, "TRL": trl}


def main() -> None:
    """Run one contestant and print its result as JSON."""
    meter = Meter()
    if sys.argv[1] != "TRL":
        # Installed for TRL only: the trainer's image is without, and Transformers imports it wherever it finds it.
        sys.modules["datasets"] = None  # type: ignore[assignment]
    from graft_trainer.config import read_run_config

    name, folder = sys.argv[1], Path(sys.argv[2])
    CONTESTANTS[name](folder, meter, read_run_config(folder / "run.json"))
    print(json.dumps(meter.result().to_dict()))


if __name__ == "__main__":
    main()
