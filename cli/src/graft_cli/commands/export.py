"""``export``: a version, brought to where others look for models."""

from __future__ import annotations

import os

import click

from graft_cli.commands.options import VERSION, Target, adapter_argument, cluster_options, registry_option
from graft_cli.decisions.stored.references import referenced_version, registry_document
from graft_cli.decisions.versions import readable
from graft_cli.registry.program import run_registry, succeeded
from graft_cli.registry.versions import named
from graft_cli.rendering.console import say

PLACES = "oci://registry/repository:tag, hf://organisation/repository, dir:/path, mlflow://model, wandb://entity/project/name"


@click.command()
@adapter_argument
@click.option("--version", "number", type=VERSION, metavar="N", help="Version; the one that is served when empty.")
@click.option("--to", required=True, metavar="PLACE", help=f"One of {PLACES}.")
@registry_option
@click.option("--overwrite", is_flag=True, help="Move a tag, or replace an export in a directory.")
@cluster_options
def export(target: Target, adapter: str, number: int | None, to: str, registry: str | None, overwrite: bool) -> None:
    """Bring a version of ADAPTER to an OCI registry, a Hugging Face hub, MLflow, W&B or a directory.

    The cluster is only asked which version is served. The files come from the registry's bucket to this machine, and go
    on from here, with your own logins for both.
    """
    version = referenced_version(readable(target.adapter(adapter)), number)
    place = registry_document(registry, os.environ)
    arguments = [f"--namespace={target.namespace}", f"--adapter={adapter}", *named(version), f"--to={to}"]
    arguments += ["--overwrite"] if overwrite else []
    outcome = succeeded(run_registry("export", arguments, place)).outcome
    say(f"version {outcome['number']} of {adapter} is {outcome['location']}")
