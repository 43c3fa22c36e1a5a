"""The table of docs/importing.md, from what the tests saw."""

from __future__ import annotations

from pathlib import Path

from tests.trainer.importing.foreign_layouts import LAYOUTS, Layout

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
HEAD = ("written by", "what it is", "imported", "the refusal says")


class ImportingTable:
    """One row for each form."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def add(self, name: str, message: str) -> None:
        """Add what a refusal has said, or nothing."""
        self._seen[name] = message

    def write(self, path: Path) -> None:
        """Replace the table between the marks of a document."""
        before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        path.write_text(f"{before}{BEGIN}\n{self._text()}\n{END}{after}", encoding="utf-8")

    def _text(self) -> str:
        rows = [_row(layout, self._seen[name]) for name, layout in LAYOUTS.items() if name in self._seen]
        return "\n".join([f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}", *rows])


def _row(layout: Layout, message: str) -> str:
    said = message.replace("|", "\\|").replace("*", "\\*").replace("<", "\\<")
    return f"| {layout.written_by} | {layout.what} | {layout.result} | {said or '–'} |"
