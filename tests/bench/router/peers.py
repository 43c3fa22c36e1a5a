"""Other routers in front of the same engine, from PyPI, each in a virtual environment of its own."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from tests.bench.router.recorded_engine import BASE_MODEL
from tests.ports import free_port

START_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another router, and how it is started."""

    package: str
    """Name and version, as PyPI has it."""
    extra: str = ""
    program: str
    arguments: Callable[[int, int, Path], list[str]]
    """Of the program, from its port, the engine's port and a folder for its configuration."""
    rate: float | None = None
    """Requests a second that it is asked with; None for as many as the others."""

    @property
    def name(self) -> str:
        """How tables call it."""
        return self.package.replace("==", " ")


def _vllm_router(port: int, engine_port: int, folder: Path) -> list[str]:
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(free_port())]
    arguments += ["--worker-urls", f"http://127.0.0.1:{engine_port}", "--policy", "round_robin"]
    return [*arguments, "--log-level", "error"]


def _litellm(port: int, engine_port: int, folder: Path) -> list[str]:
    upstream = {
        "model": f"text-completion-openai/{BASE_MODEL}",
        "api_base": f"http://127.0.0.1:{engine_port}/v1",
        "api_key": "none",
    }
    document: dict[str, Any] = {
        "model_list": [{"model_name": BASE_MODEL, "litellm_params": upstream}],
        "litellm_settings": {"telemetry": False},
    }
    configuration = folder / "litellm.yaml"
    configuration.write_text(yaml.safe_dump(document))
    return ["--config", str(configuration), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]


PEERS: Final = (
    # github.com/vllm-project/router, written in Rust.
    Peer(package="vllm-router==0.1.17", program="vllm-router", arguments=_vllm_router),
    # The proxy of LiteLLM. At 500 requests a second it falls behind for good, so all are asked with fewer beside it.
    Peer(package="litellm==1.108.7", extra="proxy", program="litellm", arguments=_litellm, rate=50),
)


def installed_router(peer: Peer, cache: Path) -> Path:
    """Install a router, if it isn't, and return its program. Nothing of it gets into Graft's own environment."""
    folder = cache / "peers" / peer.package.replace("==", "-")
    program = folder / "bin" / peer.program
    if not program.exists():
        name, version = peer.package.split("==")
        wanted = f"{name}[{peer.extra}]=={version}" if peer.extra else peer.package
        uv = next(cache.glob("uv-*/bin/uv"))
        subprocess.run([uv, "venv", "-q", "--clear", "--python", "python3.11", folder], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", folder / "bin" / "python", wanted], check=True)
    return program


@contextmanager
def peer_router(peer: Peer, program: Path, engine_port: int, folder: Path) -> Iterator[tuple[int, int]]:
    """Run a router in front of the engine until the block ends; yield its port and its process id."""
    port, log = free_port(), folder / f"{peer.program}.log"
    # LiteLLM wants a master key, or to be told that it is only tried; it fetches nothing and says little.
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    environment["LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"] = "true"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [program, *peer.arguments(port, engine_port, folder)],
            stdout=written,
            stderr=written,
            env=environment,
            cwd=folder,
        )
    try:
        _wait_until_it_answers(peer, port, process, log)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_until_it_answers(peer: Peer, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
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
                raise AssertionError(f"{peer.name} does not answer ({error}):\n{log.read_text()[-3000:]}") from error
            time.sleep(0.2)
