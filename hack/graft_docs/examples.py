"""The examples of the documentation: blocks of YAML and of commands, with the place where each stands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Final

BLOCK: Final = re.compile(r"^(?P<indent> *)```(?P<language>[a-z]*)[^\n`]*\n(?P<text>.*?)^(?P=indent)```", re.M | re.S)
SHELLS: Final = frozenset({"bash", "console", ""})
INLINE: Final = re.compile(r"`((?:kubectl graft|make) [^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_object(self) -> bool:
        """Whether it holds whole objects."""
        return self.language == "yaml" and re.search(r"^apiVersion:", self.text, re.M) is not None


def pages(root: Path) -> list[Path]:
    """Return every page that people read: the documentation, the README and what is said beside the code."""
    found = [*sorted((root / "docs").rglob("*.md")), *sorted(root.glob("*.md")), root / "hack/README.md"]
    return [page for page in found if page.name != "CHANGELOG.md"]


def blocks(root: Path, files: Iterable[Path]) -> Iterator[Block]:
    """Yield the fenced blocks of some pages."""
    for file in files:
        text = file.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 2
            yield Block(str(file.relative_to(root)), line, match["language"], dedent(match["text"]))


def manifests(root: Path) -> list[Block]:
    """Return all YAML that can be applied: blocks of pages, and the files of ``examples/`` and ``docs/gitops/``."""
    files = [*sorted((root / "examples").glob("*.yaml")), *sorted((root / "docs/gitops").glob("*.yaml"))]
    whole = [Block(str(file.relative_to(root)), 1, "yaml", file.read_text(encoding="utf-8")) for file in files]
    return [*(block for block in blocks(root, pages(root)) if block.is_object), *whole]


def commands(block: Block) -> list[str]:
    """Return the command lines of a block: of output beside commands only those after a prompt."""
    if block.language not in SHELLS:
        return []
    lines = block.text.replace("\\\n", " ").splitlines()
    prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return prompted or [line for line in lines if line.startswith(("kubectl ", "make ", "helm "))]


def mentioned(root: Path, files: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Yield (place, command line) of each verb of the plugin and each make target that pages mention."""
    for file in files:
        name, text = str(file.relative_to(root)), file.read_text(encoding="utf-8")
        for block in blocks(root, [file]):
            yield from ((str(block), line) for line in commands(block))
        prose = BLOCK.sub("", text)
        yield from ((name, match[1]) for match in INLINE.finditer(prose))


def words(line: str) -> list[str]:
    """Return the words of a command line, without a comment and what follows a pipe."""
    try:
        found = shlex.split(line, comments=True)
    except ValueError:  # an apostrophe in prose
        found = line.split()
    ends = [position for position, word in enumerate(found) if word in ("|", ">", ";", "&&")]
    return found[: ends[0]] if ends else found
