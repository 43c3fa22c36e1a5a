"""What the router adds to a request: `make bench-router`.

The agent runs as in its container, with an adapter of two versions and an engine that replays an answer at once. The
same open loop asks the engine itself, the agent and another router by turns, so that whatever else the machine does
meets all of them. Streams are replayed in one burst: their last byte tells what a router needs for all their events.
"""

import argparse
import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import boto3
import uvloop
from moto.server import ThreadedMotoServer
from tests.bench.agent.process import agent_environment
from tests.bench.cpu_time import cpu_seconds
from tests.bench.router.figures import AGENT, BEGIN, DIRECT, Figures, table
from tests.bench.router.open_loop import Measurement, OpenLoop, completion_request
from tests.bench.router.peers import PEERS, installed_router, peer_router
from tests.bench.router.recorded_engine import BASE_MODEL
from tests.bench.scale.report import write
from tests.ports import free_port
from tests.serving.published import Publisher, base_manifest, wanted_adapter, wanted_set

from graft_registry.config import RegistryConfig
from graft_registry.s3.store import ObjectStore

ROOT = Path(__file__).parents[3]
RESULT = ROOT / "build" / "bench-router.json"
TURN_SECONDS = 5.0
KINDS: Final = {"whole answers": False, "streams of 16 events": True}
"""Whether each is streamed."""
SUSTAINED_MS: Final = 10.0

Groups = dict[str, dict[str, Figures]]
"""Figures by kind of answer and rate, and by contestant."""


@dataclass(frozen=True)
class Ports:
    """Of the engine, the agent's API and the agent's state."""

    engine: int
    api: int
    state: int


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Ports, int]]:
    """Run engine and agent until the block ends; yield their ports and the agent's process id."""
    ports = Ports(*(free_port() for _ in range(3)))
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    os.environ |= {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
    endpoint = "http://{}:{}".format(*s3.get_host_and_port())
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="graft")
    environment = _publish(folder, RegistryConfig(endpoint=endpoint, bucket="graft"), ports)
    engine = subprocess.Popen([sys.executable, "-m", "tests.bench.router.recorded_engine", str(ports.engine)], cwd=ROOT)
    with (folder / "agent.log").open("wb") as log:
        agent = subprocess.Popen([sys.executable, "-m", "graft_serving"], env=environment, cwd=ROOT, stderr=log)
    try:
        _wait_until_ready(ports.state)
        yield ports, agent.pid
    except OSError:
        print((folder / "agent.log").read_text(), file=sys.stderr)
        raise
    finally:
        for process in (agent, engine):
            process.terminate()
            process.wait()
        s3.stop()


def _publish(folder: Path, registry: RegistryConfig, ports: Ports) -> dict[str, str]:
    """Publish two versions and want both of them; return the environment of the agent."""
    base = base_manifest()
    (folder / "base" / ".graft").mkdir(parents=True)
    (folder / "base" / ".graft" / "base.json").write_bytes(base.to_bytes())
    publisher = Publisher(ObjectStore(registry), folder / "published", base)
    versions = [publisher.publish("support", golden_count=0) for _ in range(2)]
    route = [(versions[0], 90), (versions[1], 10)]
    (folder / "wanted.json").write_text(json.dumps(wanted_set(base, wanted_adapter("support", versions, route))))
    return agent_environment(folder, registry, engine=ports.engine, state=ports.state, api=ports.api)


