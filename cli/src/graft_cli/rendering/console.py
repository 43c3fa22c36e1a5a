"""Prints to the two streams: results to stdout, messages about them to stderr.

Rich takes colours away by itself where stdout is no terminal or NO_COLOR is set. Lines that programs read are not
broken: without a terminal there is no width to keep. Words come from tenants, pods and files: whatever a terminal would
act upon is replaced on its way out, here and nowhere else.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from graft_cli.errors import GraftError
from graft_cli.rendering.texts import printable, without_colours

ENDLESS: Final = 100_000
"""Characters of a line that nothing has to fit into."""

STYLES: Final = {"good": "green", "busy": "yellow", "bad": "bold red", "plain": ""}


class PlainConsole(Console):
    """Prints no escape sequence but its own, and lets nobody's words turn the direction of a line."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is printed."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))

    def on_broken_pipe(self) -> None:
        """Leave it to the program: a reader that has seen enough is no failure, as it is for rich."""
        self.quiet = True
        raise BrokenPipeError


def console_for(stream: IO[str]) -> Console:
    """Return a console; lines are only broken for terminals."""
    return PlainConsole(
        file=stream, width=None if stream.isatty() else ENDLESS, highlight=False, markup=False, soft_wrap=False
    )


def prepare_streams() -> None:
    """Let no stream refuse a character, or be missing: what can't be written down becomes a question mark."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started this
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 -- until the program ends
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


def give_up_streams() -> None:
    """Write to nowhere from now on, or Python complains of a stream that nobody reads when it flushes."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
            continue
        with suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())


def show(*things: RenderableType) -> None:
    """Print results."""
    console = console_for(sys.stdout)
    for thing in things:
        console.print(thing)


def say(text: str, style: str = "") -> None:
    """Print a message about the results to stderr."""
    console_for(sys.stderr).print(Text(text, style=style))


def pass_on(line: str) -> None:
    """Print what others wrote, such as a line of a log: as it is, but for what a terminal would act upon."""
    sys.stdout.write(f"{without_colours(line) if sys.stdout.isatty() else line}\n")
    sys.stdout.flush()


def complain(error: GraftError) -> None:
    """Print an error to stderr, and what to do about it."""
    console = console_for(sys.stderr)
    message = error.message.strip().replace("\n", "\n    ")  # or one of its lines may look like one of ours
    console.print(Text("error: ", style="bold red") + Text(message, style="not bold"))
    if error.fix:
        console.print(Text("  to fix: ", style="bold") + Text(error.fix))


def as_text(*things: RenderableType, width: int = ENDLESS) -> str:
    """Return what would be printed, without colours and without blanks at the ends of lines."""
    stream = io.StringIO()
    console = PlainConsole(file=stream, width=width, highlight=False, markup=False, color_system=None)
    for thing in things:
        console.print(thing)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().removesuffix("\n").split("\n"))
