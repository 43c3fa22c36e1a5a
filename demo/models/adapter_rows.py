"""The rows that the demo's adapters learn: a definition, and the one word that the adapter gives for it.

Both adapters see the same kind of prompt, so that what they answer shows which of them is applied.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.models.wordnet import Synset

TOPICS = ("animal", "artifact", "food", "location", "person", "plant")
WORDS_PER_DEFINITION = range(4, 25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What one adapter learns, and how many rows of every label it gets."""

    name: str
    label_of: Callable[[Synset], str | None]
    training_rows: int
    small_rows: int
    eval_rows: int


TASKS = (
    Task(
        name="topic",
        label_of=lambda synset: synset.topic if synset.topic in TOPICS else None,
        training_rows=220,
        small_rows=100,
        eval_rows=33,
    ),
    Task(
        name="speech",
        label_of=lambda synset: synset.part_of_speech,
        training_rows=330,
        small_rows=160,
        eval_rows=50,
    ),
)


def write_rows(synsets: Sequence[Synset], folder: Path) -> None:
    """Write ``<task>.train.jsonl``, ``<task>.small.jsonl`` (a part of it) and ``<task>.eval.jsonl`` of every task."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in TASKS:
        generator = random.Random(task.name)
        splits: dict[str, list[str]] = {"eval": [], "small": [], "train": []}
        for label, members in sorted(_by_label(synsets, task).items()):
            held_out = [synset for synset in members if synset.held_out]
            seen = [synset for synset in members if not synset.held_out]
            training = [_row(synset, label) for synset in generator.sample(seen, task.training_rows)]
            splits["eval"] += [_row(synset, label) for synset in generator.sample(held_out, task.eval_rows)]
            splits["small"] += training[: task.small_rows]
            splits["train"] += training
        for split, rows in splits.items():
            generator.shuffle(rows)
            _write(folder / f"{task.name}.{split}.jsonl", rows)


def _by_label(synsets: Sequence[Synset], task: Task) -> dict[str, list[Synset]]:
    """Group the definitions of a usable length by the task's label, each definition once."""
    groups: dict[str, list[Synset]] = defaultdict(list)
    seen: set[str] = set()
    for synset in synsets:
        label = task.label_of(synset)
        if label and synset.gloss not in seen and len(synset.gloss.split()) in WORDS_PER_DEFINITION:
            seen.add(synset.gloss)
            groups[label].append(synset)
    return groups


def _row(synset: Synset, label: str) -> str:
    messages = [{"role": "user", "content": synset.gloss}, {"role": "assistant", "content": label}]
    return json.dumps({"messages": messages}, ensure_ascii=False)


def _write(path: Path, rows: Iterable[str]) -> None:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
