"""``dashboard``: bases, adapters, trainings, canaries and pods as a page that keeps up by itself."""

from __future__ import annotations

import os
import threading
from contextlib import nullcontext

import click

from graft_cli.client import WatchedGraft
from graft_cli.commands.options import Target, all_namespaces_option, cluster_options, registry_option
from graft_cli.dashboard.access import new_token
from graft_cli.dashboard.answers import Answers, Place, Reports
from graft_cli.dashboard.board import Board
from graft_cli.dashboard.opening import opened
from graft_cli.dashboard.server import DashboardServer, running
from graft_cli.dashboard.workloads import ClusterWorkloads
from graft_cli.decisions.stored.references import REGISTRY, VersionReference, registry_document
from graft_cli.registry.versions import StoredVersions
from graft_cli.rendering.console import say


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1; any that is free when 0.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@registry_option
@all_namespaces_option
@cluster_options
def dashboard(target: Target, port: int, no_browser: bool, registry: str | None) -> None:
    """Show bases, adapters, trainings, canaries and pods as a page in your browser, until Ctrl-C.

    The page is served on this machine alone, reads with your own rights, and changes nothing. Its address holds a
    secret: who has it sees what you see.
    """
    namespace = target.listed_namespace
    connection = target.reader.connection
    place, workloads = Place(connection.context, namespace), ClusterWorkloads(connection)
    with WatchedGraft(target.reader, namespace) as graft, Board(graft, namespace) as board:
        answers = Answers(place, graft, board, workloads, reports_of(registry))
        with running(DashboardServer(answers, board, new_token(), port)) as server:
            click.echo(server.url)
            with nullcontext(True) if no_browser else opened(server.url) as found:
                say("Ctrl-C ends it" if found else "no browser was found: open the address yourself; Ctrl-C ends it")
                threading.Event().wait()


def reports_of(registry: str | None) -> Reports | None:
    """Return what brings reports; None where nothing says where versions lie."""
    if not (registry or os.environ.get(REGISTRY)):
        return None
    place = registry_document(registry, os.environ)

    def bring(namespace: str, adapter: str, version: VersionReference) -> bytes:
        return StoredVersions(place, namespace, adapter).report(version).encode()

    return bring
