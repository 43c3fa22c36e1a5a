"""What the router adds to a request: `make bench-router`.

The agent runs as in its container, with an adapter of two versions and an engine that replays an answer at once. The
same open loop asks the engine itself and the agent by turns, so that whatever else the machine does meets both. Streams
are replayed in one burst: their last byte tells what the router needs for all their events.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import boto3
import uvloop
from moto.server import ThreadedMotoServer
from tests.bench.open_loop import Measurement, OpenLoop, completion_request
from tests.bench.recorded_engine import BASE_MODEL
from tests.ports import free_port
from tests.serving.published import NAMESPACE, Publisher, base_manifest, wanted_adapter, wanted_set

from graft_registry.config import RegistryConfig
from graft_registry.s3.store import ObjectStore

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "build" / "bench-router.json"
TURN_SECONDS = 5.0


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
    engine = subprocess.Popen([sys.executable, "-m", "tests.bench.recorded_engine", str(ports.engine)], cwd=ROOT)
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
    return {
        **os.environ,
        "GRAFT_NAMESPACE": NAMESPACE,
        "GRAFT_POD": "bench-0",
        "GRAFT_REGISTRY": registry.model_dump_json(by_alias=True),
        "GRAFT_WANTED_FILE": str(folder / "wanted.json"),
        "GRAFT_ENGINE_URL": f"http://127.0.0.1:{ports.engine}",
        "GRAFT_BASE_DIR": str(folder / "base"),
        "GRAFT_ADAPTERS_DIR": str(folder / "adapters"),
        "GRAFT_LISTEN": "127.0.0.1",
        "GRAFT_API_PORT": str(ports.api),
        "GRAFT_PEER_PORT": "0",
        "GRAFT_ADMIN_PORT": str(ports.state),
        "GRAFT_DRAIN_SECONDS": "0",
    }


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


async def by_turns(ports: Ports, *, stream: bool, rate: float, turns: int) -> tuple[Measurement, Measurement]:
    """Measure the engine and the agent in turns; the first turn of each only warms up."""
    direct = OpenLoop(ports.engine, completion_request(BASE_MODEL, stream=stream))
    routed = OpenLoop(ports.api, completion_request("support", stream=stream))
    sums = Measurement(), Measurement()
    for turn in range(turns + 1):
        for loop, total in zip((direct, routed), sums, strict=True):
            measured = await loop.run(rate=rate, seconds=TURN_SECONDS if turn else 1.0)
            if turn:
                total.add(measured)
    return sums


def milliseconds(seconds: list[float]) -> dict[str, float]:
    """p50, p90 and p99."""
    cuts = quantiles(seconds, n=100)
    return {"p50": 1000 * cuts[49], "p90": 1000 * cuts[89], "p99": 1000 * cuts[98]}


def main() -> None:
    """Measure, print a table, and write build/bench-router.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=500, help="requests per second")
    parser.add_argument("--turns", type=int, default=4, help=f"turns of {TURN_SECONDS:g} s for each of the two")
    options = parser.parse_args()
    results: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as (ports, agent):
        for name, stream in (("whole answers", False), ("streams of 16 events", True)):
            used = _cpu_seconds(agent)
            direct, routed = uvloop.run(by_turns(ports, stream=stream, rate=options.rate, turns=options.turns))
            used = _cpu_seconds(agent) - used
            results[name] = {
                "requests": len(routed.last_byte),
                "failed": direct.failed + routed.failed,
                "direct": milliseconds(direct.last_byte),
                "routed": milliseconds(routed.last_byte),
                "agentCpuMilliseconds": 1000 * used / (len(routed.last_byte) + options.rate),
            }
            print(report(name, results[name]))
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"rate": options.rate, **results}, indent=1) + "\n")


def report(name: str, result: dict[str, object]) -> str:
    """One result as lines of text."""
    direct, routed = result["direct"], result["routed"]
    assert isinstance(direct, dict)
    assert isinstance(routed, dict)
    lines = [f"{name}: {result['requests']} requests, {result['failed']} failed"]
    lines += [
        f"  {cut}: {direct[cut]:.2f} ms direct, {routed[cut]:.2f} ms routed, {routed[cut] - direct[cut]:+.2f} ms"
        for cut in direct
    ]
    return "\n".join([*lines, f"  the agent's CPU: {result['agentCpuMilliseconds']:.2f} ms a request"])


def _cpu_seconds(process: int) -> float:
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
