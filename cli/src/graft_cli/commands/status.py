"""``status`` and ``history``: what status and conditions tell."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final, NoReturn

import click
from rich.live import Live

from graft_cli.client import GraftReader
from graft_cli.commands.options import (
    Target,
    adapter_argument,
    all_namespaces_option,
    cluster_options,
    complete_adapter,
    output_option,
)
from graft_cli.decisions.tree import BaseNode, missing_names, narrowed_to, status_tree, with_advice_of
from graft_cli.errors import NotFound
from graft_cli.rendering.console import as_text, console_for, say, show
from graft_cli.rendering.documents import Format, print_document
from graft_cli.rendering.tables import history_table
from graft_cli.rendering.tree import status_view

LOOK_SECONDS: Final = 2.0


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_adapter)
@click.option("-w", "--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
@all_namespaces_option
@output_option
@cluster_options
def status(target: Target, names: tuple[str, ...], watch: bool, output: Format) -> None:
    """Show bases, their adapters, and what each waits for.

    NAME is a base, which is shown with all its adapters, or an adapter. Advice on a spec is shown of adapters that are
    named.
    """
    namespace = target.listed_namespace
    if watch and output != "table":
        raise click.UsageError("--watch shows the tree; for programs, call `status -o json` again")
    if watch:
        watch_tree(target.reader, namespace, names)
    tree = read_tree(target.reader, namespace, names)
    if output != "table":
        print_document({"bases": tree}, output)
    elif tree:
        show(status_view(with_advice_of(tree, names), datetime.now(UTC)))
    else:
        say(f"There are no BaseModels and no LoraAdapters{f' in namespace {namespace}' if namespace else ''}.")


def read_tree(reader: GraftReader, namespace: str | None, names: Collection[str]) -> tuple[BaseNode, ...]:
    """Return the whole tree, or what is called by one of ``names``. Raises NotFound for a name of nothing."""
    tree = status_tree(reader.bases(namespace), reader.adapters(namespace))
    if missing := " or ".join(missing_names(tree, names)):
        where = f"namespace {namespace}" if namespace else "any namespace"
        fix = "try `-n NAMESPACE` or `-A`"
        raise NotFound(f"no BaseModel and no LoraAdapter is called {missing} in {where}", fix=fix)
    return narrowed_to(tree, names) if names else tree


def tree_to_show(reader: GraftReader, namespace: str | None, names: Collection[str]) -> tuple[BaseNode, ...]:
    """Return the tree as people read it."""
    return with_advice_of(read_tree(reader, namespace, names), names)


def watch_tree(reader: GraftReader, namespace: str | None, names: Collection[str]) -> NoReturn:
    """Show the tree until Ctrl-C: in place on a terminal, else again whenever it has changed."""
    if not sys.stdout.isatty():
        watch_changes(reader, namespace, names)
    with Live(console=console_for(sys.stdout), auto_refresh=False, vertical_overflow="visible") as live:
        while True:
            live.update(status_view(tree_to_show(reader, namespace, names), datetime.now(UTC)), refresh=True)
            time.sleep(LOOK_SECONDS)


def watch_changes(reader: GraftReader, namespace: str | None, names: Collection[str]) -> NoReturn:
    """Print the tree whenever it has changed, with the time."""
    before: tuple[BaseNode, ...] | None = None
    while True:
        tree, now = tree_to_show(reader, namespace, names), datetime.now(UTC)
        if tree != before:
            click.echo(f"--- {now:%Y-%m-%dT%H:%M:%SZ}\n{as_text(status_view(tree, now))}", nl=False)
        before = tree
        time.sleep(LOOK_SECONDS)


@click.command()
@adapter_argument
@output_option
@cluster_options
def history(target: Target, adapter: str, output: Format) -> None:
    """Show the versions of ADAPTER, and what became of each."""
    found = target.reader.adapter(target.namespace, adapter)
    if output != "table":
        print_document({"versions": found.status.versions}, output)
    elif found.status.versions:
        show(history_table(found, datetime.now(UTC)))
    else:
        say(f"{adapter} has no version yet; see `kubectl graft status {adapter}`")
