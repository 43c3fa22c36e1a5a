"""Another router in front of the same engine: vLLM's own, from PyPI, in a virtual environment of its own."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.bench.recorded_engine import BASE_MODEL
from tests.ports import free_port

PACKAGE: Final = "vllm-router==0.1.17"
"""github.com/vllm-project/router, written in Rust."""
START_SECONDS: Final = 60.0


def installed_router(cache: Path) -> Path:
    """Install the router, if it isn't, and return its program. Nothing of it gets into Graft's own environment."""
    folder = cache / "peers" / PACKAGE.replace("==", "-")
    program = folder / "bin" / "vllm-router"
    if not program.exists():
        uv = next(cache.glob("uv-*/bin/uv"))
        subprocess.run([uv, "venv", "-q", "--clear", "--python", "python3.11", folder], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", folder / "bin" / "python", PACKAGE], check=True)
    return program


@contextmanager
def peer_router(program: Path, engine_port: int, log: Path) -> Iterator[tuple[int, int]]:
    """Run the router in front of the engine until the block ends; yield its port and its process id."""
    port = free_port()
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(free_port())]
    arguments += ["--worker-urls", f"http://127.0.0.1:{engine_port}", "--policy", "round_robin"]
    arguments += ["--log-level", "error"]
    with log.open("wb") as written:
        process = subprocess.Popen([program, *arguments], stdout=written, stderr=written)
    try:
        _wait_until_it_answers(port, process, log)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def cpu_seconds(process: int) -> float:
    """CPU time of a process and of its children, since they were started."""
    used = [_own_cpu_seconds(process)]
    for thread in Path(f"/proc/{process}/task").iterdir():
        used += [cpu_seconds(int(child)) for child in (thread / "children").read_text().split()]
    return sum(used)


def _own_cpu_seconds(process: int) -> float:
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _wait_until_it_answers(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    body = f'{{"model":"{BASE_MODEL}","prompt":"hello","max_tokens":1}}'.encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/completions", body, {"Content-Type": "application/json"}
    )
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except (OSError, urllib.error.HTTPError) as error:
            if time.monotonic() > deadline or process.poll() is not None:
                raise AssertionError(f"{PACKAGE} does not answer ({error}):\n{log.read_text()[-3000:]}") from error
            time.sleep(0.2)
