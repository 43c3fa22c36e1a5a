"""Functions and files that one can read at once: what is longer has parts that deserve a name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("operator/src", "registry/src", "serving_image/src", "trainer_image/src", "cli/src", "hack", "demo")
LONGEST_FUNCTION, LONGEST_FILE = 40, 300


def too_long(file: Path) -> Iterator[str]:
    """Yield the file and its functions that are beyond the limits, with their lines."""
    text = file.read_text(encoding="utf-8")
    if (lines := text.count("\n")) > LONGEST_FILE:
        yield f"{file.relative_to(ROOT)}: {lines} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                yield f"{file.relative_to(ROOT)}:{node.lineno}: {node.name} has {lines} lines"


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_and_files_are_short_enough(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    assert [found for file in files for found in too_long(file)] == []
