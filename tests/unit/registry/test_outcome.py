"""What a command says at its end can be written, whatever is in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from graft_registry.config import RegistryConfig
from graft_registry.documents import AdapterDirectory, AdapterSource
from graft_registry.outcome import TERMINATION_LOG_VARIABLE, Outcome, failure, write_outcome
from graft_registry.sources.adapter_origins import resolve_adapter
from graft_registry.sources.source_access import SourceAccess
from graft_registry.sources.source_files import SourceError

REGISTRY = RegistryConfig(bucket="graft")


def written(outcome: Outcome, folder: Path) -> dict[str, object]:
    path = folder / "termination-log"
    write_outcome(outcome, {TERMINATION_LOG_VARIABLE: str(path)})
    document: dict[str, object] = json.loads(path.read_bytes().decode())
    return document


def test_a_folder_of_files_that_are_not_called_in_utf_8_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "claim"
    folder.mkdir()
    (folder / b"caf\xe9.txt".decode(errors="surrogateescape")).touch()
    source = AdapterSource(directory=AdapterDirectory(path=str(folder), uri="persistentVolumeClaim:adapters"))
    with pytest.raises(SourceError) as raised:
        resolve_adapter(source, SourceAccess.from_environment({}), REGISTRY, workspace=tmp_path)
    outcome, code = failure(raised.value)
    assert code == 65
    message = written(outcome, tmp_path)["message"]
    assert isinstance(message, str)
    assert "caf?.txt" in message


def test_what_can_be_written_is_written_as_it_is(tmp_path: Path) -> None:
    outcome = Outcome(outcome="Exported", location="s3://graft/café-\N{LLAMA}", number=3)
    assert written(outcome, tmp_path) == {
        "outcome": "Exported",
        "location": "s3://graft/café-\N{LLAMA}",
        "number": 3,
    }
