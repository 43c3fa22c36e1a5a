"""``logs``: of whatever runs now for an adapter."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import click

from graft_cli.client import Base, Connection, GraftReader
from graft_cli.cluster.workloads import Pod, log_lines, pods
from graft_cli.commands.options import Target, adapter_argument, cluster_options
from graft_cli.decisions.logs import LogSource, Of, log_source
from graft_cli.errors import GraftError, NotFound, Refused
from graft_cli.rendering.console import complain, say


@click.command()
@adapter_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until the pods end, or Ctrl-C.")
@click.option("--tail", type=click.IntRange(min=0), metavar="LINES", help="Only the last lines.")
@click.option(
    "--of",
    type=click.Choice(["auto", "training", "serving", "import"]),
    default="auto",
    show_default=True,
    help="Whose log: what runs now, the trainings, the serving pods, or the import of the base.",
)
@click.option("-c", "--container", metavar="NAME", help="Another container of the pods, such as `engine`.")
@cluster_options
def logs(target: Target, adapter: str, follow: bool, tail: int | None, of: Of, container: str | None) -> None:
    """Print the logs of whatever runs now for ADAPTER.

    That is its training, or what is left of one that has failed; else the import of its base; else what serves it.
    """
    namespace = target.namespace
    found = target.reader.adapter(namespace, adapter)
    source = log_source(found, base_of(target.reader, namespace, found.base_name), of)
    speaking = pods(target.reader.connection, namespace, source.selector)
    if not speaking:
        fix = f"`kubectl graft status {adapter}` tells what it waits for"
        raise Refused(f"{source.what}: there are no pods", fix=fix)
    say(f"{source.what}: {', '.join(f'{pod.name} ({pod.phase})' for pod in speaking)}", style="dim")
    print_all(target.reader.connection, speaking, container_of(speaking, source, container), follow=follow, tail=tail)


def base_of(reader: GraftReader, namespace: str, name: str) -> Base | None:
    """Return the base, if it is there."""
    try:
        return reader.base(namespace, name)
    except NotFound:
        return None


def container_of(speaking: Sequence[Pod], source: LogSource, chosen: str | None) -> str:
    """Return the container that is asked for, or that says most. Raises Refused where pods don't have it."""
    names = speaking[0].containers
    wanted = chosen or source.container or names[0]
    if wanted not in names:
        raise Refused(f"pods of {source.what} have no container {wanted}", fix=f"take one of {', '.join(names)}")
    return wanted


def print_all(
    connection: Connection, speaking: Sequence[Pod], container: str, *, follow: bool, tail: int | None
) -> None:
    """Print the logs of pods, one after the other; those that are followed side by side, each line with its pod."""
    prefixed = len(speaking) > 1
    if not follow or not prefixed:
        for pod in speaking:
            print_log(connection, pod, container, follow=follow, tail=tail, prefixed=prefixed)
        return

    def run(pod: Pod) -> None:
        try:
            print_log(connection, pod, container, follow=True, tail=tail, prefixed=True)
        except GraftError as error:
            complain(error)  # the other pods go on

    threads = [threading.Thread(target=run, args=(pod,), daemon=True) for pod in speaking]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def print_log(
    connection: Connection, pod: Pod, container: str, *, follow: bool, tail: int | None, prefixed: bool
) -> None:
    """Print the log of one pod."""
    before = f"[{pod.name}] " if prefixed else ""
    for line in log_lines(connection, pod, container, follow=follow, tail=tail):
        click.echo(before + line)
