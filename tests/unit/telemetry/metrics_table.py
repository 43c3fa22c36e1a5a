"""The tables of docs/metrics.md that are made from the code. Run as a program it writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.exported_series import operator_metrics

from graft_operator.telemetry.objects.families import FAMILIES

PAGE: Final = Path(__file__).parents[3] / "docs" / "metrics.md"
HEAD: Final = "| metric | type | labels | what |\n|---|---|---|---|\n"


def objects_table() -> str:
    """Return the table of the series about objects."""
    return _table((item.name, item.kind, item.labels, item.text) for item in FAMILIES)


def operator_table() -> str:
    """Return the table of what the operator tells of itself."""
    rows = []
    for item in operator_metrics():
        [family] = item.describe()
        name = family.name + "_total" * (family.type == "counter")
        rows.append((name, family.type, tuple(item._labelnames), family.documentation))
    return _table(sorted(rows))


def _table(rows: Iterable[tuple[str, str, tuple[str, ...], str]]) -> str:
    lines = (f"| `{name}` | {kind} | {', '.join(labels)} | {text} |\n" for name, kind, labels, text in rows)
    return HEAD + "".join(lines)


TABLES: Final = {"objects'": objects_table, "operator's": operator_table}


def with_tables(page: str) -> str:
    """Return the page with its tables as the code has them."""
    for name, table in TABLES.items():
        begin, end = f"<!-- begin of the {name} metrics -->\n", f"<!-- end of the {name} metrics -->"
        assert page.count(begin) == page.count(end) == 1, name
        page = re.sub(f"(?s){begin}.*?{end}", lambda _: f"{begin}{table()}{end}", page)  # noqa: B023
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
