"""The same swaps by the engine's own API and by Graft, side by side: failed requests, wrong answers, seconds."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest
from tests.e2e.figures import Figures
from tests.e2e.published import Published, Publisher
from tests.e2e.serving import Serving
from tests.e2e.soak.plain_engines import PlainEngines, plain_engines

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

SWAPS = int(os.environ.get("GRAFT_SOAK_COMPARED_SWAPS", "60"))
NAME = "compared"
VOLUME = "graft-compared"
RATE = 30.0
"""Per second: an engine that has no adapter for some milliseconds has to be met in them."""
PAUSE_SECONDS = 0.5
SWAP_SECONDS = 60.0


@pytest.fixture(scope="module")
def versions(serving: Serving, models: Path) -> Iterator[tuple[list[Published], Path]]:
    """Publish two versions, and lay their files and the base where plain engines find them."""
    folder = serving.tenant.environment.cache / "volumes" / VOLUME
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(models / "base-v1", folder / "base-v1", copy_function=shutil.copyfile)
    publisher = Publisher.of(serving.tenant, models, serving.tenant.wait_resolved())
    questions = serving.questions["topic"][:12]
    published = [publisher.publish(NAME, seed, questions, keep_in=folder / f"v{seed}") for seed in (1, 2)]
    yield published, folder
    shutil.rmtree(folder)


def right_answers(versions: list[Published]) -> dict[str, list[str]]:
    """Return question → the answers of both versions, for questions that both answer beyond doubt."""
    one, two = (version.answers for version in versions)
    return {question: [one[question], two[question]] for question in one.keys() & two.keys()}


def test_swaps_side_by_side(versions: tuple[list[Published], Path], serving: Serving, figures: Figures) -> None:
    published, folder = versions
    expected = right_answers(published)
    assert expected, "no question is answered beyond doubt by both versions"
    ours = swaps_by_graft(serving, published, expected, figures)
    with plain_engines(serving.tenant, folder / "base-v1", VOLUME) as engines:
        theirs = swaps_by_engine(engines, serving, expected, figures)
    assert (ours["failed"], ours["wrong"]) == (0, 0), ours
    # Not a wish but the reason for a router: without one, a name is nobody's between unloading and loading.
    assert theirs["failed"] + theirs["wrong"] > 0


def swaps_by_graft(
    serving: Serving, published: list[Published], expected: dict[str, list[str]], figures: Figures
) -> dict[str, int]:
    tenant, seconds = serving.tenant, []
    labels = {f"{NAME}@v{version.number}": expected for version in published}

    tenant.pin(NAME, published[0].number, timeout=SWAP_SECONDS)
    with serving.client.load(serving.url, {NAME: list(expected)}, rate=RATE, concurrency=8, expected=labels) as load:
        for number in range(SWAPS):
            seconds.append(tenant.pin(NAME, published[(number + 1) % 2].number, timeout=SWAP_SECONDS))
            time.sleep(PAUSE_SECONDS)
        report = load.finish()
    note(figures, "Graft", report, seconds)
    return report


def swaps_by_engine(
    engines: PlainEngines, serving: Serving, expected: dict[str, list[str]], figures: Figures
) -> dict[str, int]:
    engines.load(NAME, "v1")
    seconds = []
    with serving.client.load(
        engines.url, {NAME: list(expected)}, rate=RATE, concurrency=8, expected={"": expected}
    ) as load:
        for number in range(SWAPS):
            seconds.append(engines.swap(NAME, f"v{2 - number % 2}"))
            time.sleep(PAUSE_SECONDS)
        report = load.finish()
    note(figures, "the engine's API", report, seconds)
    return report


def note(figures: Figures, who: str, report: dict[str, int], seconds: list[float]) -> None:
    """Write down what one way of swapping cost."""
    figures.note(f"{SWAPS} swaps by {who}: requests", report["requests"], "requests")
    figures.note(f"{SWAPS} swaps by {who}: failed", report["failed"], "requests")
    figures.note(f"{SWAPS} swaps by {who}: wrong answers", report["wrong"], "requests")
    figures.note(f"{SWAPS} swaps by {who}: to all replicas, median", median(seconds), "s")
