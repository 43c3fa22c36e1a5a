"""Every form in which other libraries leave an adapter: imported as the next revision of one that serves, proved on
both replicas, answering in a canary, and rolled back.

Run by ``make test-soak``. ``GRAFT_SOAK_FORMS`` chooses some by parts of their names, with commas between.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from demo.cluster import Object, condition
from demo.goals import answers_with
from tests.e2e.plain_adapters import train_plainly
from tests.e2e.serving import REPLICAS, Serving, answered_by
from tests.e2e.tenant import SOURCES, Tenant
from tests.trainer.importing.foreign_adapters import Maker
from tests.trainer.importing.foreign_layouts import LAYOUTS, Layout

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]
NAME = "forms"
CHOSEN = os.environ.get("GRAFT_SOAK_FORMS", "").split(",")
FORMS = {
    name: layout
    for name, layout in LAYOUTS.items()
    if layout.result == "beside others" and any(part in name for part in CHOSEN)
}
"""Those that can only be served merged have no canary beside others."""
STEPS = 40
SECONDS = 300.0
RATE = 8.0
CANARY = {
    "strategy": "Canary",
    "steps": [{"weight": 50, "seconds": 600}],  # the test ends it, however slow the machine
    "limits": {"minRequests": 10_000},  # and nothing else does: adapters of noise answer anything
    "rollbackWindowSeconds": 0,
}


def revision(serving: Serving, folder: str, *, abort: int | None = None) -> Object:
    """Return the adapter with one folder of the bucket as its source; ``abort`` is the version that is taken back."""
    tenant = serving.tenant
    rollout: dict[str, Any] = CANARY | ({"abort": abort} if abort is not None else {})
    adapter = tenant.adapter(NAME, evaluation={"prompts": serving.sample[:8]}, serving={"rollout": rollout})
    del adapter["spec"]["dataset"], adapter["spec"]["training"], adapter["spec"]["lora"]
    adapter["spec"]["source"] = {"s3": {"uri": f"{tenant.bucket.uri(place(folder))}/"}}
    return adapter


def place(folder: str) -> str:
    return f"{SOURCES}/forms/{folder}"


def upload(tenant: Tenant, files: Path, folder: str) -> None:
    tenant.bucket.clear(f"{place(folder)}/")
    tenant.bucket.upload(files, place(folder))


@pytest.fixture(scope="module")
def served(serving: Serving, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Serving:
    """Have a first revision that PEFT has trained, to go back to."""
    files = tmp_path_factory.mktemp("first") / "adapter"
    train_plainly(models / "base-v1", models / "data" / "topic.small.jsonl", files, steps=STEPS)
    upload(serving.tenant, files, "first")
    serving.tenant.apply(revision(serving, "first"))
    serving.tenant.wait_for_adapter(NAME, answers_with(1), "the first revision answers", SECONDS)
    return serving


def in_canary(adapter: Object) -> bool:
    """Whether a version answers half of the requests; or whatever it stalls with, so that nobody waits in vain."""
    progress = adapter["status"].get("serving", {}).get("rollout") or {}
    current = adapter["status"].get("observedGeneration") == adapter["metadata"]["generation"]
    return current and (progress.get("weight") == 50 or condition(adapter, "Stalled")["status"] == "True")


def gone_back(number: int) -> Callable[[Object], bool]:
    """Return the goal: that version was taken back, and the first one answers alone."""

    def goal(adapter: Object) -> bool:
        current = adapter["status"].get("observedGeneration") == adapter["metadata"]["generation"]
        entries = {entry["number"]: entry.get("state") for entry in adapter["status"]["versions"]}
        taken_back = entries.get(number) == "RolledBack"
        return bool(current and taken_back and adapter["status"].get("servedVersion") == 1)

    return goal


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_form_is_proved_goes_by_canary_and_is_rolled_back(
    form: Layout, served: Serving, models: Path, tmp_path: Path
) -> None:
    tenant, folder = served.tenant, f"form-{list(FORMS.values()).index(form):02}"
    maker = Maker(models / "base-v1", tmp_path / "adapter")
    form.make(maker)
    upload(tenant, maker.folder, folder)
    with served.load(NAME, rate=RATE) as load:
        load.wait_for_requests(5, timeout=120)
        tenant.apply(revision(served, folder))
        adapter = tenant.wait_for_adapter(NAME, in_canary, "in its canary", SECONDS)
        assert condition(adapter, "Stalled")["status"] != "True", condition(adapter, "Stalled")
        manifest = max(tenant.versions(NAME), key=lambda version: int(version["number"]))
        number = int(manifest["number"])
        assert served.loaded_versions(NAME) == [[1, number]] * REPLICAS
        load.wait_for_requests(load.latest()["requests"] + 30, timeout=60)
        tenant.apply(revision(served, folder, abort=number))
        tenant.wait_for_adapter(NAME, gone_back(number), "rolled back", SECONDS)
        load.wait_for_requests(load.latest()["requests"] + 10, timeout=60)
        report = load.finish()
    assert report["failed"] == 0, report["failures"]
    assert answered_by(report, NAME) == {f"{NAME}@v1", f"{NAME}@v{number}"}
    assert manifest["golden"], "without golden prompts nothing would have proved it"
    assert served.version_of(NAME) == {f"{NAME}@v1"}
