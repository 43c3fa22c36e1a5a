"""``export``: a version, brought to where others look for models."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from graft_cli.commands.changes import VERSION
from graft_cli.commands.options import Target, adapter_argument, cluster_options
from graft_cli.decisions.exports import REGISTRY, exported_version, failure, registry_document
from graft_cli.errors import GraftError
from graft_cli.rendering.console import say

PLACES = "oci://registry/repository:tag, hf://organisation/repository, dir:/path, mlflow://model, wandb://entity/project/name"


@click.command()
@adapter_argument
@click.option("--version", "number", type=VERSION, metavar="N", help="Version; the one that is served when empty.")
@click.option("--to", required=True, metavar="PLACE", help=f"One of {PLACES}.")
@click.option("--registry", metavar="s3://BUCKET/PREFIX", help=f"Where versions lie; {REGISTRY} when empty.")
@click.option("--overwrite", is_flag=True, help="Move a tag, or replace an export in a directory.")
@cluster_options
def export(target: Target, adapter: str, number: int | None, to: str, registry: str | None, overwrite: bool) -> None:
    """Bring a version of ADAPTER to an OCI registry, a Hugging Face hub, MLflow, W&B or a directory.

    The cluster is only asked which version is served. The files come from the registry's bucket to this machine, and go
    on from here, with your own logins for both.
    """
    version = exported_version(target.reader.adapter(target.namespace, adapter), number)
    place = registry_document(registry, os.environ)
    arguments = [f"--namespace={target.namespace}", f"--adapter={adapter}", f"--number={version.number}", f"--to={to}"]
    arguments += [f"--digest={version.digest}"] if version.digest else []
    arguments += ["--overwrite"] if overwrite else []
    outcome = run_registry("export", arguments, {REGISTRY: place})
    say(f"version {outcome['number']} of {adapter} is {outcome['location']}")


def run_registry(verb: str, arguments: Sequence[str], variables: Mapping[str, str]) -> Mapping[str, Any]:
    """Run the registry's own program, a process of its own, and return its outcome. Raises GraftError as it failed.

    The plugin itself holds no client of an object store; whoever exports installs one.
    """
    if importlib.util.find_spec("boto3") is None:
        raise GraftError("this verb needs the client of the object store", fix="install graft[cli,registry,hub]")
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "outcome"
        paths = os.pathsep.join(path for path in sys.path if path)
        environ = {**os.environ, **variables, "GRAFT_TERMINATION_LOG": str(log), "PYTHONPATH": paths}
        command = [sys.executable, "-m", "graft_registry", verb, *arguments]
        ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 -- ours
        outcome = json.loads(log.read_text()) if log.exists() else {}
    if ended.returncode:
        raise failure(ended.returncode, outcome, ended.stderr)
    return dict(outcome)
