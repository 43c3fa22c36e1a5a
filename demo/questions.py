"""Held-out rows as questions, and how many of the answers are right. Pure, but for reading the rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.load import Answer


@dataclass(frozen=True, slots=True)
class Row:
    """A question and its one right answer."""

    question: str
    expected: str


@dataclass(frozen=True, slots=True)
class Score:
    """How many of the answers were right."""

    right: int
    total: int

    def __str__(self) -> str:
        return f"{self.right} of {self.total} right ({self.right / self.total:.0%})" if self.total else "nothing asked"


def read_rows(path: Path, limit: int) -> list[Row]:
    """Read the first rows of a JSONL file of chats that end with the right answer."""
    lines = path.read_text(encoding="utf-8").splitlines()[:limit]
    chats = [json.loads(line)["messages"] for line in lines]
    return [Row(chat[-2]["content"], chat[-1]["content"]) for chat in chats]


def score(rows: Sequence[Row], answers: Sequence[Answer]) -> Score:
    """Count the answers that equal the expected one, apart from white space and case."""
    pairs = zip(rows, answers, strict=True)
    right = sum(answer.status == 200 and normal(answer.text) == normal(row.expected) for row, answer in pairs)
    return Score(right, len(rows))


def normal(text: str) -> str:
    """Return the text as it is compared."""
    return " ".join(text.lower().split())


def side_by_side(rows: Sequence[Row], answers: Mapping[str, Sequence[Answer]], *, width: int = 44) -> list[list[str]]:
    """Return a table: a question per row, then what each model says to it, then the right answer."""
    header = ["question", *answers, "right answer"]
    body = [
        [cut(row.question, width), *(cut(answers[model][index].text, 18) for model in answers), row.expected]
        for index, row in enumerate(rows)
    ]
    return [header, *body]


def cut(text: str, width: int) -> str:
    """Return the text on one line, shortened to a width."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
