"""What it takes to bring so many adapters up: the agent as in its container, from its start until all are proven.

The registry is a real S3 server of this machine, each version has its golden prompts, and the engine is the double of
the tests in a process of its own: what is measured is the agent, and not how long an engine takes to load.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.agent.process import agent_environment
from tests.bench.cpu_time import cpu_seconds
from tests.bench.object_store import object_store
from tests.ports import free_port
from tests.serving.fake_engine import FakeEngine
from tests.serving.published import Publisher, base_manifest, wanted_adapter, wanted_set

from graft_registry.config import RegistryConfig
from graft_registry.s3.store import ObjectStore

ROOT = Path(__file__).parents[3]
LONGEST_SECONDS = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BroughtUp:
    """What one agent has needed."""

    adapters: int
    seconds: float
    """From the start of the process until all adapters are proven."""
    cpu_seconds: float
    resident_bytes: int
    """Afterwards, at rest."""
    peak_bytes: int


def bring_up(count: int) -> BroughtUp:
    """Publish so many adapters, and measure an agent that is told of all of them at once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with object_store(folder / "store") as registry:
            port, state = free_port(), free_port()
            environment = _published(folder, registry, count, engine=port, state=state)
            with _process("tests.bench.agent.many_adapters", str(port)), (folder / "agent.log").open("wb") as log:
                began = time.monotonic()
                with _process("graft_serving", environment=environment, log=log) as agent:
                    _wait_until_proven(state, count, folder / "agent.log")
                    seconds, used = time.monotonic() - began, cpu_seconds(agent)
                    time.sleep(2)
                    return BroughtUp(
                        adapters=count,
                        seconds=seconds,
                        cpu_seconds=used,
                        resident_bytes=_memory(agent, "VmRSS"),
                        peak_bytes=_memory(agent, "VmHWM"),
                    )


def table(measured: list[BroughtUp]) -> str:
    """The measurements as a table of Markdown."""
    lines = ["| adapters | all up after | CPU of it | memory then | at its peak |", "|---|---|---|---|---|"]
    lines += [
        f"| {one.adapters:,} | {one.seconds:.1f} s | {one.cpu_seconds:.1f} s "
        f"| {one.resident_bytes >> 20} MiB | {one.peak_bytes >> 20} MiB |"
        for one in measured
    ]
    return "\n".join(lines)


@contextmanager
def _process(module: str, *arguments: str, environment: dict[str, str] | None = None, log: Any = None) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], env=environment, cwd=ROOT, stderr=log)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _published(folder: Path, registry: RegistryConfig, count: int, *, engine: int, state: int) -> dict[str, str]:
    """Publish the adapters and want all of them; return the environment of the agent."""
    base = base_manifest()
    (folder / "base" / ".graft").mkdir(parents=True)
    (folder / "base" / ".graft" / "base.json").write_bytes(base.to_bytes())
    publisher = Publisher(ObjectStore(registry), folder / "published", base)
    names = [f"adapter-{number:05d}" for number in range(count)]
    entries = [wanted_adapter(name, [publisher.publish(name)]) for name in names]
    (folder / "wanted.json").write_text(json.dumps(wanted_set(base, *entries)))
    return agent_environment(folder, registry, engine=engine, state=state)


def _wait_until_proven(port: int, count: int, log: Path) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while _proven(port) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{_proven(port)} of {count} adapters are proven; the agent says:\n{log.read_text()}")
        time.sleep(0.1)


def _proven(port: int) -> int:
    """How many adapters are proven; none is counted before the pod is ready, since to be told of all takes a while."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            pass
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/state", timeout=30) as answer:
            told = json.load(answer)["adapters"]
    except OSError:
        return 0
    return sum(version["state"] == "Proven" for adapter in told for version in adapter["versions"])


def _memory(process: int, name: str) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    [kibibytes] = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(kibibytes) << 10


async def _serve_engine(port: int) -> None:
    await FakeEngine(port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve_engine(int(sys.argv[1])))
