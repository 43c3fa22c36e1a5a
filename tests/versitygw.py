"""A real S3 server over a folder of this machine, for tests and measurements: versitygw."""

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

from tests.ports import free_port

PROGRAM = os.environ.get("GRAFT_VERSITYGW")
"""Where the program is; `make cluster-up` builds it into the cache."""
START_SECONDS = 120


@contextmanager
def versitygw(
    folder: Path,
    *,
    access_key: str,
    secret_key: str,
    accounts: Mapping[str, str] | None = None,
    tls: tuple[Path, Path] | None = None,
) -> Iterator[str]:
    """Serve ``folder`` until the block ends; yield the URL. Raises RuntimeError where the server can't be started.

    ``accounts`` are the secret keys of others by their access keys, who may do what buckets' policies let them; ``tls``
    is a certificate and its key, to serve over TLS.
    """
    program = shutil.which(PROGRAM or "versitygw")
    if program is None:
        raise RuntimeError(f"GRAFT_VERSITYGW: {PROGRAM or 'versitygw'} is not there; `make cluster-up` builds it")
    port = free_port()
    keys = {"ROOT_ACCESS_KEY": access_key, "ROOT_SECRET_KEY": secret_key}
    command: list[str | Path] = [program, "--port", f"127.0.0.1:{port}", "--quiet"]
    if accounts is not None:
        command += ["--iam-dir", _accounts_file(folder.with_name(f"{folder.name}-accounts"), accounts)]
    if tls is not None:
        command += ["--cert", tls[0], "--key", tls[1]]
    command += ["posix", folder]
    with subprocess.Popen(command, env=keys, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_until_it_listens(process, port)
            yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        finally:
            process.terminate()


def _accounts_file(folder: Path, accounts: Mapping[str, str]) -> Path:
    folder.mkdir()
    entries = {
        access: {"access": access, "secret": secret, "role": "user", "userID": 0, "groupID": 0, "projectID": 0}
        for access, secret in accounts.items()
    }
    (folder / "users.json").write_text(json.dumps({"accessAccounts": entries}))
    return folder


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"versitygw does not listen on port {port} (exit code {process.poll()})")
