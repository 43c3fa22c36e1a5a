"""``verify``: whether versions are still what was published."""

from __future__ import annotations

import os

import click

from graft_cli.commands.options import (
    VERSION,
    Target,
    adapter_argument,
    cluster_options,
    output_option,
    registry_option,
)
from graft_cli.decisions.stored.references import referenced_version, registry_document
from graft_cli.decisions.stored.verification import VerifiedVersion, verified
from graft_cli.decisions.versions import readable
from graft_cli.errors import ExitCode, Refused
from graft_cli.registry.versions import StoredVersions
from graft_cli.rendering.console import say, show
from graft_cli.rendering.documents import Format, print_document
from graft_cli.rendering.tables import verification_table


@click.command()
@adapter_argument
@click.argument("number", type=VERSION, metavar="[vN]", required=False)
@click.option("--all", "every", is_flag=True, help="Every version that the bucket holds, or status tells of.")
@registry_option
@output_option
@cluster_options
def verify(target: Target, adapter: str, number: int | None, every: bool, registry: str | None, output: Format) -> int:
    """Read the files of ADAPTER's served version, or of version N, from the bucket again and compare all digests.

    Manifest and base are compared with what status tells of them. The exit code is 1 where anything differs or is gone.
    """
    if every and number is not None:
        raise click.UsageError("give a version or --all, not both")
    found = readable(target.adapter(adapter))
    wanted = None if every else referenced_version(found, number).number
    stored = StoredVersions(registry_document(registry, os.environ), target.namespace, adapter)
    versions = verified(found, stored.checks(wanted), every=every)
    if not versions:
        raise Refused(f"{adapter} has no version yet", fix=f"see `kubectl graft status {adapter}`")
    if output != "table":
        print_document({"versions": versions}, output)
    else:
        show(verification_table(versions))
    return conclusion(adapter, versions)


def conclusion(adapter: str, versions: tuple[VerifiedVersion, ...]) -> int:
    """Say what follows, and return the exit code."""
    damaged = [f"v{version.number}" for version in versions if not version.is_whole]
    if damaged:
        say(f"{', '.join(damaged)} of {adapter}: not what was published", style="bold red")
        say("  to fix: restore the objects from the bucket's own versions or a backup, or serve another version")
        return ExitCode.FAILED
    which = f"v{versions[0].number} is" if len(versions) == 1 else f"{len(versions)} versions are"
    say(f"{which} what was published")
    if untold := [f"v{version.number}" for version in versions if not version.told]:
        say(f"  note: status does not tell the digest of {', '.join(untold)}, so that is the bucket's own word")
    return ExitCode.OK
