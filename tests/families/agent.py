"""The agent in front of an engine, as in its container, and what it says of the one version that it holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engine.engine import Engine
from tests.ports import free_port
from tests.serving.published import wanted_adapter, wanted_set

from graft_registry.config import RegistryConfig
from graft_registry.documents import BaseManifest
from graft_registry.versions import StoredVersion

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 240.0
"""Patience for the proof of a version by an engine on a CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """A version that an agent has brought up, or not."""

    url: str
    """Where clients ask."""
    state: str
    """Proven or Refused; something else where an engine doesn't answer."""
    message: str
    """Why, in the agent's words, which quote the engine's."""


@contextmanager
def brought_up(
    engine: Engine,
    folder: Path,
    base: BaseManifest,
    version: StoredVersion,
    registry: RegistryConfig,
    *,
    engine_runs: Callable[[], bool],
) -> Iterator[Brought]:
    """Let an agent fetch, check, load and prove a version; it serves until the block ends. ``folder`` is empty."""
    (folder / "base" / ".graft").mkdir(parents=True)
    (folder / "base" / ".graft" / "base.json").write_bytes(base.to_bytes())
    wanted = wanted_set(base, wanted_adapter(version.manifest.adapter, [version]))
    (folder / "wanted.json").write_text(json.dumps(wanted))
    ports = {name: free_port() for name in ("API", "PEER", "ADMIN")}
    settings = {
        "NAMESPACE": base.namespace,
        "POD": "engine-0",
        "REGISTRY": registry.model_dump_json(by_alias=True),
        "WANTED_FILE": str(folder / "wanted.json"),
        "ENGINE_URL": engine.url,
        "BASE_DIR": str(folder / "base"),
        "ADAPTERS_DIR": str(folder / "adapters"),
        "LISTEN": "127.0.0.1",
        **{f"{name}_PORT": str(port) for name, port in ports.items()},
        "DRAIN_SECONDS": "0",
    }
    environment = {**os.environ, **{f"GRAFT_{name}": value for name, value in settings.items()}}
    with (folder / "agent.log").open("wb") as log:
        agent = subprocess.Popen([sys.executable, "-m", "graft_serving"], env=environment, cwd=ROOT, stderr=log)
    try:
        found = _settled(agent, ports["ADMIN"], folder / "agent.log", engine_runs)
        yield Brought(url=f"http://127.0.0.1:{ports['API']}", state=found["state"], message=found["message"])
    finally:
        agent.terminate()
        agent.wait()


def _settled(agent: subprocess.Popen[bytes], port: int, log: Path, engine_runs: Callable[[], bool]) -> dict[str, Any]:
    """Wait until the version is proven or refused, until the engine has ended, or until patience is over."""
    deadline = time.monotonic() + SECONDS
    version: dict[str, Any] = {}
    while version.get("state") not in ("Proven", "Refused"):
        if agent.poll() is not None:
            raise AssertionError(f"the agent has ended:\n{log.read_text()[-4000:]}")
        if version and not engine_runs():
            return version | {"message": "the engine has ended"}
        if version and time.monotonic() > deadline:
            return version | {"message": f"still {version['state']} after {SECONDS:.0f} s"}
        time.sleep(0.3)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/state", timeout=10) as answer:
                adapters = json.load(answer)["adapters"]
        except OSError:
            continue
        version = adapters[0]["versions"][0] if adapters else {}
    return version
