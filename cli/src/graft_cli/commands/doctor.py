"""``doctor``: whether everything is there that the other verbs, and the adapters, need."""

from __future__ import annotations

from datetime import UTC, datetime

import click
from rich.text import Text

from graft_cli.cluster.inspection import inspect
from graft_cli.commands.options import Target, cluster_options, output_option
from graft_cli.decisions.diagnosis import Check, diagnose, is_healthy
from graft_cli.errors import ExitCode
from graft_cli.rendering.console import show
from graft_cli.rendering.documents import Format, print_document
from graft_cli.rendering.texts import on_one_line

MARKS = {"ok": ("✓ ", "green"), "warning": ("! ", "yellow"), "failed": ("✗ ", "bold red")}


@click.command()
@click.option("--operator-namespace", default="graft-system", show_default=True, help="Where the operator runs.")
@click.option("--lease", default="graft-operator", show_default=True, help="Name of the operator's Lease.")
@output_option
@cluster_options
def doctor(target: Target, operator_namespace: str, lease: str, output: Format) -> int:
    """Check the cluster, the CRDs, the operator, your rights, the registry's store and the GPUs."""
    facts = inspect(target.reader, target.namespace, operator_namespace=operator_namespace, lease_name=lease)
    checks = diagnose(facts, datetime.now(UTC))
    if output != "table":
        print_document({"checks": checks}, output)
    else:
        show(*map(check_line, checks))
    return ExitCode.OK if is_healthy(checks) else ExitCode.FAILED


def check_line(check: Check) -> Text:
    """Return a verdict for people."""
    line = Text.assemble(MARKS[check.verdict], (f"{check.name}  ", "bold"), on_one_line(check.message))
    return line.append(f"; {check.fix}") if check.fix and check.verdict != "ok" else line
