"""What one more adapter costs: the time of a swap and the engine's memory at 1, 10 and 100 adapters per pod."""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median

import pytest
from demo.goals import answers_with
from tests.e2e.figures import Figures
from tests.e2e.published import Publisher
from tests.e2e.serving import REPLICAS, Serving

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

STEPS = tuple(int(step) for step in os.environ.get("GRAFT_SOAK_ADAPTERS", "1,10,100").split(","))
SWAPS = 10
LOADED = 128
SERVED_SECONDS = 600.0


def test_swaps_at_many_adapters(serving: Serving, models: Path, figures: Figures) -> None:
    tenant = serving.tenant
    tenant.apply(tenant.base(replicas=REPLICAS, maxLoadedAdapters=LOADED))
    serving.wait_rolled_out()
    publisher = Publisher.of(tenant, models, tenant.wait_resolved())
    questions = serving.questions["topic"][:8]
    names: list[str] = []
    for step in STEPS:
        fresh = [f"many-{number}" for number in range(len(names), step)]
        for name in fresh:
            publisher.publish(name, 7000 + len(names), questions)
            names.append(name)
        if "many-0" in fresh:
            publisher.publish("many-0", 6999, questions)
        begun = time.monotonic()
        tenant.apply(*(tenant.adapter(name, version=1) for name in fresh))
        for name in fresh:
            tenant.wait_for_adapter(name, answers_with(1), "served", SERVED_SECONDS)
        took = time.monotonic() - begun
        figures.note(f"{step} adapters: {len(fresh)} more applied → all answer on every replica", took, "s")
        seconds = [tenant.pin("many-0", 2 - number % 2, timeout=SERVED_SECONDS) for number in range(SWAPS)]
        figures.note(f"{step} adapters: swap of one, median of {SWAPS}", median(seconds), "s")
        figures.note(f"{step} adapters: memory of an engine", engine_mebibytes(serving), "MiB")
    tenant.cluster.kubectl("delete", "loraadapters", "-n", tenant.namespace, *names, timeout=600)


def engine_mebibytes(serving: Serving) -> float:
    """Return the resident memory of all processes of one engine."""
    pod = serving.tenant.pods("serving")[0]["metadata"]["name"]
    add_up = (
        "import pathlib; print(sum(int(line.split()[1]) for path in pathlib.Path('/proc').glob('[0-9]*/smaps_rollup')"
        " for line in path.read_text().splitlines() if line.startswith('Pss:')))"
    )
    said = serving.tenant.cluster.kubectl(
        "exec", "-n", serving.tenant.namespace, pod, "-c", "engine", "--", "python3", "-c", add_up
    )
    return int(said) / 1024
