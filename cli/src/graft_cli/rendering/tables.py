"""Tables, as kubectl prints them: a head in capitals, and columns by blanks."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from graft_cli.client.objects import Adapter
from graft_cli.decisions.stored.comparison import SampleAnswers, Section
from graft_cli.decisions.stored.verification import VerifiedVersion
from graft_cli.decisions.versions import Difference, short, uses
from graft_cli.rendering.durations import age
from graft_cli.rendering.texts import printable

STATE_STYLES: Final = {"Published": "green", "Rejected": "red", "Refused": "red", "RolledBack": "yellow"}


def table(head: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Return a table without lines."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    for title in head:
        made.add_column(title, overflow="fold")
    for row in rows:
        made.add_row(*map(_as_cell, row))
    return made


def _as_cell(content: str | Text) -> Text:
    """Return a cell that is as wide as it looks: what a terminal acts upon has no width, what stands for it has one."""
    if isinstance(content, str):
        return Text(printable(content))
    content.plain = printable(content.plain)
    return content


@dataclass(frozen=True, slots=True)
class FittedTable:
    """A table that is turned on its side where its rows are wider than the terminal: no word of it is broken then."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | Text]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table as it fits."""
        upright = table(self.head, self.rows)
        wanted = Measurement.get(console, options.update_width(sys.maxsize), upright).maximum
        if wanted <= options.max_width:
            yield upright
            return
        titles = [Text(title, style="bold") for title in self.head]
        head, *rows = zip(titles, *self.rows, strict=True)
        yield table([str(cell) for cell in head], rows)


def history_table(adapter: Adapter, now: datetime) -> Table:
    """Return an adapter's versions, the newest first."""
    rows = []
    for version in adapter.status.versions:
        rows.append(
            (
                f"v{version.number}",
                Text(version.state, style=STATE_STYLES.get(version.state, "")),
                ", ".join(uses(adapter, version)) or "-",
                version.reason,
                short(version.base_digest),
                str(version.rank if version.rank is not None else "-"),
                version.eval_loss or "-",
                version.exact_match or "-",
                f"{age(version.published_time, now)} ago" if version.published_time else "-",
                version.message or "-",
            )
        )
    head = ("VERSION", "STATE", "USE", "WHY", "BASE", "RANK", "LOSS", "EXACT", "PUBLISHED", "MESSAGE")
    return table(head, rows)


def difference_table(before: int, after: int, rows: Iterable[Difference], title: str = "") -> Table:
    """Return two versions beside each other; what differs stands out."""

    def cells(row: Difference) -> tuple[str | Text, ...]:
        style = "bold" if row.differs else "dim"
        found = (row.field, row.before, row.after, row.change)
        return tuple(Text(printable(cell), style=style) for cell in found)

    return table((title, f"v{before}", f"v{after}", "CHANGE"), [cells(row) for row in rows])


def section_tables(before: int, after: int, sections: Iterable[Section]) -> Iterator[RenderableType]:
    """Return what differs, kind by kind; what is the same in both is only counted."""
    for section in sections:
        differing = [row for row in section.rows if row.differs]
        same = len(section.rows) - len(differing)
        yield Text()
        if differing:
            yield difference_table(before, after, differing, section.title.upper())
        else:
            yield Text(section.title.upper(), style="bold")
        yield Text(
            f"{same} more the same" if differing else f"all {same} the same" if same else "nothing is told", "dim"
        )


def sample_tables(before: int, after: int, answers: Iterable[SampleAnswers]) -> Iterator[RenderableType]:
    """Return the answers of both versions to the same prompts, and the base's."""
    for sample in answers:
        yield Text()
        yield Text.assemble(("PROMPT  ", "bold"), printable(sample.prompt).strip())
        said = (("base", sample.base), (f"v{before}", sample.before), (f"v{after}", sample.after))
        rows = [(name, "-" if text is None else printable(text).strip()) for name, text in said]
        yield table(("", "ANSWER"), rows)


def verification_table(versions: Iterable[VerifiedVersion]) -> Table:
    """Return every object of versions with its verdict; of what is not as it was, what was expected and found."""
    rows = []
    for version in versions:
        for item in version.objects:
            is_same = item.verdict == "Same"
            expected = (
                "" if is_same else f"{item.key}: expected {item.expected or '?'}, found {item.found or 'nothing'}"
            )
            rows.append(
                (
                    f"v{version.number}",
                    printable(item.object),
                    str(item.size if item.size is not None else "-"),
                    short(f"sha256:{item.found.removeprefix('sha256:')}") if item.found and is_same else "-",
                    Text(item.verdict, style="green" if is_same else "bold red"),
                    printable(expected) or "-",
                )
            )
    return table(("VERSION", "OBJECT", "BYTES", "DIGEST", "VERDICT", "MESSAGE"), rows)
