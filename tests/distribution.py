"""A real OCI registry over a folder of this machine, for tests: the CNCF's distribution."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.ports import free_port

PROGRAM = os.environ.get("GRAFT_DISTRIBUTION")
"""Where the program is; `make test-oci` builds it into the cache."""
START_SECONDS = 120


@contextmanager
def distribution(folder: Path, *, auth: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Serve ``folder`` until the block ends; yield host and port. Raises RuntimeError where that can't be."""
    program = shutil.which(PROGRAM or "registry")
    if program is None:
        raise RuntimeError(f"GRAFT_DISTRIBUTION: {PROGRAM or 'registry'} is not there; `make test-oci` builds it")
    port = free_port()
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    if auth is not None:
        config["auth"] = auth
    file = folder / "config.yml"
    file.write_text(json.dumps(config))  # JSON is YAML, too.
    environ = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(file)], env=environ, stdout=log, stderr=log)
    with process:
        try:
            _wait_until_it_listens(process, port, folder / "log")
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the registry does not listen on port {port} ({process.poll()}): {log.read_text()[-500:]}")
