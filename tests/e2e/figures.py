"""Figures that the end-to-end tests measure on the way: told, not asserted tightly, since machines differ."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Figures:
    """Name → (value, unit), in the order of measurement."""

    path: Path
    """Where they are written as JSON, each at once: a run of hours that is cut short keeps what it has measured."""
    values: dict[str, tuple[float, str]] = field(default_factory=dict)

    def note(self, name: str, value: float, unit: str) -> None:
        """Remember and write one figure."""
        self.values[name] = (round(value, 3), unit)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        listing = {name: {"value": value, "unit": unit} for name, (value, unit) in self.values.items()}
        self.path.write_text(json.dumps(listing, indent=2) + "\n", encoding="utf-8")

    def table(self) -> str:
        """Return the figures as an aligned text table."""
        width = max(map(len, self.values))
        return "\n".join(f"{name.ljust(width)}  {value:>10,} {unit}" for name, (value, unit) in self.values.items())
