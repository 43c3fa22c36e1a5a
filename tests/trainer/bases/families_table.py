"""The table of docs/bases.md, from what the tests saw."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
HEAD = (
    *("type", "class", "layers adapted by default", "`all-linear` leaves out", "served", "rows can be packed"),
    "whole loop on the CPU engine",
)
NOT_TRIED = "not tried"


@dataclass(frozen=True, kw_only=True)
class FamilyRow:
    """One kind of base."""

    model_type: str
    architecture: str
    default: list[str]
    left_out: str
    served: str
    packs: bool


class FamiliesTable:
    """One row for each kind of base."""

    def __init__(self) -> None:
        self._rows: list[FamilyRow] = []

    def add(self, row: FamilyRow) -> None:
        """Add a kind."""
        self._rows.append(row)

    def write(self, path: Path) -> None:
        """Replace the table between the marks of a document."""
        before, table, after = _parts(path)
        path.write_text(f"{before}{BEGIN}\n{self._text(_whole_loops(table))}\n{END}{after}", encoding="utf-8")

    def _text(self, whole_loops: Mapping[str, str]) -> str:
        lines = [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
        for row in sorted(self._rows, key=lambda row: row.model_type):
            cells = (
                f"`{row.model_type}`",
                row.architecture,
                ", ".join(f"`{name}`" for name in row.default),
                _kinds(row.left_out),
                row.served,
                "yes" if row.packs else "no",
                whole_loops.get(row.model_type, NOT_TRIED),
            )
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)


def write_whole_loop(path: Path, model_type: str, found: str) -> None:
    """Write what became of the whole loop of one kind into its row of the document's table."""
    before, table, after = _parts(path)
    lines = table.strip().splitlines()
    for number, line in enumerate(lines):
        cells = _cells(line)
        if cells[0] == f"`{model_type}`":
            lines[number] = f"| {' | '.join([*cells[: len(HEAD) - 1], _in_a_cell(found)])} |"
    table = "\n".join(lines)
    path.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def _whole_loops(table: str) -> dict[str, str]:
    """Return the last column of a table as it stands, by model type: other tests make the others."""
    rows = [_cells(line) for line in table.strip().splitlines()[2:]]
    return {cells[0].strip("`"): cells[-1] for cells in rows if len(cells) == len(HEAD)}


def _parts(path: Path) -> tuple[str, str, str]:
    """Return a document before its table, the table, and what follows."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    table, _, after = rest.partition(END)
    return before, table, after


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _in_a_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _kinds(left_out: str) -> str:
    """Leave the counts out: they are the tiny models'."""
    return (
        "; ".join(kind.partition(" × ")[2].partition(",")[0] for kind in left_out.split(", ") if " × " in kind) or "–"
    )
