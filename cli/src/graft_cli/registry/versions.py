"""Versions as the bucket holds them. Everything raises NotFound, Forbidden, Unreachable and GraftError."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from graft_cli.decisions.stored.references import VersionReference, failure
from graft_cli.errors import GraftError
from graft_cli.registry.program import Run, run_registry, succeeded
from graft_registry.documents import VersionCheck, VersionManifest

REPORT: Final = "report.html"
DAMAGED: Final = "Corrupt"


@dataclass(frozen=True, slots=True)
class StoredVersions:
    """The versions of one adapter; ``place`` is the JSON that says where they lie."""

    place: str
    namespace: str
    adapter: str

    def manifest(self, version: VersionReference) -> VersionManifest:
        """Return the manifest of a version, which has the digest that status tells."""
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "manifest.json"
            succeeded(self._run("fetch-version", *named(version), f"--manifest={file}"))
            return VersionManifest.from_bytes(file.read_bytes())

    def report(self, version: VersionReference) -> str:
        """Return the version's report, a page of HTML that its trainer has written. It is verified, not trusted."""
        with tempfile.TemporaryDirectory() as directory:
            succeeded(self._run("fetch-version", *named(version), f"--destination={directory}", f"--file={REPORT}"))
            return (Path(directory) / REPORT).read_text(encoding="utf-8", errors="replace")

    def checks(self, number: int | None) -> tuple[VersionCheck, ...]:
        """Read all objects of a version, or of every one, again, and return what was found of each version."""
        which = "--all" if number is None else f"--number={number}"
        run = self._run("verify", which, "--output=json")
        if run.code and run.outcome.get("reason") != DAMAGED:
            raise failure(run.code, run.outcome, run.errors)
        try:
            found = json.loads(run.output)["versions"]
            return tuple(VersionCheck.model_validate(item) for item in found)
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            said = run.outcome.get("message") or error
            raise GraftError(f"the registry's program has not said what it found: {said}") from error

    def _run(self, verb: str, *arguments: str) -> Run:
        whose = (f"--namespace={self.namespace}", f"--adapter={self.adapter}")
        return run_registry(verb, (*whose, *arguments), self.place)


def named(version: VersionReference) -> tuple[str, ...]:
    """Return the arguments that name a version."""
    digest = (f"--digest={version.digest}",) if version.digest else ()
    return (f"--number={version.number}", *digest)
