"""Tables, as kubectl prints them: a head in capitals, and columns by blanks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from rich.table import Table
from rich.text import Text

from graft_cli.client.objects import Adapter
from graft_cli.decisions.versions import Difference, short, uses

STATE_STYLES: Final = {"Published": "green", "Rejected": "red", "Refused": "red", "RolledBack": "yellow"}


def table(head: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Return a table without lines."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    for title in head:
        made.add_column(title, overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return made


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


def difference_table(before: int, after: int, rows: Iterable[Difference]) -> Table:
    """Return two versions beside each other; what differs stands out."""

    def cells(row: Difference) -> tuple[str | Text, ...]:
        style = "bold" if row.differs else "dim"
        return tuple(Text(cell, style=style) for cell in (row.field, row.before, row.after, row.change))

    return table(("", f"v{before}", f"v{after}", "CHANGE"), [cells(row) for row in rows])


def age(then: datetime, now: datetime) -> str:
    """Return how long ago something was."""
    return seconds(max(0, int((now - then).total_seconds())))


def seconds(count: int) -> str:
    """Return a duration in its two largest units, such as ``3h12m``."""
    units = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
    parts: list[tuple[int, str]] = []
    for name, size in units:
        amount, count = divmod(count, size)
        if amount or parts:
            parts.append((amount, name))
    shown = [f"{amount}{name}" for amount, name in parts[:2] if amount]
    return "".join(shown) or "0s"
