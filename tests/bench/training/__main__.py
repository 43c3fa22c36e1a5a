"""Graft's trainer against a bare PEFT loop and TRL, with answers and with preferences: ``make bench-train``.

Every contestant trains in a process of its own, by turns, so that whatever else the machine does meets all of them.
The ratios within one round are what counts: their medians are printed. Next to wall time stands CPU time, which tells
the same on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

from tests.bench.object_store import object_store
from tests.bench.training.meter import BEGUN
from tests.trainer.conftest import run_document

from graft_registry.config import RegistryConfig

ROOT = Path(__file__).parents[3]
RESULT = ROOT / "build" / "bench-train.json"
ROWS, WORDS = 256, (20, 100)
"""Rows, and the least and most words of a question."""
ANSWER_WORDS = 8
PAIRS_IN_BATCH = 4
"""As many answers as others have rows in a batch."""
PHASES = ("interpreter", "imports", "rows", "model", "first step")
VOCABULARY = 4096

Found = dict[str, Any]
"""What a contestant measured: the fields of `meter.Result`."""


Kind = Literal["rows", "packed", "DPO"]
"""What is trained on: rows one by one, several in one sequence, or pairs of answers."""
KINDS = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Turn:
    """One training of each round."""

    contestant: str
    kind: Kind = "rows"

    @property
    def name(self) -> str:
        """What the tables call it."""
        return self.contestant if self.kind == "rows" else f"{self.contestant}, {self.kind}"


TURNS = (
    *(Turn("Graft"), Turn("bare loop"), Turn("TRL")),
    *(Turn("Graft", "packed"), Turn("TRL", "packed")),
    *(Turn("Graft", "DPO"), Turn("TRL", "DPO")),
)


def build_base(folder: Path) -> None:
    """Save a random Llama of 5 million parameters with the toy task's tokenizer."""
    from tests.trainer.toy_base import word_tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=512,
        dtype="float32",
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)


def write_rows(rows: Path, pairs: Path) -> None:
    """Write conversations of many lengths, and as many pairs of answers to the same questions."""
    from tests.trainer.toy_task import KINDS

    generator = random.Random(0)
    nouns = {noun: kind for kind, names in KINDS.items() for noun in names}
    with rows.open("w") as row_file, pairs.open("w") as pair_file:
        for _ in range(ROWS):
            words = generator.choices(sorted(nouns), k=generator.randint(*WORDS))
            question = {"role": "user", "content": "what is the " + " ".join(words)}
            kinds = [nouns[word] for word in words[:ANSWER_WORDS]]
            right, wrong = ({"role": "assistant", "content": " ".join(named)} for named in (kinds, _wrong(kinds)))
            row_file.write(json.dumps({"messages": [question, right]}) + "\n")
            pair_file.write(json.dumps({"prompt": [question], "chosen": [right], "rejected": [wrong]}) + "\n")


def _wrong(kinds: list[str]) -> list[str]:
    """Return another kind for each."""
    from tests.trainer.toy_task import KINDS

    order = sorted(KINDS)
    return [order[(order.index(kind) + 1) % len(order)] for kind in kinds]


def write_run(folder: Path, base: Path, config: RegistryConfig, *, kind: Kind, steps: int) -> None:
    """Write the run document that all contestants follow."""
    run = run_document("bench", endpoint=config.endpoint or "", base=base, base_digest="sha256:" + "0" * 64)
    preferences = kind == "DPO"
    rows = folder.parent / ("pairs.jsonl" if preferences else "rows.jsonl")
    run["dataset"]["source"] = {"file": {"path": str(rows), "uri": "configMap:rows/rows.jsonl"}}
    run["dataset"]["evaluation"] = {"splitPercent": 0}
    run["registry"]["bucket"] = config.bucket
    run["training"] |= {
        "objective": "DPO" if preferences else "SFT",
        "maxSteps": steps,
        "batchSize": PAIRS_IN_BATCH if preferences else 2 * PAIRS_IN_BATCH,
        "gradientAccumulation": 1,
        "maxSequenceLength": 256,
        "packing": kind == "packed",
        "learningRate": "2e-4",
    }
    # A recipe of its own: the checkpoint of another turn would be resumed.
    run["recipe"] = f"sha256:{random.Random(folder.name).randbytes(32).hex()}"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(run))


