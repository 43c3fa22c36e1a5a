"""How fast rows become tokens and labels, and in how much memory: ``make bench-data``.

Beside the trainer: ``datasets`` with the tokenization of TRL's SFTTrainer for conversations (assistant masks), both
with as many processes, by turns, on the same files. SCALE 1 is a million single-turn rows, 20,000 of 40 turns and 500
of 30,000 tokens. The first set is there with a fifth of its rows, too: memory that does not depend on their number is
the same for both.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SETS = {
    "a fifth of the single turns": (200_000, 1, 60, 80),
    "single turns": (1_000_000, 1, 60, 80),
    "40 turns": (20_000, 20, 20, 25),
    "30,000 tokens": (500, 1, 10_000, 300),
}
"""Rows, pairs of question and answer in each, and words of either, on average."""
TEXT = (
    "the quick brown fox jumps over lazy dog what is capital of France Paris Berlin question answer about cities and "
    "mountains colours red green blue yellow black white one two three four think hello world please tell me which one"
)
WORDS = TEXT.split()
LONGEST = 131_072
Counts = Callable[[], tuple[int, int]]
"""Counts rows and tokens, which takes one of them longer than the other and is nobody's work."""
MEASURE = "measure"
"""The first argument of a process that works on one set, for one of them."""


def main(chosen: argparse.Namespace) -> None:
    """Make the sets, let both read them by turns, and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        print(f"{chosen.processes} processes\n")
        print(f"| set | rows | tokens | | rows/s | CPU seconds | peak memory over the imports |\n|{'---|' * 7}")
        for name in chosen.sets:
            path = write(Path(folder) / f"{name.replace(' ', '-')}.jsonl", SETS[name], chosen.scale)
            for who in chosen.who * chosen.rounds:
                command = [sys.executable, "-m", "tests.bench.data", MEASURE, who, str(path), str(chosen.processes)]
                found = json.loads(
                    subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
                )
                print(
                    f"| {name} | {found['rows']:,} | {found['tokens']:,} | {who} "
                    f"| {found['rows'] / found['wall']:,.0f} | {found['cpu']:.1f} | {found['memory']:.0f} MiB |",
                    flush=True,
                )


def write(path: Path, shape: tuple[int, int, int, int], scale: float) -> Path:
    """Write a set of conversations of random words."""
    rows, pairs, asked, answered = shape
    draw = random.Random(path.name)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(max(8, round(rows * scale))):
            turns = []
            for _ in range(pairs):
                turns += [
                    {"role": "user", "content": _words(draw, asked)},
                    {"role": "assistant", "content": _words(draw, answered)},
                ]
            file.write(json.dumps({"messages": turns}) + "\n")
    return path


def _words(draw: random.Random, mean: int) -> str:
    return " ".join(draw.choices(WORDS, k=max(3, round(draw.gauss(mean, mean / 4)))))


def tokenizer(template: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of some words, with one of the templates that TRL ships."""
    import trl
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([TEXT] * 4, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = (Path(trl.__file__).parent / "chat_templates" / f"{template}.jinja").read_text(
        encoding="utf-8"
    )
    return fast


def graft(path: Path, processes: int) -> Counts:
    """Read and render as the trainer does."""
    from graft_registry.config import RegistryConfig
    from graft_trainer.data.dataset import load_dataset
    from graft_trainer.data.files.sources import DataFetcher
    from graft_trainer.data.rendering import Renderer
    from graft_trainer.dataset_config import DatasetConfig
    from graft_trainer.row_files.rendering import render_rows

    source = {"file": {"path": str(path), "uri": "rows.jsonl"}}
    config = DatasetConfig.model_validate({"source": source, "evaluation": {"splitPercent": 0}})
    fetcher = DataFetcher(RegistryConfig(bucket="none"), path.parent)
    dataset = load_dataset(config, fetcher, seed=1)
    rendered = render_rows(
        dataset.training,
        Renderer(tokenizer("qwen2_5")),
        max_length=LONGEST,
        max_dropped_percent=0,
        processes=processes,
    )
    return lambda: (len(rendered.rows), sum(map(len, rendered.rows)))


def trl(path: Path, processes: int) -> Counts:
    """Read with datasets and tokenize as TRL's SFTTrainer does with ``assistant_only_loss``."""
    import datasets

    datasets.disable_progress_bars()
    own = tokenizer("qwen2_5_training")
    rows = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(path.parent))

    def tokenize(example: dict[str, Any]) -> dict[str, Any]:
        made = own.apply_chat_template(
            example["messages"], return_dict=True, return_assistant_tokens_mask=True, tokenize=True
        )
        return {"input_ids": made["input_ids"], "assistant_masks": made["assistant_masks"]}

    made = rows.map(tokenize, remove_columns=["messages"], num_proc=processes if processes > 1 else None)
    return lambda: (len(made), sum(len(row["input_ids"]) for row in made.select_columns("input_ids")))


def measure(who: str, path: Path, processes: int) -> dict[str, Any]:
    """Let one of them work on a set, once everything is imported."""
    import datasets  # noqa: F401
    import torch  # noqa: F401
    from trl import SFTConfig  # noqa: F401

    prepare = graft if who == "graft" else trl
    # Whatever they leave on the disk goes with the folder.
    with tempfile.TemporaryDirectory() as folder:
        # Once on a few rows: what is imported or compiled only then is neither's speed.
        prepare(write(Path(folder) / "few.jsonl", (8, 1, 8, 8), 1.0), 1)()
        own = Path(folder) / path.name
        own.hardlink_to(path)
        before, began, busy = _memory(), time.perf_counter(), _busy()
        counts = prepare(own, processes)
        wall, cpu, memory = time.perf_counter() - began, _busy() - busy, _memory() - before
        rows, tokens = counts()
    return {"rows": rows, "tokens": tokens, "wall": wall, "cpu": cpu, "memory": memory}


def _busy() -> float:
    """CPU seconds of this process and those that it has waited for."""
    return sum(os.times()[:4])


def _memory() -> float:
    """Most memory so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scale", type=float, nargs="?", default=0.02)
    parser.add_argument("processes", type=int, nargs="?", default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--who", nargs="+", choices=("graft", "trl"), default=["graft", "trl"])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] == [MEASURE]:
        print(json.dumps(measure(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
    else:
        main(_arguments())
