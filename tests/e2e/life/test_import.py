"""An adapter that was trained elsewhere: imported from S3, proved, asked, followed, and refused where it must be."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from demo.cluster import Object, condition
from demo.goals import answers_with
from tests.e2e.figures import Figures
from tests.e2e.plain_adapters import as_pickle, train_plainly
from tests.e2e.serving import REPLICAS, Serving
from tests.e2e.tenant import SOURCES, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
STEPS = 40
IMPORT_SECONDS = 300.0
NAME = "foreign"


@pytest.fixture(scope="module")
def made(models: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return two adapters of the base, the second trained for longer than the first."""
    folders = []
    for number in (1, 2):
        folder = tmp_path_factory.mktemp("made") / f"adapter-{number}"
        rows = models / "data" / "topic.small.jsonl"
        train_plainly(models / "base-v1", rows, folder, steps=number * STEPS, seed=number)
        folders.append(folder)
    return folders


def imported(tenant: Tenant, questions: list[str], *, name: str = NAME, **source: Any) -> Object:
    """Return the adapter that is imported from the folder of its name."""
    adapter = tenant.adapter(name, evaluation={"prompts": questions})
    del adapter["spec"]["dataset"], adapter["spec"]["training"], adapter["spec"]["lora"]
    adapter["spec"]["source"] = {"s3": {"uri": tenant.bucket.uri(f"{place(name)}/")}} | source
    return adapter


def place(name: str) -> str:
    return f"{SOURCES}/adapters/{name}"


def upload(tenant: Tenant, folder: Path, name: str = NAME) -> None:
    """Put an adapter where it is imported from, and nothing else."""
    tenant.bucket.clear(f"{place(name)}/")
    tenant.bucket.upload(folder, place(name))


@pytest.fixture(scope="module")
def served(serving: Serving, made: list[Path], figures: Figures) -> Serving:
    """Import the first adapter, and wait until both replicas answer with it."""
    tenant = serving.tenant
    upload(tenant, made[0])
    begun = time.monotonic()
    tenant.apply(imported(tenant, serving.sample, interval="1m"))
    tenant.wait_for_adapter(NAME, answers_with(1), "imported and served", IMPORT_SECONDS)
    figures.note("adapter of others applied → answers on two replicas", time.monotonic() - begun, "s")
    return serving


def test_it_is_a_version_like_any_other(served: Serving) -> None:
    tenant = served.tenant
    adapter = tenant.wait_settled(NAME)
    [manifest] = tenant.versions(NAME)
    assert manifest["reason"] == "Imported"
    assert manifest["imported"]["source"] == {"s3": {"uri": tenant.bucket.uri(f"{place(NAME)}/")}}
    assert manifest["imported"]["digest"] == adapter["status"]["source"]["digest"]
    assert manifest["dataset"] is None
    assert manifest["golden"]
    assert condition(adapter, "Trained")["reason"] == "Imported"
    assert condition(adapter, "SourceChecked")["status"] == "True"
    assert served.loaded_versions(NAME) == [[1]] * REPLICAS


def test_it_answers_under_its_alias(served: Serving) -> None:
    assert served.version_of(NAME) == {f"{NAME}@v1"}
    assert served.texts(NAME, served.sample) != served.base_answers


def test_events_tell_of_it_once(served: Serving) -> None:
    tenant = served.tenant
    text = tenant.cluster.kubectl("describe", "loraadapter", NAME, "-n", tenant.namespace).partition("\nEvents:")[2]
    assert text.count("Imported version 1") == 1, text
    assert "VersionServed" in text


def test_new_content_is_the_next_version(served: Serving, made: list[Path], figures: Figures) -> None:
    tenant = served.tenant
    before = served.texts(NAME, served.sample)
    upload(tenant, made[1])
    begun = time.monotonic()
    tenant.wait_for_adapter(NAME, answers_with(2), "version 2 from new content", IMPORT_SECONDS)
    figures.note("new content uploaded (interval 1m) → answers on two replicas", time.monotonic() - begun, "s")
    assert served.version_of(NAME) == {f"{NAME}@v2"}
    assert served.texts(NAME, served.sample) != before


def test_a_source_that_is_gone_stops_nobody(served: Serving, made: list[Path]) -> None:
    tenant = served.tenant
    tenant.bucket.clear(f"{place(NAME)}/")
    adapter = tenant.wait_for_adapter(NAME, source_is_missing, "source missing", IMPORT_SECONDS)
    assert condition(adapter, "Ready")["status"] == "True"
    assert served.version_of(NAME) == {f"{NAME}@v2"}
    # What is there again has a version already: nothing is imported twice.
    upload(tenant, made[1])
    tenant.wait_for_adapter(NAME, source_is_read, "source read again", IMPORT_SECONDS)
    assert len(tenant.versions(NAME)) == 2


def source_is_missing(adapter: Object) -> bool:
    return bool(condition(adapter, "SourceChecked").get("reason") == "SourceNotFound")


def source_is_read(adapter: Object) -> bool:
    return bool(condition(adapter, "SourceChecked")["status"] == "True")


def test_a_pickle_is_refused_with_what_helps(served: Serving, made: list[Path], tmp_path: Path) -> None:
    tenant = served.tenant
    folder = tmp_path / "pickled"
    folder.mkdir()
    for file in made[0].iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    as_pickle(folder)
    upload(tenant, folder, "pickled")
    tenant.apply(imported(tenant, served.sample, name="pickled"))
    stalled = tenant.wait_stalled("pickled", IMPORT_SECONDS)
    assert stalled["reason"] == "SourceInvalid"
    assert "spec.source.s3.uri" in stalled["message"]
    assert "adapter_model.bin" in stalled["message"]
    assert tenant.versions("pickled") == []
    upload(tenant, made[0], "pickled")
    tenant.cluster.kubectl(
        "annotate", "loraadapter", "pickled", "-n", tenant.namespace, "graft.dev/retry=1", "--overwrite"
    )
    tenant.wait_for_adapter("pickled", answers_with(1), "imported once it is mended", IMPORT_SECONDS)
    tenant.cluster.delete("loraadapters.graft.dev", "pickled", tenant.namespace)
    tenant.cluster.delete("loraadapters.graft.dev", NAME, tenant.namespace)
