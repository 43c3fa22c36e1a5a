"""The file of environment variables by which tests, demos and people use a cluster that is up."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path


def render(facts: Mapping[str, str]) -> str:
    """Facts as a file that a shell can source."""
    return "".join(f"export {k}={shlex.quote(v)}\n" for k, v in facts.items())


def write(path: Path, facts: Mapping[str, str]) -> None:
    """Write the file for its owner only: it holds the S3 credentials."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_CREAT | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(render(facts))
    fresh.rename(path)


def for_people(text: str) -> str:
    """The same facts without what must not end up in a terminal's history."""
    lines = text.splitlines()
    return "\n".join(line for line in lines if "SECRET" not in line)
