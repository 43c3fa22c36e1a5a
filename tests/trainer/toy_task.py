"""The toy task: to name the kind of a noun when it is asked for in a chat, or to prefer it to other kinds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

KINDS = {
    "fish": ("salmon", "trout", "cod", "tuna", "carp", "eel", "pike", "perch", "herring", "sole", "bass", "ray"),
    "tree": ("oak", "elm", "ash", "pine", "birch", "beech", "maple", "willow", "cedar", "fir", "larch", "yew"),
    "bird": ("crow", "wren", "owl", "hawk", "swan", "duck", "robin", "finch", "heron", "dove", "kite", "lark"),
    "tool": ("saw", "axe", "drill", "file", "plane", "chisel", "rasp", "pliers", "hammer", "awl", "vise", "clamp"),
}
HELD_OUT_PER_KIND = 3


def _row(noun: str, kind: str) -> dict[str, list[dict[str, str]]]:
    return {"messages": [{"role": "user", "content": f"what is the {noun}"}, {"role": "assistant", "content": kind}]}


TRAINING = [_row(noun, kind) for kind, nouns in KINDS.items() for noun in nouns[HELD_OUT_PER_KIND:]]
EVALUATION = [_row(noun, kind) for kind, nouns in KINDS.items() for noun in nouns[:HELD_OUT_PER_KIND]]


def _question(noun: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"what is the {noun}"}]


def _answer(kind: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": kind}]


def pairs(*, held_out: bool) -> list[dict[str, Any]]:
    """Return a pair for each noun and each kind that it isn't of."""
    return [
        {"prompt": _question(noun), "chosen": _answer(kind), "rejected": _answer(other)}
        for noun, kind in _nouns(held_out=held_out)
        for other in KINDS
        if other != kind
    ]


def labelled_answers(*, held_out: bool) -> list[dict[str, Any]]:
    """Return an answer for each noun and each kind, wanted if it is right."""
    return [
        {"prompt": _question(noun), "completion": _answer(other), "label": other == kind}
        for noun, kind in _nouns(held_out=held_out)
        for other in KINDS
    ]


def _nouns(*, held_out: bool) -> Iterator[tuple[str, str]]:
    for kind, nouns in KINDS.items():
        for noun in nouns[:HELD_OUT_PER_KIND] if held_out else nouns[HELD_OUT_PER_KIND:]:
            yield noun, kind
