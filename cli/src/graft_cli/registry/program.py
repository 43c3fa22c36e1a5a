"""Runs ``python -m graft_registry`` as a process: the plugin itself has no client of an object store."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graft_cli.decisions.stored.references import REGISTRY, failure
from graft_cli.errors import GraftError

CLIENT_IS_MISSING = "this needs the client of the object store"


@dataclass(frozen=True, slots=True)
class Run:
    """How a run has ended."""

    code: int
    outcome: Mapping[str, Any] = field(default_factory=dict)
    """Its termination message."""
    output: str = ""
    errors: str = ""


def run_registry(verb: str, arguments: Sequence[str], place: str) -> Run:
    """Run a command of the registry at ``place`` (JSON). Raises GraftError where its packages are missing."""
    if importlib.util.find_spec("boto3") is None:
        raise GraftError(CLIENT_IS_MISSING, fix="install graft[cli,registry,hub]")
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "outcome"
        paths = os.pathsep.join(path for path in sys.path if path)
        environ = {**os.environ, REGISTRY: place, "GRAFT_TERMINATION_LOG": str(log), "PYTHONPATH": paths}
        command = [sys.executable, "-m", "graft_registry", verb, *arguments]
        ended = subprocess.run(command, env=environ, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603 -- ours
        outcome = json.loads(log.read_text()) if log.exists() else {}
    return Run(ended.returncode, outcome, ended.stdout, ended.stderr)


def succeeded(run: Run) -> Run:
    """Return the run. Raises GraftError if it has failed."""
    if run.code:
        raise failure(run.code, run.outcome, run.errors)
    return run
