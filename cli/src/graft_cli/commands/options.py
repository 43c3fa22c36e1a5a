"""The options that verbs share, spelled as kubectl spells them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import click
from click.shell_completion import CompletionItem

from graft_cli.client import Adapter, ClusterReader, connect
from graft_cli.decisions.stored.references import REGISTRY
from graft_cli.errors import GraftError, NotFound, did_you_mean

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True)
class Target:
    """The cluster and namespace that the command line means; the kubeconfig is read when it is first needed."""

    namespace_option: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    all_namespaces: bool = False
    _reader: ClusterReader | None = None

    @property
    def reader(self) -> ClusterReader:
        """The cluster's objects."""
        if self._reader is None:
            self._reader = connect(kubeconfig=self.kubeconfig, context=self.context)
        return self._reader

    @property
    def namespace(self) -> str:
        """The namespace that is given, or else that of the context."""
        return self.namespace_option or self.reader.connection.namespace

    def adapter(self, name: str) -> Adapter:
        """Return an adapter. Raises NotFound, which names the one that is nearest."""
        try:
            return self.reader.adapter(self.namespace, name)
        except NotFound as error:
            try:
                known = [item.metadata.name for item in self.reader.adapters(self.namespace)]
            except GraftError:
                raise error from None
            raise NotFound(error.message, fix=did_you_mean(name, known, error.fix)) from error

    @property
    def listed_namespace(self) -> str | None:
        """The namespace to list; None for all of them."""
        return None if self.all_namespaces else self.namespace


def cluster_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add the options that say which cluster and namespace; the command gets a ``target`` instead of them."""

    @wraps(command)
    def with_target(*args: Any, namespace: str | None, context: str | None, kubeconfig: str | None, **rest: Any) -> R:
        spread = rest.pop("all_namespaces", False)
        return command(*args, target=Target(namespace, context, kubeconfig, spread), **rest)

    options = (
        click.option("-n", "--namespace", metavar="NAME", help="Namespace; that of the context when empty."),
        click.option("--context", metavar="NAME", help="Context of the kubeconfig."),
        click.option("--kubeconfig", type=click.Path(dir_okay=False), help="Path of the kubeconfig."),
    )
    for option in reversed(options):
        with_target = option(with_target)
    return with_target


all_namespaces_option = click.option("-A", "--all-namespaces", is_flag=True, help="Look into all namespaces.")

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)


registry_option = click.option(
    "--registry", metavar="s3://BUCKET/PREFIX", help=f"Where versions lie; {REGISTRY} when empty."
)


def complete_adapter(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of adapters that begin so; none where the cluster can't be asked."""
    names = ("namespace", "context", "kubeconfig")
    namespace, chosen, kubeconfig = (context.params.get(name) for name in names)
    try:
        reader = connect(kubeconfig=kubeconfig, context=chosen)
        found = reader.adapters(namespace or reader.connection.namespace)
    except GraftError:
        return []
    return [CompletionItem(item.metadata.name) for item in found if item.metadata.name.startswith(incomplete)]


adapter_argument = click.argument("adapter", shell_complete=complete_adapter)


NUMBER = re.compile(r"v?([1-9][0-9]{0,7})")


class VersionNumber(click.ParamType[int]):
    """``7`` or ``v7``."""

    name = "version"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        return value if isinstance(value, int) else version_number(str(value))


VERSION = VersionNumber()


def version_number(text: str) -> int:
    """Return the number of ``v7`` or ``7``. Raises click.UsageError for anything else."""
    match = NUMBER.fullmatch(text)
    if match is None:
        raise click.UsageError(f"{text} is no version; write it as v7 or 7")
    return int(match[1])
