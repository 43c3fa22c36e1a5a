"""``lint``: files alone, no cluster."""

from __future__ import annotations

from collections.abc import Sequence
from os.path import normpath

import click
from rich.text import Text

from graft_cli.commands.files import found_files, read_text
from graft_cli.commands.options import output_option
from graft_cli.decisions.linting import Problem, lint
from graft_cli.decisions.manifests import Manifest, patch_files, read_manifests
from graft_cli.errors import ExitCode, GraftError
from graft_cli.rendering.console import say, show
from graft_cli.rendering.documents import Format, print_document
from graft_cli.rendering.texts import on_one_line


@click.command(name="lint")
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True))
@click.option("--strict", is_flag=True, help="Fail on advice, too.")
@output_option
def lint_files(files: Sequence[str], strict: bool, output: Format) -> int:
    """Check manifests without a cluster, as the API server and the operator would.

    FILE is a YAML file, a folder with all below it, or - for stdin. Objects of other kinds are left aside.
    """
    problems: list[Problem] = []
    manifests: list[Manifest] = []
    for file in found_files(files):
        try:
            manifests += read_manifests(file, read_text(file))
        except GraftError as error:
            problems.append(unreadable(file, error))
    patches = patch_files(manifests)
    problems = [problem for problem in problems if normpath(problem.file) not in patches]
    found, count = lint(manifest for manifest in manifests if normpath(manifest.file) not in patches)
    problems += found
    if output != "table":
        print_document({"checked": count, "problems": problems}, output)
    else:
        show(*map(problem_line, problems))
        say(summary(count, problems))
    if any(normpath(file) in patches for file in found_files(files)):
        say("patches are left aside: `kubectl kustomize FOLDER | kubectl graft lint -` checks what they make")
    failed = any(problem.severity == "error" or strict for problem in problems)
    return ExitCode.FAILED if failed else ExitCode.OK


def unreadable(file: str, error: GraftError) -> Problem:
    """Return the problem of a file that holds no objects."""
    place, _, message = error.message.removeprefix(file).partition(": ")
    line = place.removeprefix(":")
    return Problem(file, int(line) if line.isdigit() else 1, "", "", message, error.fix)


def problem_line(problem: Problem) -> Text:
    """Return ``file:line: object: field: what; the fix``."""
    style = "bold red" if problem.severity == "error" else "yellow"
    line = Text.assemble(on_one_line(f"{problem.file}:{problem.line}: "), (f"{problem.severity}: ", style))
    line.append(on_one_line(": ".join(part for part in (problem.object, problem.field, problem.message) if part)))
    return line.append(on_one_line(f"; {problem.fix}") if problem.fix else "", style="bold")


def summary(count: int, problems: Sequence[Problem]) -> str:
    """Return what was looked at."""
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    return f"{counted(count, 'object')} checked: {counted(errors, 'error')}, {counted(warnings, 'warning')}"


def counted(count: int, noun: str) -> str:
    """Return ``1 error`` or ``2 errors``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
