"""The program ``kubectl_complete-graft``: kubectl asks it when it completes ``kubectl graft …``.

It prints what may come next, one a line, and a last line with Cobra's directive (kubectl's own protocol).
"""

from __future__ import annotations

import sys
from typing import Final

import click
from click.shell_completion import ShellComplete

from graft_cli.app import PROGRAM, app

NO_FILES, FILES = ":4", ":0"
"""Cobra's directives: complete no file names, or do."""

TAKE_FILES: Final = ("file", "dir")


def candidates(words: list[str]) -> tuple[list[str], str]:
    """Return what may come after the words, the last of which is not complete, and the directive."""
    *before, incomplete = words or [""]
    found = ShellComplete(app, {}, PROGRAM, "").get_completions(before, incomplete)
    names = [f"{item.value}\t{item.help}" if item.help else str(item.value) for item in found if item.type == "plain"]
    return names, FILES if any(item.type in TAKE_FILES for item in found) else NO_FILES


def main() -> None:
    """Answer kubectl."""
    names, directive = candidates(sys.argv[1:])
    for line in (*names, directive):
        click.echo(line)


if __name__ == "__main__":
    main()
