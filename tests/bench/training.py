"""Graft's trainer against a bare PEFT loop and TRL: ``make bench-train``.

Every contestant trains in a process of its own, by turns, so that whatever else the machine does meets all of them.
Next to wall time stands CPU time, which tells the same on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.object_store import object_store
from tests.trainer.conftest import run_document

from graft_registry.config import RegistryConfig

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "build" / "bench-train.json"
ROWS, STEPS, WORDS = 256, 20, (20, 100)
"""Rows, optimizer steps, and the least and most words of a question."""
PHASES = ("imports", "load base", "render", "first step")
TURNS = {
    "Graft": ("Graft", False),
    "bare loop": ("bare loop", False),
    "TRL": ("TRL", False),
    "Graft, packed": ("Graft", True),
    "TRL, packed": ("TRL", True),
}


def build_base(folder: Path) -> None:
    """Save a random Llama of 3 million parameters with the toy task's tokenizer."""
    from tests.trainer.toy_base import word_tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = word_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=512,
        dtype="float32",
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_rows(path: Path) -> None:
    """Write conversations of many lengths."""
    from tests.trainer.toy_task import KINDS

    generator = random.Random(0)
    nouns = {noun: kind for kind, names in KINDS.items() for noun in names}
    with path.open("w") as file:
        for _ in range(ROWS):
            words = generator.choices(sorted(nouns), k=generator.randint(*WORDS))
            question = {"role": "user", "content": "what is the " + " ".join(words)}
            answer = {"role": "assistant", "content": " ".join(nouns[word] for word in words[:8])}
            file.write(json.dumps({"messages": [question, answer]}) + "\n")


def write_run(folder: Path, base: Path, config: RegistryConfig, *, packing: bool) -> None:
    """Write the run document that all contestants follow."""
    run = run_document("bench", endpoint=config.endpoint or "", base=base, base_digest="sha256:" + "0" * 64)
    rows = folder.parent / "rows.jsonl"
    run["dataset"]["source"] = {"file": {"path": str(rows), "uri": "configMap:rows/rows.jsonl"}}
    run["dataset"]["evaluation"] = {"splitPercent": 0}
    run["registry"]["bucket"] = config.bucket
    run["training"] |= {
        "maxSteps": STEPS,
        "batchSize": 8,
        "gradientAccumulation": 1,
        "maxSequenceLength": 256,
        "packing": packing,
        "learningRate": "2e-4",
    }
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(run))


def train(name: str, folder: Path) -> dict[str, Any]:
    """Run one contestant and return what it measured."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.contestants", name, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-4000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def medians(results: list[dict[str, Any]]) -> dict[str, float]:
    """Return the median of every number over the rounds."""
    numbers = ("tokens_per_second", "tokens_per_cpu_second", "peak_bytes")
    summary = {name: median(result[name] for result in results) for name in numbers}
    return summary | {phase: median(result["phases"][phase] for result in results) for phase in PHASES}


def table(summaries: dict[str, dict[str, float]]) -> str:
    """Return the comparison as Markdown."""
    columns = ("", "tokens/s", "to the bare loop", "tokens per CPU second", "to the bare loop", "peak RSS", *PHASES)
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    bare = summaries["bare loop"]
    for name, found in summaries.items():
        wall, cpu = found["tokens_per_second"], found["tokens_per_cpu_second"]
        phases = " | ".join(f"{found[phase]:.1f} s" for phase in PHASES)
        lines.append(
            f"| {name} | {wall:,.0f} | {wall / bare['tokens_per_second']:.2f} | {cpu:,.0f}"
            f" | {cpu / bare['tokens_per_cpu_second']:.2f} | {found['peak_bytes'] / 2**20:,.0f} MiB | {phases} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print a table and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name, object_store(Path(name) / "s3") as config:
        root = Path(name)
        build_base(root / "base")
        write_rows(root / "rows.jsonl")
        results: dict[str, list[dict[str, Any]]] = {turn: [] for turn in TURNS}
        for round_number in range(rounds):
            for turn, (contestant, packing) in TURNS.items():
                folder = root / f"{round_number} {turn}"
                write_run(folder, root / "base", config, packing=packing)
                results[turn].append(train(contestant, folder))
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"rounds": rounds, "results": results}, indent=1))
    print(table({turn: medians(found) for turn, found in results.items()}))


if __name__ == "__main__":
    main()
