"""Versions as artifacts of Weights & Biases, by its real client. There is no server to install: it writes what it would
send, and that is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.wire.exports.conftest import Exporter

wandb = pytest.importorskip("wandb", reason="wandb is not installed here (make test-export)")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _a_session_of_its_own() -> Iterator[None]:
    yield
    wandb.teardown()


def test_a_version_is_written_for_wandb(export: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "wandb"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "wandb").mkdir()
    code, message = export("wandb://acme/loras/support")
    assert (code, message.get("location")) == (0, "wandb://acme/loras/support"), message
    (record,) = (tmp_path / "wandb").rglob("*.wandb")
    content = record.read_bytes()
    for expected in (b"adapter_model.safetensors", b"graft-v1", b"manifest_digest"):
        assert expected in content


def test_without_a_login_it_says_which_is_missing(
    export: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    code, message = export("wandb://acme/loras/support")
    assert code == 77
    assert "is WANDB_API_KEY set" in message["message"]
