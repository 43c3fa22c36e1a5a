"""``diff``: two versions, by what status tells and by what the bucket holds."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import click

from graft_cli.client import Adapter
from graft_cli.commands.options import (
    VERSION,
    Target,
    adapter_argument,
    cluster_options,
    output_option,
    registry_option,
)
from graft_cli.decisions.stored.comparison import SAMPLES, ManifestDifferences, manifest_differences
from graft_cli.decisions.stored.references import referenced_version, registry_document
from graft_cli.decisions.versions import differences, readable, told_version, version_of
from graft_cli.errors import GraftError
from graft_cli.registry.versions import StoredVersions
from graft_cli.rendering.console import say, show
from graft_cli.rendering.documents import Format, print_document
from graft_cli.rendering.tables import difference_table, sample_tables, section_tables


@click.command()
@adapter_argument
@click.argument("before", metavar="vA", type=VERSION)
@click.argument("after", metavar="vB", type=VERSION)
@click.option("--from-registry", is_flag=True, help="Fail where the bucket can't be read, instead of leaving that out.")
@registry_option
@output_option
@cluster_options
def diff(
    target: Target,
    adapter: str,
    before: int,
    after: int,
    from_registry: bool,
    registry: str | None,
    output: Format,
) -> None:
    """Compare two versions of ADAPTER, such as `diff support v6 v7`: spec, data, scores and sample answers.

    Status tells scores and digests. The rest lies in the versions' manifests, in the registry's bucket. It is read with
    your own login if --registry or GRAFT_REGISTRY says where that is, and left out, which is said, where it can't be.
    """
    found = readable(target.adapter(adapter))
    stored, left_out = None, None
    try:
        place = registry_document(registry, os.environ)
        stored = from_bucket(StoredVersions(place, target.namespace, adapter), found, before, after)
    except GraftError as error:
        if from_registry:
            raise
        left_out = error
    if stored is None:
        for number in (before, after):
            version_of(found, number)  # or there is nothing to compare
    if output != "table":
        print_both(found, before, after, stored, left_out, output)
        return
    show_both(found, before, after, stored)
    if left_out is not None:
        say(f"left out: spec, data and sample answers, which the bucket holds: {left_out.message}", style="yellow")
        say(f"  to see them: {left_out.fix}" if left_out.fix else "")


def from_bucket(versions: StoredVersions, adapter: Adapter, before: int, after: int) -> ManifestDifferences:
    """Return what the manifests say. Raises GraftError."""
    wanted = [referenced_version(adapter, number) for number in (before, after)]
    with ThreadPoolExecutor() as threads:  # each is a program that takes a second to start
        old, new = threads.map(versions.manifest, wanted)
    return manifest_differences(old, new)


def print_both(
    adapter: Adapter,
    before: int,
    after: int,
    stored: ManifestDifferences | None,
    left_out: GraftError | None,
    output: Format,
) -> None:
    """Print what there is for programs."""
    told = {"before": told_version(adapter, before), "after": told_version(adapter, after)}
    registry = {section.title: section.rows for section in stored.sections} if stored else {}
    held = {"registry": registry | {"answers": stored.answers}} if stored else {}
    missing = {"leftOut": left_out.message} if left_out else {}
    print_document(told | held | missing, output)


def show_both(adapter: Adapter, before: int, after: int, stored: ManifestDifferences | None) -> None:
    """Print what there is for people."""
    old, new = told_version(adapter, before), told_version(adapter, after)
    if old is not None and new is not None:
        show(difference_table(before, after, differences(old, new)))
    if stored is None:
        return
    show(*section_tables(before, after, stored.sections))
    show(*sample_tables(before, after, stored.answers[:SAMPLES]))
    if (more := len(stored.answers) - SAMPLES) > 0:
        say(f"{more} more prompts: -o yaml prints them all")
