"""`python -m graft_operator` as Kubernetes runs it: exit statuses, signals, probes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.ports import free_port
from tests.wire.operator.kubeconfig import write_kubeconfig
from tests.wire.operator.test_runtime import ENVIRONMENT, LEASE
from tests.wire.operator.watch_server import WatchServer, watch_server

from graft_operator.__main__ import main

START_SECONDS = 120
"""Importing both Kubernetes clients costs some 5 s of CPU, and the machine may be busy."""


@pytest.fixture
async def server() -> AsyncIterator[WatchServer]:
    async with watch_server() as running:
        yield running


async def start(environment: dict[str, str]) -> asyncio.subprocess.Process:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GRAFT_", "KUBE"))}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "graft_operator"),
        env=inherited | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
        stderr=asyncio.subprocess.PIPE,
    )


def test_bad_settings_end_the_process_with_2_and_name_the_variables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (ENVIRONMENT | {"GRAFT_WORKERS": "none", "GRAFT_TRAINER_IMAGE": ""}).items():
        monkeypatch.setenv(name, value)
    assert main() == 2
    complaints = capsys.readouterr().err
    assert "GRAFT_WORKERS: Input should be a valid integer" in complaints
    assert "GRAFT_TRAINER_IMAGE is not set" in complaints


async def test_a_signal_ends_the_process_with_0_and_releases_the_lease(server: WatchServer, tmp_path: Path) -> None:
    port = free_port()
    environment = ENVIRONMENT | {
        "KUBECONFIG": str(write_kubeconfig(tmp_path, server.url)),
        "GRAFT_PROBE_PORT": str(port),
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }
    process = await start(environment)
    try:
        async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as session:
            while server.objects.get(LEASE, {}).get("spec", {}).get("holderIdentity") != "pod-1":
                assert process.returncode is None
                await asyncio.sleep(0.05)
            for path in ("/healthz", "/readyz"):
                async with session.get(f"http://127.0.0.1:{port}{path}") as response:
                    assert (response.status, await response.text()) == (200, "ok")
            async with session.get(f"http://127.0.0.1:{port}/metrics") as response:
                page = await response.text()
            assert "graft_leader 1.0" in page
            assert "graft_gpu_second_price{} 0.0" in page, "what is told of objects follows"
            await server.is_explored()
            process.send_signal(signal.SIGTERM)
            _, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, stderr.decode()
    assert server.objects[LEASE]["spec"]["holderIdentity"] == ""
