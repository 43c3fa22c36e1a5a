"""A local S3 server for measurements."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3

from graft_registry.config import RegistryConfig

BINARY = Path(os.environ.get("GRAFT_VERSITYGW", "versitygw"))
START_SECONDS = 30
KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret"}


@contextmanager
def object_store(folder: Path) -> Iterator[RegistryConfig]:
    """Serve ``folder`` until the block ends; yield a bucket of it. The credentials are in the environment."""
    if not BINARY.is_file():
        raise SystemExit(f"{BINARY} is not there; `make cluster-up` builds it")
    os.environ |= KEYS | {"AWS_EC2_METADATA_DISABLED": "true"}
    folder.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
    command: list[str | Path] = [BINARY, "--port", f"127.0.0.1:{port}", "--quiet", "posix", folder]
    process = subprocess.Popen(command, env=root, stdout=subprocess.DEVNULL)
    try:
        _wait(port, process)
        config = RegistryConfig(endpoint=f"http://127.0.0.1:{port}", bucket="graft")
        boto3.client("s3", endpoint_url=config.endpoint, region_name="us-east-1").create_bucket(Bucket=config.bucket)
        yield config
    finally:
        process.terminate()
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"{BINARY} does not listen on port {port} (exit code {process.poll()})")
