"""The operator as Kubernetes runs it: a process with an environment, watched from outside."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from tests.ports import free_port
from tests.simulator.world import CREDENTIALS

from graft_registry.config import RegistryConfig

STOP_SECONDS: Final = 30
PAGE_KIB: Final = os.sysconf("SC_PAGE_SIZE") // 1024
TICKS: Final = os.sysconf("SC_CLK_TCK")
WRITES: Final = frozenset({"create", "apply", "apply_status", "patch", "update", "delete", "replace"})
Labels = tuple[tuple[str, str], ...]


def operator_environment(kubeconfig: Path, registry: RegistryConfig, **settings: str) -> dict[str, str]:
    """Return the environment of an operator; keywords are settings in lower case, without their prefix."""
    images = {f"GRAFT_{part}_IMAGE": f"{part.lower()}:test" for part in ("TRAINER", "AGENT", "REGISTRY", "ENGINE")}
    return (
        images
        | {
            "KUBECONFIG": str(kubeconfig),
            "GRAFT_LEASE_NAMESPACE": "graft-system",
            # Here the page is read several times a second; docs/metrics.md has what series of adapters cost.
            "GRAFT_ADAPTER_METRICS": "false",
            "GRAFT_REGISTRY": registry.model_dump_json(by_alias=True),
            "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key,
            "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        | {f"GRAFT_{name.upper()}": value for name, value in settings.items()}
    )


@dataclass(slots=True)
class OperatorProcess:
    """One process of the operator, running or ended."""

    process: asyncio.subprocess.Process
    port: int
    log: Path
    session: aiohttp.ClientSession
    peak_rss_kib: int = 0
    """Highest resident memory since :meth:`reset_peak`, sampled four times a second."""
    _sampler: asyncio.Task[None] | None = field(default=None)

    @classmethod
    @asynccontextmanager
    async def start(cls, environment: dict[str, str], log: Path) -> AsyncIterator[OperatorProcess]:
        """Start the operator, and stop it at the end, first kindly."""
        port = free_port()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GRAFT_", "KUBE"))}
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "graft_operator"),
                env=inherited
                | {"PYTHONPATH": os.pathsep.join(sys.path)}
                | environment
                | {"GRAFT_PROBE_PORT": str(port)},
                stdout=output,
                stderr=output,
            )
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            running = cls(process, port, log, session)
            running._sampler = asyncio.create_task(running._sample())
            try:
                yield running
            finally:
                running._sampler.cancel()
                await running.stop()

    @property
    def is_running(self) -> bool:
        return self.process.returncode is None

    def kill(self) -> None:
        """End it as a lost node would."""
        if self.is_running:
            self.process.send_signal(signal.SIGKILL)

    async def stop(self) -> None:
        """Ask it to end, and make it."""
        if self.is_running:
            self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
        except TimeoutError:
            self.kill()
            await self.process.wait()

    async def metrics(self) -> Metrics:
        """Read its metrics; empty where it does not answer, as while it starts."""
        try:
            async with self.session.get(f"http://127.0.0.1:{self.port}/metrics") as response:
                text = await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return Metrics({})
        samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        return Metrics(samples)

    def rss_kib(self) -> int:
        """Return its resident memory, 0 where it has ended."""
        try:
            return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE_KIB
        except (OSError, IndexError):
            return 0

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used, 0 where it has ended."""
        return cpu_seconds_of(self.process.pid)

    def reset_peak(self) -> None:
        """Begin to look for the peak anew."""
        self.peak_rss_kib = self.rss_kib()

    async def _sample(self) -> None:
        while True:
            self.peak_rss_kib = max(self.peak_rss_kib, self.rss_kib())
            await asyncio.sleep(0.25)


def cpu_seconds_of(pid: int) -> float:
    """Return the CPU time that a process has used, 0 where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


@dataclass(frozen=True, slots=True)
class Metrics:
    """One reading of the operator's metrics."""

    samples: dict[tuple[str, Labels], float]

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have the labels."""
        wanted = set(labels.items())
        return sum(value for (found, tags), value in self.samples.items() if found == name and wanted <= set(tags))

    def api_requests(self) -> dict[tuple[str, str], float]:
        """Return the requests to the API server by verb and resource, those for the operator's own lease left out."""
        found: dict[tuple[str, str], float] = {}
        for (name, tags), value in self.samples.items():
            labels = dict(tags)
            if name == "graft_kubernetes_requests_total" and labels["resource"] != "leases":
                key = (labels["verb"], labels["resource"])
                found[key] = found.get(key, 0.0) + value
        return found

    def writes(self) -> float:
        """Return how often the operator has written to the API server, its lease left out."""
        return sum(value for (verb, _), value in self.api_requests().items() if verb in WRITES)

    def passes(self) -> float:
        """Return how often the operator has looked at an object."""
        return self.total("graft_reconciles_total")
