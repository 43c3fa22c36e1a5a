"""What kubectl's parser takes a plain word for: a number, a truth value, nothing, or text.

kubectl takes an unquoted ``2e-4`` for a number and ``y`` for true, which PyYAML takes for text; it takes ``10:30`` and
``2026-01-01`` for text, which PyYAML takes for a number and a date. A field that holds text is the place where that
matters.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

TAG: Final = "tag:yaml.org,2002:"
TRUTHS: Final = ("y", "yes", "n", "no", "true", "false", "on", "off")
OWN: Final = "own_pairs"
"""Attribute of a mapping's node: the pairs that are written there, without those that are merged in."""
SCALARS: Final = {
    "bool": (
        re.compile(f"^(?:{'|'.join(spelling for word in TRUTHS for spelling in (word, word.title(), word.upper()))})$"),
        list("yYnNtTfFoO"),
    ),
    "int": (
        re.compile(r"^[-+]?(?:0[bB][01_]+|0[xX][0-9a-fA-F_]+|0[oO]?[0-7_]+|0|[1-9][0-9_]*)$"),
        list("-+0123456789"),
    ),
    "float": (
        re.compile(
            r"^(?:[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        list("-+.0123456789"),
    ),
}
"""In the order in which they are tried."""
UNKNOWN: Final = frozenset(f"{TAG}{name}" for name in (*SCALARS, "timestamp", "value"))
"""What PyYAML would see in other words, or that kubectl's parser does not know at all."""
DIGITS: Final = 20
"""Of the longest whole number; a longer one is a decimal number, as in Go."""


class KubectlLoader(yaml.SafeLoader):
    """Resolves plain scalars as kubectl's parser does."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        key: [(tag, words) for tag, words in value if tag not in UNKNOWN]
        for key, value in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    bool_values = {**yaml.SafeLoader.bool_values, "y": True, "n": False}  # noqa: RUF012

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge what ``<<`` names, and remember what was written beside it: that may say the same fields again."""
        own = [pair for pair in node.value if pair[0].tag != f"{TAG}merge"]
        super().flatten_mapping(node)
        if not hasattr(node, OWN):
            setattr(node, OWN, own)


class KubectlDumper(yaml.SafeDumper):
    """Puts text in quotes that kubectl's parser would take for something else, such as ``2e-4``; or PyYAML's."""

    yaml_implicit_resolvers = {key: list(value) for key, value in yaml.SafeDumper.yaml_implicit_resolvers.items()}  # noqa: RUF012


def whole_number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | float | str:
    """Return what Go makes of a whole number: one of 64 bits, else a decimal one, else text."""
    text = str(loader.construct_scalar(node)).replace("_", "").lower()
    sign, digits = (-1 if text.startswith("-") else 1), text.lstrip("+-")
    if digits[:1] != "0" and len(digits) > DIGITS:
        return sign * float(digits)
    based = digits[:1] == "0" and digits.strip("0") and digits[1] not in "box"
    number = int(digits, 8 if based else 0)
    return sign * number if number.bit_length() <= 64 else str(node.value)


for _side in (KubectlLoader, KubectlDumper):
    for _name, (_words, _first) in SCALARS.items():
        _side.add_implicit_resolver(f"{TAG}{_name}", _words, _first)
KubectlLoader.add_constructor(f"{TAG}int", whole_number)


def as_yaml(value: Any, *, escaped: bool = False) -> str:
    """Return plain data as YAML that kubectl reads as the same data; ``escaped``: in ASCII alone."""
    return yaml.dump(value, Dumper=KubectlDumper, sort_keys=False, allow_unicode=not escaped)
