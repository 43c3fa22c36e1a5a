"""The table of docs/bases.md, from what the tests saw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
HEAD = ("type", "class", "layers adapted by default", "`all-linear` leaves out", "served", "rows can be packed")


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
        before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        path.write_text(f"{before}{BEGIN}\n{self._text()}\n{END}{after}", encoding="utf-8")

    def _text(self) -> str:
        lines = [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
        for row in sorted(self._rows, key=lambda row: row.model_type):
            cells = (
                f"`{row.model_type}`",
                row.architecture,
                ", ".join(f"`{name}`" for name in row.default),
                _kinds(row.left_out),
                row.served,
                "yes" if row.packs else "no",
            )
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)


def _kinds(left_out: str) -> str:
    """Leave the counts out: they are the tiny models'."""
    return (
        "; ".join(kind.partition(" × ")[2].partition(",")[0] for kind in left_out.split(", ") if " × " in kind) or "–"
    )