def train(contestant: str, folder: Path) -> Found:
    """Run one contestant on one thread and return what it measured."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.training.contestants", contestant, str(folder)]
    environment[BEGUN] = str(time.time())
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{contestant} failed:\n{done.stderr[-4000:]}")
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


def check_fairness(results: dict[Turn, Found]) -> None:
    """End the measurement where contestants of one round were given other batches: their speeds say nothing then."""
    for kind in ("rows", "DPO"):
        seen = {turn.name: found["tokens"] for turn, found in results.items() if turn.kind == kind}
        if len(set(seen.values())) > 1:
            raise SystemExit(f"the contestants trained on different tokens: {seen}")


def to_the_better(rounds: list[dict[Turn, Found]], turn: Turn, measure: str) -> float:
    """Return the median over the rounds of a contestant's measure, divided by the best that isn't Graft's."""
    rivals = [rival for rival in TURNS if rival.kind == turn.kind and rival.contestant != "Graft"]
    best = min if measure.endswith("bytes") else max
    return float(median(found[turn][measure] / best(found[rival][measure] for rival in rivals) for found in rounds))


def speed_table(rounds: list[dict[Turn, Found]]) -> str:
    """Return speed and memory as Markdown."""
    speed = ("tokens/s", "to the better", "tokens per CPU second", "to the better")
    columns = ("", *speed, "peak memory", "to the better", "of it training")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for turn in rounds[0]:
        cells = [turn.name]
        for measure in ("tokens_per_second", "tokens_per_cpu_second"):
            cells += [f"{middle(rounds, turn, measure):,.0f}", f"{to_the_better(rounds, turn, measure):.3f}"]
        cells += [mebibytes(rounds, turn, "peak_bytes"), f"{to_the_better(rounds, turn, 'peak_bytes'):.2f}"]
        cells += [mebibytes(rounds, turn, "training_bytes")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def start_table(rounds: list[dict[Turn, Found]]) -> str:
    """Return the way from the start of the process to the end of the first step as Markdown."""
    columns = ("seconds", *PHASES, "together")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for turn in rounds[0]:
        seconds = [median(found[turn]["phases"][phase] for found in rounds) for phase in PHASES]
        together = median(sum(found[turn]["phases"].values()) for found in rounds)
        lines.append(f"| {' | '.join([turn.name, *(f'{value:.1f}' for value in (*seconds, together))])} |")
    return "\n".join(lines)


def keep(rounds: list[dict[Turn, Found]]) -> None:
    """Keep what was measured so far."""
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps([{turn.name: found for turn, found in each.items()} for each in rounds], indent=1))


def middle(rounds: list[dict[Turn, Found]], turn: Turn, measure: str) -> float:
    """Return the median of a measure over the rounds."""
    return float(median(found[turn][measure] for found in rounds))


def mebibytes(rounds: list[dict[Turn, Found]], turn: Turn, measure: str) -> str:
    """Return the median of a measure in bytes, for people."""
    return f"{middle(rounds, turn, measure) / 2**20:,.0f} MiB"


def main() -> None:
    """Measure, print tables and keep the numbers."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.training", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=31, help="optimizer steps, the first one is not measured")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="what is trained on")
    arguments = parser.parse_args()
    turns = tuple(turn for turn in TURNS if turn.kind in arguments.kinds)
    rounds: list[dict[Turn, Found]] = []
    with tempfile.TemporaryDirectory() as name, object_store(Path(name) / "s3") as config:
        root = Path(name)
        build_base(root / "base")
        write_rows(root / "rows.jsonl", root / "pairs.jsonl")
        for number in range(arguments.rounds):
            found = {}
            for turn in turns:
                folder = root / f"{number} {turn.name}"
                write_run(folder, root / "base", config, kind=turn.kind, steps=arguments.steps)
                found[turn] = train(turn.contestant, folder)
            check_fairness(found)
            rounds.append(found)
            keep(rounds)
            print(f"round {number + 1} of {arguments.rounds} is over", file=sys.stderr)
    print(f"{speed_table(rounds)}\n\n{start_table(rounds)}")


if __name__ == "__main__":
    main()
