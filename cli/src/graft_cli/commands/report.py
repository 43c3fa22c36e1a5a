"""``report``: what the trainer wrote about a version."""

from __future__ import annotations

import os
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Literal

import click

from graft_cli.commands.options import VERSION, Target, adapter_argument, cluster_options, registry_option
from graft_cli.decisions.stored.references import VersionReference, referenced_version, registry_document
from graft_cli.decisions.stored.report_page import framed
from graft_cli.decisions.versions import readable
from graft_cli.errors import NotFound
from graft_cli.registry.versions import REPORT, StoredVersions
from graft_cli.rendering.console import say
from graft_cli.rendering.documents import print_document
from graft_cli.rendering.texts import printable


@click.command()
@adapter_argument
@click.argument("number", type=VERSION, metavar="[vN]", required=False)
@click.option("--no-browser", is_flag=True, help="Only write the page, and print where.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["html", "json", "yaml"]),
    help="Print the page as the trainer wrote it, or the version's manifest, instead of opening anything.",
)
@registry_option
@cluster_options
def report(
    target: Target,
    adapter: str,
    number: int | None,
    no_browser: bool,
    output: Literal["html", "json", "yaml"] | None,
    registry: str | None,
) -> None:
    """Open the training report of ADAPTER's served version, or of version N.

    Curves, scores, samples, answers beside the base's, counts of the data, parameters and resources, in one page that
    needs no network. It comes from the registry's bucket, verified, with your own login.
    """
    version = referenced_version(readable(target.adapter(adapter)), number)
    stored = StoredVersions(registry_document(registry, os.environ), target.namespace, adapter)
    if output in ("json", "yaml"):
        print_document(stored.manifest(version), "json" if output == "json" else "yaml")
        return
    page = report_of(stored, version)
    if output == "html":
        sys.stdout.write(printable(page) if sys.stdout.isatty() else page)
        return
    path = written(framed(page, f"{target.namespace}/{adapter} v{version.number}"), adapter, version.number)
    say(f"report of version {version.number} of {adapter}:")
    click.echo(path)
    if not no_browser and not webbrowser.open(path.as_uri()):
        say("  note: there is no browser to open it with", style="yellow")


def report_of(stored: StoredVersions, version: VersionReference) -> str:
    """Return the report. Raises NotFound, with another way to the same facts where a version has none."""
    try:
        return stored.report(version)
    except NotFound as error:
        if f"has no {REPORT}" not in error.message:
            raise
        fix = f"an earlier release has published it: `kubectl graft report {stored.adapter} {version.number} -o yaml`"
        raise NotFound(error.message, fix=f"{fix} prints its manifest") from error


def written(page: str, adapter: str, number: int) -> Path:
    """Write the page where only this person may read it, and return its path; the system cleans that folder up."""
    path = Path(tempfile.mkdtemp(prefix="graft-report-")) / f"{adapter}-v{number}.html"
    path.write_text(page, encoding="utf-8")
    return path
