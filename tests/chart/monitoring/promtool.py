"""Prometheus' own tool, by which rules and expressions are checked."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml


@dataclass(frozen=True, slots=True)
class Promtool:
    """promtool, with a folder for its files."""

    program: str
    folder: Path

    def check_rules(self, groups: list[dict[str, Any]]) -> str:
        """Return what promtool has against these rules; empty where it has nothing."""
        done = self._run("check", "rules", str(self.write("rules.yaml", {"groups": groups})))
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def check_expressions(self, expressions: list[str]) -> str:
        """Return what promtool has against these expressions."""
        rules = [{"record": f"expression:{number}", "expr": text} for number, text in enumerate(expressions)]
        return self.check_rules([{"name": "expressions", "rules": rules}])

    def test_rules(self, groups: list[dict[str, Any]], tests: list[dict[str, Any]]) -> str:
        """Return what differs from what the tests expect of the rules."""
        self.write("rules.yaml", {"groups": groups})
        suite = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
        done = self._run("test", "rules", str(self.write("tests.yaml", suite)))
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def write(self, name: str, content: dict[str, Any]) -> Path:
        """Write a file and return its path."""
        path = self.folder / name
        path.write_text(yaml.safe_dump(content))
        return path

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.program, *arguments], text=True, capture_output=True, check=False)


def find_promtool() -> str:
    """Return promtool's path; fails the test where there is none."""
    cache = Path(os.environ.get("GRAFT_CACHE", Path.home() / ".cache/graft"))
    candidates = (os.environ.get("GRAFT_PROMTOOL"), shutil.which("promtool"), shutil.which(cache / "bin/promtool"))
    program = next((candidate for candidate in candidates if candidate), None)
    if program is None:
        pytest.fail(
            "promtool is not here: install Prometheus, set GRAFT_PROMTOOL to it, or let `make prometheus` fetch it"
        )
    return program
