"""Prints to the two streams: results to stdout, messages about them to stderr.

Rich takes colours away by itself where stdout is no terminal or NO_COLOR is set. Lines that programs read are not
broken: without a terminal there is no width to keep.
"""

from __future__ import annotations

import io
import sys
from typing import IO, Final

from rich.console import Console, RenderableType
from rich.text import Text

from graft_cli.errors import GraftError

ENDLESS: Final = 100_000
"""Characters of a line that nothing has to fit into."""

STYLES: Final = {"good": "green", "busy": "yellow", "bad": "bold red", "plain": ""}


def console_for(stream: IO[str]) -> Console:
    """Return a console; lines are only broken for terminals."""
    return Console(
        file=stream, width=None if stream.isatty() else ENDLESS, highlight=False, markup=False, soft_wrap=False
    )


def show(*things: RenderableType) -> None:
    """Print results."""
    console = console_for(sys.stdout)
    for thing in things:
        console.print(thing)


def say(text: str, style: str = "") -> None:
    """Print a message about the results to stderr."""
    console_for(sys.stderr).print(Text(text, style=style))


def complain(error: GraftError) -> None:
    """Print an error to stderr, and what to do about it."""
    console = console_for(sys.stderr)
    console.print(Text("error: ", style="bold red") + Text(error.message, style="not bold"))
    if error.fix:
        console.print(Text("  to fix: ", style="bold") + Text(error.fix))


def as_text(*things: RenderableType, width: int = ENDLESS) -> str:
    """Return what would be printed, without colours and without blanks at the ends of lines."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, highlight=False, markup=False, color_system=None)
    for thing in things:
        console.print(thing)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())
