"""``logs``: of whatever runs now for an adapter."""

from __future__ import annotations

from collections.abc import Sequence

import click

from graft_cli.asking import as_they_come
from graft_cli.client import Adapter, Base, Connection, GraftReader
from graft_cli.cluster.workloads import Pod, log_lines, pods
from graft_cli.commands.options import Target, adapter_argument, cluster_options
from graft_cli.decisions.logs import LogSource, Of, log_source
from graft_cli.decisions.versions import readable
from graft_cli.errors import ExitCode, Forbidden, GraftError, NotFound, Refused
from graft_cli.rendering.console import complain, pass_on, say


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
def logs(target: Target, adapter: str, follow: bool, tail: int | None, of: Of, container: str | None) -> int:
    """Print the logs of whatever runs now for ADAPTER.

    That is its training, or what is left of one that has failed; else the import of its base; else what serves it.
    """
    namespace = target.namespace
    found = readable(target.adapter(adapter))
    source = source_of(target.reader, found, of)
    speaking = pods(target.reader.connection, namespace, source.selector)
    if not speaking:
        fix = f"`kubectl graft status {adapter}` tells what it waits for"
        raise Refused(f"{source.what}: there are no pods", fix=fix)
    say(f"{source.what}: {', '.join(f'{pod.name} ({pod.phase})' for pod in speaking)}", style="dim")
    chosen = container_of(speaking, source, container)
    failed = print_all(target.reader.connection, speaking, chosen, follow=follow, tail=tail)
    return ExitCode.FAILED if failed else ExitCode.OK


def source_of(reader: GraftReader, adapter: Adapter, of: Of) -> LogSource:
    """Return whose log is meant. Raises Refused where there is none, and Forbidden where that can't be known."""
    hidden: Forbidden | None = None
    base: Base | None = None
    try:
        base = reader.base(adapter.metadata.namespace, adapter.base_name)
    except NotFound:
        pass
    except Forbidden as error:  # a training does not need it
        hidden = error
    try:
        return log_source(adapter, base, of)
    except Refused:
        if hidden is not None:
            raise hidden from None
        raise


def container_of(speaking: Sequence[Pod], source: LogSource, chosen: str | None) -> str:
    """Return the container that is asked for, or that says most. Raises Refused where pods don't have it."""
    names = speaking[0].containers
    wanted = chosen or source.container or names[0]
    if wanted not in names:
        raise Refused(f"pods of {source.what} have no container {wanted}", fix=f"take one of {', '.join(names)}")
    return wanted


def print_all(
    connection: Connection, speaking: Sequence[Pod], container: str, *, follow: bool, tail: int | None
) -> list[GraftError]:
    """Print the logs of pods, one after the other; those that are followed side by side, each line with its pod.

    Return why some can't be read, which is said: the other pods go on. Raises why the only one can't be.
    """
    prefixed, failed = len(speaking) > 1, list[GraftError]()

    def run(pod: Pod) -> None:
        try:
            print_log(connection, pod, container, follow=follow, tail=tail, prefixed=prefixed)
        except GraftError as error:
            failed.append(error)
            if prefixed:
                complain(error)

    if follow and prefixed:
        for _ in as_they_come(run, speaking, len(speaking)):
            pass
    else:
        for pod in speaking:
            run(pod)
    if failed and not prefixed:
        raise failed[0]
    return failed


def print_log(
    connection: Connection, pod: Pod, container: str, *, follow: bool, tail: int | None, prefixed: bool
) -> None:
    """Print the log of one pod."""
    before = f"[{pod.name}] " if prefixed else ""
    for line in log_lines(connection, pod, container, follow=follow, tail=tail):
        pass_on(before + line)
