"""Versions in a real MLflow: its server with an SQLite store, asked by its own client."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port
from tests.unit.registry.builders import write_adapter
from tests.wire.exports.conftest import Exporter, contents, draft

from graft_registry.s3.store import ObjectStore
from graft_registry.versions import AdapterRegistry, StoredVersion

mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed here (make test-export)")
# Of its own dependencies.
pytestmark = pytest.mark.filterwarnings("ignore")
START_SECONDS = 240


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [
        sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1",
        f"--backend-store-uri=sqlite:///{folder}/mlflow.db", f"--artifacts-destination={folder}/artifacts",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        )
    with process:
        try:
            _wait_until_it_answers(process, f"http://127.0.0.1:{port}/health", folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_until_it_answers(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"MLflow does not answer at {url} ({process.poll()}): {log.read_text()[-2000:]}")


@pytest.fixture
def client(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    return mlflow.MlflowClient(tracking_uri=server, registry_uri=server)


def test_a_version_is_registered_with_its_scores_and_files(
    export: Exporter, version: StoredVersion, client: Any, tmp_path: Path
) -> None:
    code, message = export("mlflow://support")
    assert (code, message.get("location")) == (0, "mlflow://support/1"), message
    found = client.get_model_version("support", "1")
    assert found.tags["graft.manifestDigest"] == version.digest
    run = client.get_run(found.run_id)
    assert run.data.metrics == {"eval_loss": 0.5, "base_eval_loss": 2.0, "exact_match": 0.75}
    assert (run.data.params["base_model"], run.data.params["rank"]) == ("acme/tiny", "4")
    downloaded = mlflow.artifacts.download_artifacts(artifact_uri=found.source, dst_path=str(tmp_path / "downloaded"))
    export(f"dir:{tmp_path / 'out'}")
    assert contents(Path(downloaded)) == contents(tmp_path / "out")


def test_nothing_is_registered_twice_and_the_next_is_the_next(
    export: Exporter, store: ObjectStore, client: Any, tmp_path: Path
) -> None:
    assert [export("mlflow://again")[1]["location"] for _ in range(2)] == ["mlflow://again/1"] * 2
    other = write_adapter(tmp_path / "other", fill=b"\x01")
    AdapterRegistry(store, "team-a", "support").publish(draft("another"), other)
    assert export("mlflow://again")[1]["location"] == "mlflow://again/2"
    assert export("mlflow://again", "--number=1")[1]["location"] == "mlflow://again/1"


def test_a_server_that_is_away_is_told_of(export: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    code, message = export("mlflow://support")
    assert code == 68
    assert "is MLFLOW_TRACKING_URI right?" in message["message"]
