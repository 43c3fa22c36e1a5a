"""What many adapters cost the agent: `make bench-agent`.

To bring them all up (`many_adapters`), and then, on the event loop beside the requests that it carries, CPU time of one
pass over all versions, of reading a wanted set, and of the documents that are told; of these also the longest time for
which the event loop is held at once.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from tests.bench.agent import many_adapters
from tests.bench.scale.report import write
from tests.serving.published import base_manifest

from graft_registry.s3.store import ObjectStore
from graft_serving.adapters.cache import AdapterCache
from graft_serving.adapters.lifecycle import Lifecycle, LifecycleSettings
from graft_serving.adapters.records import VersionRecord
from graft_serving.adapters.registry_source import RegistrySource
from graft_serving.adapters.saved_state import SavedState
from graft_serving.api.model_list import model_cards
from graft_serving.engine.loaded import LoadedAdapters
from graft_serving.engine.monitor import EngineMonitor
from graft_serving.status.pod import ServingPod
from graft_serving.telemetry.answered import Answered, Caller, Usage
from graft_serving.telemetry.metrics import Metrics
from graft_serving.versions import VersionState
from graft_serving.wanted.documents import parse_wanted_set

COUNTS = (1, 100, 1000)
BROUGHT_UP = "<!-- made by make bench-agent: brought up -->"
EVENT_LOOP = "<!-- made by make bench-agent: event loop -->"
HEAD = """\
| adapters | wanted set read | a pass | `/v1/models` | `/state`, its longest slice | `/metrics`, its longest |
|---|---|---|---|---|---|"""
TRIES = 3
ANSWER = Answered(status=200, seconds=1.0, first_token_seconds=0.1, usage=Usage(10, 100))


def wanted(base: Any, count: int) -> bytes:
    """A wanted set of so many adapters, each with one version."""
    adapters = [
        {
            "name": f"adapter-{number:05d}",
            "versions": [{"number": 6, "manifestDigest": f"sha256:{number:064x}"}],
            "route": [{"number": 6, "weight": 100}],
            "forwardTo": None,
            "decision": {"target": 6, "previous": None, "weight": 100},
        }
        for number in range(count)
    ]
    base = {"name": base.name, "digest": base.digest, "forwardTo": None}
    return json.dumps({"schema": "graft.dev/wanted/v1", "base": base, "adapters": adapters}).encode()


def cpu(work: Callable[[], object]) -> float:
    """The shortest of some tries, in milliseconds of CPU time."""
    taken = []
    for _ in range(TRIES):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return 1000 * min(taken)


async def in_slices(make: Callable[[], Awaitable[bytes]]) -> tuple[float, float, int]:
    """CPU time of a document, and the longest time without a turn for others, in milliseconds; its size in KiB."""
    longest = 0.0

    async def others() -> None:
        nonlocal longest
        while True:
            began = time.process_time()
            await asyncio.sleep(0)
            longest = max(longest, time.process_time() - began)

    beside = asyncio.create_task(others())
    await asyncio.sleep(0)
    began = time.process_time()
    made = await make()
    taken = time.process_time() - began
    beside.cancel()
    return 1000 * taken, 1000 * longest, len(made) >> 10


def serving(folder: Path, raw: bytes) -> tuple[Lifecycle, ServingPod, Metrics]:
    """A pod on which everything is proven, and has been asked, without an engine."""
    base, metrics = base_manifest(), Metrics()
    monitor = EngineMonitor(cast(Any, None), poll_seconds=1, on_change=lambda: None)
    monitor.state, monitor.starts, monitor.base_model = "Ready", 1, "tiny"
    cache = AdapterCache(folder, RegistrySource(lambda: cast(ObjectStore, None), "team-a"))
    lifecycle = Lifecycle(
        LifecycleSettings(pod="tiny-0", base_digest=base.digest, retry_seconds=1, cache_bytes=0),
        cache=cache,
        bring_up=cast(Any, None),
        monitor=monitor,
        saved_state=SavedState(folder / ".agent"),
        observer=metrics,
        on_reconciled=lambda: pod.refresh(),
    )
    pod = ServingPod(name="tiny-0", base=base, has_base=True, peer=None, lifecycle=lifecycle, monitor=monitor)
    lifecycle.apply(raw)
    assert lifecycle.wanted is not None
    loaded = {}
    for adapter in lifecycle.wanted.adapters:
        for key in adapter.version_keys:
            record = lifecycle.records[key] = VersionRecord(key, state=VersionState.PROVEN)
            loaded[key.engine_name] = cache.engine_path(key)
            record.traffic.count(Caller(), ANSWER)
            metrics.answered(key.adapter, f"v{key.number}", ANSWER)
            metrics.loaded(key, 0.5)
    monitor.adapters = LoadedAdapters(loaded)
    lifecycle._reconcile(cast(Any, None))
    return lifecycle, pod, metrics


async def measure(count: int) -> str:
    """One row of the table."""
    base = base_manifest()
    raw = wanted(base, count)
    with tempfile.TemporaryDirectory() as folder:
        lifecycle, pod, metrics = serving(Path(folder), raw)
        read = cpu(lambda: parse_wanted_set(raw))
        a_pass = cpu(lambda: lifecycle._reconcile(cast(Any, None)))
        models = cpu(lambda: json.dumps(list(model_cards(pod.table, base_digest=base.digest))))
        state, state_at_once, state_size = await in_slices(pod.state)
        page, page_at_once, page_size = await in_slices(metrics.exposed)
    told = f"{state:.0f}, {state_at_once:.1f} ({state_size:,} KiB) | {page:.0f}, {page_at_once:.1f} ({page_size:,} KiB)"
    return f"| {count:,} | {read:.1f} | {a_pass:.1f} | {models:.1f} | {told} |"


def main() -> None:
    """Measure each count, print the tables, and put them into a page where one is named."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.agent", description=__doc__)
    parser.add_argument("--adapters", type=int, nargs="+", default=COUNTS, help="on one pod")
    parser.add_argument("--page", type=Path, help="page whose tables are replaced, such as docs/benchmarks.md")
    options = parser.parse_args()
    event_loop = "\n".join([HEAD, *(asyncio.run(measure(count)) for count in options.adapters)])
    print(event_loop, flush=True)
    brought_up = many_adapters.table([many_adapters.bring_up(count) for count in options.adapters])
    print(f"\n{brought_up}")
    if options.page:
        write(options.page, brought_up, mark=BROUGHT_UP)
        write(options.page, event_loop, mark=EVENT_LOOP)


if __name__ == "__main__":
    main()
