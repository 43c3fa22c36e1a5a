"""The agent as its container runs it: a process with an environment, a signal and an exit code."""

import asyncio
import json
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from tests.serving.conftest import Pod, eventually
from tests.serving.published import wanted_adapter, wanted_set

from graft_registry.config import RegistryConfig

ROOT = Path(__file__).parents[3]
START_SECONDS = 120


async def start(environment: dict[str, str]) -> Process:
    path = f"{ROOT / 'registry/src'}:{ROOT / 'serving_image/src'}"
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "graft_serving"),
        env={**os.environ, "PYTHONPATH": path, **environment},
        stderr=PIPE,
    )


def environment_of(pod: Pod, registry: RegistryConfig, wanted: Path) -> dict[str, str]:
    return {
        "GRAFT_NAMESPACE": "team-a",
        "GRAFT_POD": "tiny-0",
        "GRAFT_REGISTRY": registry.model_dump_json(by_alias=True),
        "GRAFT_WANTED_FILE": str(wanted),
        "GRAFT_ENGINE_URL": pod.engine.url,
        "GRAFT_BASE_DIR": str(pod.settings.base_dir),
        "GRAFT_ADAPTERS_DIR": str(pod.settings.adapters_dir),
        "GRAFT_LISTEN": "127.0.0.1",
        "GRAFT_API_PORT": str(pod.settings.api_port),
        "GRAFT_PEER_PORT": str(pod.settings.peer_port),
        "GRAFT_ADMIN_PORT": str(pod.settings.admin_port),
        "GRAFT_DRAIN_SECONDS": "0",
    }


async def test_the_process_listens_on_both_families(pod: Pod, registry: RegistryConfig, tmp_path: Path) -> None:
    environment = environment_of(pod, registry, tmp_path / "wanted.json")
    del environment["GRAFT_LISTEN"]
    process = await start(environment)

    async def answers(host: str) -> bool:
        try:
            _, writer = await asyncio.open_connection(host, pod.settings.admin_port)
        except OSError:
            return False
        writer.close()
        return True

    try:
        await eventually(lambda: answers("127.0.0.1"), START_SECONDS)
        if socket.has_ipv6:
            await eventually(lambda: answers("::1"))
    finally:
        process.terminate()
        await process.wait()


async def test_the_process_serves_what_its_file_wants_and_a_stream_survives_its_sigterm(
    pod: Pod, registry: RegistryConfig, tmp_path: Path
) -> None:
    wanted = tmp_path / "wanted.json"
    v1 = pod.publisher.publish("support")
    document = wanted_set(pod.base, wanted_adapter("support", [v1]))
    await asyncio.to_thread(wanted.write_text, json.dumps(document))
    process = await start(environment_of(pod, registry, wanted))

    async def is_ready() -> bool:
        try:
            return await pod.is_ready()
        except OSError:
            return False

    async def is_stopping() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", pod.settings.api_port)
        except OSError:
            return True
        writer.close()
        return False

    try:
        await eventually(is_ready, START_SECONDS)
        answer = await pod.ask("support")
        pod.engine.streams.close()
        body = {"model": "support", "prompt": "hello", "max_tokens": 30, "stream": True}
        async with pod.client.post(f"{pod.url}/v1/completions", json=body) as response:
            events = [await response.content.readline()]
            process.terminate()
            await eventually(is_stopping)
            pod.engine.streams.open()
            events += [line async for line in response.content if line.strip()]
    finally:
        if process.returncode is None:
            process.terminate()
        _, log = await process.communicate()
    assert answer.text == pod.expected("support", 1)
    assert len(events) == 31
    assert events[-1] == b"data: [DONE]\n"
    assert process.returncode == 0, log.decode()
    assert b"Traceback" not in log


async def test_a_missing_setting_ends_the_process_with_the_name_of_the_variable() -> None:
    process = await start({"GRAFT_NAMESPACE": "team-a", "GRAFT_POD": "tiny-0"})
    _, log = await process.communicate()
    assert process.returncode == 64
    assert b"GRAFT_WANTED_CONFIGMAP" in log