def _wait_until_ready(port: int, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@dataclass(frozen=True)
class Contestant:
    """A server that answers for the engine, or the engine itself."""

    name: str
    port: int
    model: str
    process: int | None = None
    """Whose CPU time is measured."""


async def by_turns(
    contestants: Sequence[Contestant], *, stream: bool, rate: float, turns: int
) -> dict[str, tuple[Measurement, float]]:
    """Measure all in turns; the first turn of each only warms up. Returns also the CPU seconds that each has used."""
    loops = {one.name: OpenLoop(one.port, completion_request(one.model, stream=stream)) for one in contestants}
    sums = {one.name: Measurement() for one in contestants}
    used = dict.fromkeys(sums, 0.0)
    for turn in range(turns + 1):
        for one in contestants:
            before = cpu_seconds(one.process) if one.process else 0.0
            measured = await loops[one.name].run(rate=rate, seconds=TURN_SECONDS if turn else 1.0)
            if turn:
                sums[one.name].add(measured)
                used[one.name] += cpu_seconds(one.process) - before if one.process else 0.0
    return {name: (measured, used[name]) for name, measured in sums.items()}


def highest_rate(agent: Contestant, *, stream: bool, limit: float) -> float:
    """The highest rate, in steps of 100 requests a second, at which the 99th percentile stays below so many ms."""
    sustained, rate = 0.0, 500.0
    while True:
        measured, used = uvloop.run(by_turns([agent], stream=stream, rate=rate, turns=2))[agent.name]
        figures = Figures.of(measured, used)
        print(f"{rate:g}/s: p99 {figures.p99:.2f} ms, {figures.failed} failed", flush=True)
        if figures.failed or figures.p99 > limit:
            return sustained
        sustained, rate = rate, rate + 100


def measured_groups(options: argparse.Namespace, running: contextlib.ExitStack) -> Groups:
    """Measure by turns the engine, the agent and each other router, at that one's rate."""
    folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
    ports, process = running.enter_context(serving(folder))
    agent = Contestant(AGENT, ports.api, "support", process)
    cache = Path(os.environ.get("GRAFT_CACHE") or Path.home() / ".cache" / "graft")
    groups: Groups = {}
    if options.sustained:
        for kind, stream in KINDS.items():
            sustained = highest_rate(agent, stream=stream, limit=SUSTAINED_MS)
            print(f"sustained: {sustained:g} {kind} a second", flush=True)
    for peer in (None,) if options.without_peer else PEERS:
        contestants = [Contestant(DIRECT, ports.engine, BASE_MODEL), agent]
        rate = options.rate if peer is None else peer.rate or options.rate
        with contextlib.ExitStack() as beside:
            if peer is not None:
                router = peer_router(peer, installed_router(peer, cache), ports.engine, folder)
                contestants.append(Contestant(peer.name, *_and_model(beside.enter_context(router))))
            for kind, stream in KINDS.items():
                results = uvloop.run(by_turns(contestants, stream=stream, rate=rate, turns=options.turns))
                groups[f"{kind}, {rate:g}/s"] = {name: Figures.of(*one) for name, one in results.items()}
    return groups


def _and_model(started: tuple[int, int]) -> tuple[int, str, int]:
    port, process = started
    return port, BASE_MODEL, process


def main() -> None:
    """Measure, print a table, write build/bench-router.json, and the page's table where one is named."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.router", description=__doc__)
    parser.add_argument("--rate", type=float, default=500, help="requests per second")
    parser.add_argument("--turns", type=int, default=4, help=f"turns of {TURN_SECONDS:g} s for each contestant")
    parser.add_argument("--without-peer", action="store_true", help="leave out other routers, which come from PyPI")
    parser.add_argument(
        "--sustained", action="store_true", help=f"also look for the highest rate with p99 below {SUSTAINED_MS:g} ms"
    )
    parser.add_argument("--page", type=Path, help="page whose table is replaced, such as docs/benchmarks.md")
    options = parser.parse_args()
    with contextlib.ExitStack() as running:
        figures = measured_groups(options, running)
    print(table(figures))
    RESULT.parent.mkdir(exist_ok=True)
    documents = {kind: {name: asdict(one) for name, one in found.items()} for kind, found in figures.items()}
    RESULT.write_text(json.dumps(documents, indent=1) + "\n")
    if options.page:
        write(options.page, table(figures), mark=BEGIN)


if __name__ == "__main__":
    main()
