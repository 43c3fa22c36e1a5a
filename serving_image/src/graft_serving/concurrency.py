"""Asks a base and all its adapters at once, and says how much slower that is than the base alone.

    python -m graft_serving.concurrency

The request comes as JSON in ``GRAFT_CONCURRENCY_TEST``. The outcome is the termination message; the whole report is
logged and lies in the registry, below ``<namespace>/bases/<base>/concurrency/``. The prompts don't matter: what is
measured is the engine with many adapters in one batch, whose cost depends on their number, their ranks and the length
of the answers.
"""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from graft_registry.config import RegistryConfig
from graft_registry.errors import RegistryError
from graft_registry.s3.store import ObjectStore
from graft_registry.termination import end_at_once_on_sigterm
from graft_serving.api.api_keys import keys_in

logger = logging.getLogger(__name__)

VARIABLE = "GRAFT_CONCURRENCY_TEST"
TERMINATION_LOG = Path("/dev/termination-log")
REQUEST_SECONDS = 600.0
PROMPT = "Tell me, in a few sentences, what you know about number {number}."


class ConcurrencyRequest(BaseModel):
    """What to ask, whom, and what is still good enough."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, extra="forbid")

    namespace: str
    base: str
    url: str
    adapters: tuple[str, ...]
    digest: str
    requests: int
    concurrency: int
    max_tokens: int
    max_latency_percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one part of the test has measured. Latencies in milliseconds."""

    name: str
    models: int
    requests: int
    failed: int
    seconds: float
    requests_per_second: float
    p50: float
    p95: float
    p99: float
    first_failure: str = ""

    @property
    def summary(self) -> str:
        """A few words for a status line."""
        return f"{self.name}: {self.requests_per_second:.1f} requests/s, p95 {self.p95:.0f} ms"


@dataclass(frozen=True, slots=True)
class Finding:
    """How the test ended: Passed, TooSlow or RequestsFailed."""

    reason: str
    message: str


def judge(parts: Sequence[Part], *, adapters: int, max_latency_percent: int) -> Finding:
    """Compare all adapters mixed (the last part) with the base alone (the first)."""
    measured = f"{adapters} adapters at once. " + "; ".join(part.summary for part in parts)
    if broken := next((part for part in parts if part.failed), None):
        why = f"{broken.failed} of {broken.requests} requests failed ({broken.name}): {broken.first_failure}"
        return Finding("RequestsFailed", f"{why}. {measured}")
    base, mixed = parts[0], parts[-1]
    percent = 100 * mixed.p95 / base.p95 if base.p95 else 100.0
    if percent > max_latency_percent:
        advice = "raise serving.maxActiveAdapters or replicas, or keep ranks equal and low"
        return Finding(
            "TooSlow", f"p95 is {percent:.0f} % of the base's, above {max_latency_percent} %; {advice}. {measured}"
        )
    return Finding("Passed", f"p95 is {percent:.0f} % of the base's. {measured}")


async def measure(
    session: aiohttp.ClientSession, request: ConcurrencyRequest, name: str, models: Sequence[str]
) -> Part:
    """Ask the models in turn, with as many requests under way as the test wants."""
    numbers = iter(range(request.requests))
    latencies: list[float] = []
    failures: list[str] = []

    async def ask_on() -> None:
        for number in numbers:
            begun = time.perf_counter()
            if failure := await ask(session, request, models[number % len(models)], number):
                failures.append(failure)
            latencies.append((time.perf_counter() - begun) * 1000)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(request.concurrency):
            tasks.create_task(ask_on())
    seconds = time.perf_counter() - begun
    ordered = sorted(latencies)
    p50, p95, p99 = (round(ordered[min(len(ordered) - 1, len(ordered) * part // 100)], 1) for part in (50, 95, 99))
    return Part(
        name=name,
        models=len(models),
        requests=len(latencies),
        failed=len(failures),
        seconds=round(seconds, 2),
        requests_per_second=round(len(latencies) / seconds, 2),
        p50=p50,
        p95=p95,
        p99=p99,
        first_failure=failures[0] if failures else "",
    )


async def ask(session: aiohttp.ClientSession, request: ConcurrencyRequest, model: str, number: int) -> str:
    """Ask one question; return what failed, empty when it was answered."""
    body = {
        "model": model,
        "prompt": PROMPT.format(number=number),
        "max_tokens": request.max_tokens,
        "temperature": 0,
        "ignore_eos": True,  # of the engine, so that every answer costs the same
    }
    try:
        async with session.post(f"{request.url}/v1/completions", json=body) as response:
            text = await response.text()
            return "" if response.status == 200 else f"{model}: status {response.status}: {text[:200]}"
    except (aiohttp.ClientError, TimeoutError) as error:
        return f"{model}: {type(error).__name__}: {error}"


async def run(request: ConcurrencyRequest, key: str | None) -> list[Part]:
    """Measure the base alone, one adapter, and all adapters mixed."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    connector = aiohttp.TCPConnector(limit=request.concurrency)
    plans = [("base alone", [request.base]), ("one adapter", request.adapters[:1]), ("all mixed", request.adapters)]
    parts = []
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as session:
        await measure(session, request.model_copy(update={"requests": request.concurrency}), "warm-up", [request.base])
        for name, models in plans:
            parts.append(await measure(session, request, name, list(models)))
            logger.info("%s", parts[-1].summary)
    return parts


def report(request: ConcurrencyRequest, parts: Sequence[Part], finding: Finding) -> dict[str, Any]:
    """Return the whole report as JSON."""
    return {
        "schema": "graft.dev/concurrency/v1",
        "request": request.model_dump(by_alias=True, mode="json"),
        "parts": [asdict(part) for part in parts],
        "reason": finding.reason,
        "message": finding.message,
    }


def store(request: ConcurrencyRequest, document: dict[str, Any]) -> None:
    """Put the report into the registry. Raises RegistryError."""
    key = f"{request.namespace}/bases/{request.base}/concurrency/{request.digest.rpartition(':')[2]}.json"
    ObjectStore(RegistryConfig.from_environment()).put(key, json.dumps(document, indent=1, sort_keys=True).encode())


def main() -> int:
    """Run the test; exit 0 when it was passed, 1 when not."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    request = ConcurrencyRequest.model_validate_json(os.environ[VARIABLE])
    key_file = os.environ.get("GRAFT_API_KEY_FILE")
    keys = keys_in(Path(key_file).read_bytes()) if key_file else ()
    parts = asyncio.run(run(request, next(iter(keys), None)))
    finding = judge(parts, adapters=len(request.adapters), max_latency_percent=request.max_latency_percent)
    document = report(request, parts, finding)
    logger.info("report: %s", json.dumps(document))
    try:
        store(request, document)
    except RegistryError as error:
        logger.warning("the report is in this log only: %s", error)
    outcome = {"outcome": "Measured", "reason": finding.reason, "message": finding.message[:1000]}
    TERMINATION_LOG.write_text(json.dumps(outcome), encoding="utf-8")
    return 0 if finding.reason == "Passed" else 1


if __name__ == "__main__":
    end_at_once_on_sigterm()
    sys.exit(main())
