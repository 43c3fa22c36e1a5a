"""The program in a pipe, without streams, on a full disk, and in other encodings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MANY = "---\n".join(f"apiVersion: graft.dev/v1\nkind: LoraAdapter\nmetadata: {{name: a{n}}}\n" for n in range(3))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "many.yaml"
    path.write_text(MANY)
    return path


def shell(command: str, file: Path, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command of bash; `graft` and `$FILE` stand for themselves."""
    paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path if path)
    own = {**os.environ, "PYTHONPATH": paths, "FILE": str(file), "PYTHON": sys.executable, **environ}
    script = f'set -o pipefail; graft() {{ "$PYTHON" -m graft_cli "$@"; }}; {command}'
    return subprocess.run(["bash", "-c", script], env=own, capture_output=True, check=False)


@pytest.mark.parametrize(
    "verb", ["lint $FILE", "lint -o json $FILE", "lint -o yaml $FILE", "completion bash", "--help"]
)
def test_a_reader_that_has_gone_is_no_failure(verb: str, file: Path) -> None:
    found = shell(f"graft {verb} | true; exit ${{PIPESTATUS[0]}}", file)
    assert found.returncode in (0, 1)
    for word in (b"Traceback", b"Exception ignored", b"BrokenPipe"):
        assert word not in found.stderr


def test_closed_streams_are_no_failure_of_the_program(file: Path) -> None:
    for redirection in (">&-", "2>&-", ">&- 2>&-", "<&-"):
        found = shell(f"graft lint $FILE {redirection}", file)
        assert found.returncode == 1, redirection
        assert b"bug" not in found.stderr
        assert b"Traceback" not in found.stderr


def test_nothing_on_stdin_is_no_manifest(file: Path) -> None:
    for redirection in ("</dev/null", "<&-"):
        found = shell(f"graft lint - {redirection}", file)
        assert (found.returncode, found.stderr) == (0, b"0 objects checked: 0 errors, 0 warnings\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk is a file of Linux")
@pytest.mark.parametrize("verb", ["lint $FILE", "lint -o json $FILE", "completion bash"])
def test_a_full_disk_is_told(verb: str, file: Path) -> None:
    found = shell(f"graft {verb} >/dev/full", file)
    assert found.returncode == 1
    assert b"error: [Errno 28]" in found.stderr
    assert b"bug" not in found.stderr
    assert b"Exception ignored" not in found.stderr


def test_another_encoding_loses_no_fact(file: Path) -> None:
    file.write_text('apiVersion: graft.dev/v1\nkind: "→ é"\n')
    for encoding in ("ascii", "cp1252"):
        found = shell("graft lint -o json $FILE", file, PYTHONIOENCODING=encoding)
        assert json.loads(found.stdout.decode(encoding))["problems"][0]["object"] == "→ é"
        found = shell("graft lint $FILE", file, PYTHONIOENCODING=encoding)
        assert (found.returncode, b"bug" in found.stderr) == (1, False)
        assert b": error: ? " in found.stdout
