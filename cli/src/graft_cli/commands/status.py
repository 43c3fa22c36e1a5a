"""``status`` and ``history``: what status and conditions tell."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from typing import Final, NoReturn, TypeVar

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from graft_cli.client import Adapter, Base, GraftReader
from graft_cli.commands.options import (
    Target,
    adapter_argument,
    all_namespaces_option,
    cluster_options,
    complete_adapter,
    output_option,
)
from graft_cli.decisions.tree import BaseNode, known_names, missing_names, narrowed_to, status_tree, with_advice_of
from graft_cli.decisions.versions import readable
from graft_cli.errors import ExitCode, Forbidden, NotFound, Unreachable, did_you_mean
from graft_cli.rendering.console import STYLES, as_text, complain, console_for, say, show
from graft_cli.rendering.documents import Format, print_document
from graft_cli.rendering.tables import history_table
from graft_cli.rendering.tree import status_view

LOOK_SECONDS: Final = 2.0

Thing = TypeVar("Thing", Adapter, Base)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_adapter)
@click.option("-w", "--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
@all_namespaces_option
@output_option
@cluster_options
def status(target: Target, names: tuple[str, ...], watch: bool, output: Format) -> int:
    """Show bases, their adapters, and what each waits for.

    NAME is a base, which is shown with all its adapters, or an adapter. Advice on a spec is shown of adapters that are
    named.
    """
    namespace = target.listed_namespace
    if watch and output != "table":
        raise click.UsageError("--watch shows the tree; for programs, call `status -o json` again")
    if watch:
        watch_tree(target.reader, namespace, names)
    hidden: list[Forbidden] = []
    tree = read_tree(target.reader, namespace, names, hidden)
    if output != "table":
        print_document({"bases": tree}, output)
    elif tree:
        show(status_view(with_advice_of(tree, names), datetime.now(UTC)))
    elif not hidden:
        say(f"There are no BaseModels and no LoraAdapters{f' in namespace {namespace}' if namespace else ''}.")
    for error in hidden:
        complain(error)
    return ExitCode.FORBIDDEN if hidden else ExitCode.OK


def read_tree(
    reader: GraftReader, namespace: str | None, names: Collection[str], hidden: list[Forbidden] | None = None
) -> tuple[BaseNode, ...]:
    """Return the whole tree, or what is called by one of ``names``. Raises NotFound for a name of nothing.

    What may not be listed is added to ``hidden``, and the rest is returned. Raises Forbidden where that is nothing.
    """
    forbidden: list[Forbidden] = []
    bases = listed(lambda: reader.bases(namespace), forbidden)
    adapters = listed(lambda: reader.adapters(namespace), forbidden)
    if forbidden and (hidden is None or len(forbidden) > 1):
        raise forbidden[0]
    if hidden is not None:
        hidden += forbidden
    tree = status_tree(bases or (), adapters or (), unseen="; ".join(error.message for error in forbidden))
    if missing := " or ".join(missing_names(tree, names)):
        if forbidden:
            raise forbidden[0]
        where = f"namespace {namespace}" if namespace else "any namespace"
        fix = did_you_mean(missing, known_names(tree), "try `-n NAMESPACE` or `-A`")
        raise NotFound(f"no BaseModel and no LoraAdapter is called {missing} in {where}", fix=fix)
    return narrowed_to(tree, names) if names else tree


def listed(look: Callable[[], list[Thing]], forbidden: list[Forbidden]) -> list[Thing]:
    """Return what is there; nothing where it may not be listed, which is written down."""
    try:
        return look()
    except Forbidden as error:
        forbidden.append(error)
        return []


def tree_to_show(reader: GraftReader, namespace: str | None, names: Collection[str]) -> tuple[BaseNode, ...]:
    """Return the tree as people read it."""
    return with_advice_of(read_tree(reader, namespace, names, []), names)


def looks(
    reader: GraftReader, namespace: str | None, names: Collection[str]
) -> Iterator[tuple[tuple[BaseNode, ...], str]]:
    """Yield the tree again and again; once it was seen, also the last one and why there is none of now."""
    tree, problem = tree_to_show(reader, namespace, names), ""
    while True:
        yield tree, problem
        time.sleep(LOOK_SECONDS)
        try:
            tree, problem = tree_to_show(reader, namespace, names), ""
        except Unreachable as error:
            problem = error.message


def watch_tree(reader: GraftReader, namespace: str | None, names: Collection[str]) -> NoReturn:
    """Show the tree until Ctrl-C: in place on a terminal, else again whenever it has changed."""
    console = console_for(sys.stdout)
    if not console.is_terminal or console.is_dumb_terminal:
        watch_changes(reader, namespace, names)
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        for tree, problem in looks(reader, namespace, names):
            lines = [Text(f"not up to date: {problem}", style=STYLES["bad"])] if problem else []
            live.update(Group(status_view(tree, datetime.now(UTC)), *lines), refresh=True)
    raise AssertionError("it is looked at until Ctrl-C")


def watch_changes(reader: GraftReader, namespace: str | None, names: Collection[str]) -> NoReturn:
    """Print the tree whenever it has changed, with the time; and why it can't be seen any more, once."""
    before: tuple[tuple[BaseNode, ...], str] | None = None
    for tree, problem in looks(reader, namespace, names):
        now = datetime.now(UTC)
        if problem and (before is None or problem != before[1]):
            say(f"not up to date: {problem}", style=STYLES["bad"])
        if before is None or tree != before[0]:
            click.echo(f"--- {now:%Y-%m-%dT%H:%M:%SZ}\n{as_text(status_view(tree, now))}", nl=False)
        before = tree, problem
    raise AssertionError("it is looked at until Ctrl-C")


@click.command()
@adapter_argument
@output_option
@cluster_options
def history(target: Target, adapter: str, output: Format) -> None:
    """Show the versions of ADAPTER, and what became of each."""
    found = readable(target.adapter(adapter))
    if output != "table":
        print_document({"versions": found.status.versions}, output)
    elif found.status.versions:
        show(history_table(found, datetime.now(UTC)))
    else:
        say(f"{adapter} has no version yet; see `kubectl graft status {adapter}`")
