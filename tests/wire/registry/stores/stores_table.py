"""The table of docs/object-store.md, from what the doctor saw and the scenario needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from graft_registry.documents import Finding, StoreReport

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
HEAD = (
    "store",
    "to set",
    "conditional writes",
    "checksums",
    "of parts",
    "conditional multipart",
    "batch delete",
    "what Graft does",
)
CONSEQUENCES = {
    "conditional writes": "one writer at a time; looks before it writes, reads back afterwards",
    "checksums": "reads back what it has uploaded",
    "checksums of parts": "reads back what it has uploaded",
    "batch delete": "deletes one by one",
}
SWITCHED_OFF = "switched off"


@dataclass(frozen=True, slots=True)
class StoreRow:
    """One kind of store, with the settings that it needs."""

    name: str
    settings: tuple[str, ...]
    report: StoreReport

    def line(self) -> str:
        """Return the row in Markdown."""
        return f"| {' | '.join(self.cells())} |"

    def cells(self) -> tuple[str, ...]:
        """Return the row's cells."""
        found = {finding.check: finding for finding in self.report.findings}
        told = dict.fromkeys(
            text for check, text in CONSEQUENCES.items() if _matters(found[check]) and self.report.is_fit
        )
        return (
            self.name,
            "<br>".join(f"`{setting}`" for setting in self.settings) or "–",
            found["conditional writes"].found,
            found["checksums"].found,
            found["checksums of parts"].found,
            found["conditional multipart"].found,
            found["batch delete"].found,
            "; ".join(told) or "all as it should be",
        )


def _matters(finding: Finding) -> bool:
    return finding.verdict != "Ok" or finding.found == SWITCHED_OFF


def table_of(rows: list[StoreRow]) -> str:
    """Return the table in Markdown."""
    lines = [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
    return "\n".join([*lines, *(row.line() for row in rows)])


def table_in(page: Path) -> str:
    """Return the table that a page has between the marks."""
    return page.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()


def write(page: Path, table: str) -> None:
    """Replace the table between the marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
