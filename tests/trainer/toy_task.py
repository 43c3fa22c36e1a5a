"""The toy task: to name the kind of a noun when it is asked for in a chat."""

from __future__ import annotations

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
