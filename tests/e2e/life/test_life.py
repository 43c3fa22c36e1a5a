"""The way of one adapter: applied, trained, published, served, asked; and every place that tells of it is right."""

from __future__ import annotations

import re
import threading
import time

import pytest
from demo.cluster import Event, Object, condition
from demo.goals import settled, version_entry
from tests.e2e.figures import Figures
from tests.e2e.serving import REPLICAS, Serving
from tests.e2e.tenant import BASE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
JOB_SECONDS = 30.0


class Life:
    """An adapter that was followed from its apply to its first answer."""

    def __init__(self, serving: Serving) -> None:
        tenant = serving.tenant
        self.trainings: list[Object] = []
        jobs: list[Event] = []

        def watch_jobs() -> None:
            for event in tenant.cluster.watch(
                "jobs", tenant.namespace, timeout=JOB_SECONDS, selector="graft.dev/component=training"
            ):
                jobs.append(event)
                return

        watcher = threading.Thread(target=watch_jobs)
        watcher.start()
        begun = time.time()
        tenant.apply(tenant.adapter("topic"))
        watcher.join()
        self.job_seconds = jobs[0].arrived - begun if jobs else JOB_SECONDS
        self.job = str(jobs[0].object["metadata"]["name"]) if jobs else ""
        self.adapter = tenant.wait_for_adapter("topic", self._remembers_until_settled, "settled")
        self.seconds = time.time() - begun

    def _remembers_until_settled(self, adapter: Object) -> bool:
        training = adapter.get("status", {}).get("training")
        if training:
            self.trainings.append(training)
        return settled(adapter)


@pytest.fixture(scope="module")
def life(serving: Serving) -> Life:
    """Follow the adapter topic from its apply to its first answer."""
    return Life(serving)


def test_job_is_created_at_once(life: Life, figures: Figures) -> None:
    figures.note("kubectl apply → training Job", life.job_seconds, "s")
    assert life.job.startswith("topic-train-")
    assert life.job_seconds < 10


def test_training_shows_in_status(life: Life) -> None:
    assert life.trainings[0]["job"] == life.job
    assert {training["recipe"] for training in life.trainings} == {life.adapter["status"]["recipe"]}
    assert life.adapter["status"].get("training") is None


def test_status_is_truthful(life: Life, serving: Serving, figures: Figures) -> None:
    figures.note("base applied → two replicas answer", serving.start_seconds, "s")
    figures.note("adapter applied → answers on two replicas", life.seconds, "s")
    status = life.adapter["status"]
    assert status["servedVersion"] == 1
    assert (status["serving"]["desired"], status["serving"]["loaded"]) == (REPLICAS, REPLICAS)
    assert serving.loaded_versions("topic") == [[1]] * REPLICAS
    for kind in ("Accepted", "Trained", "Evaluated", "Published", "Served", "UpToDate", "Ready"):
        assert condition(life.adapter, kind)["status"] == "True", kind
    for kind in ("Reconciling", "Stalled"):
        assert condition(life.adapter, kind)["status"] == "False", kind


def test_registry_and_status_agree(life: Life, serving: Serving) -> None:
    [manifest] = serving.tenant.versions("topic")
    entry = version_entry(life.adapter, 1)
    assert manifest["recipe"] == entry["recipe"] == life.adapter["status"]["recipe"]
    assert manifest["reason"] == entry["reason"] == "SpecChanged"
    assert manifest["uid"] == life.adapter["metadata"]["uid"]
    assert float(entry["evalLoss"]) < float(entry["baseEvalLoss"])


def test_answers_change_with_the_adapter(life: Life, serving: Serving) -> None:
    assert serving.version_of("topic") == {"topic@v1"}
    assert serving.texts("topic", serving.sample) != serving.base_answers


def test_base_answers_as_without_adapter(life: Life, serving: Serving) -> None:
    assert serving.version_of(BASE) == {f"{BASE}@base"}
    assert serving.texts(BASE, serving.sample) == serving.base_answers


def test_unknown_adapter_is_not_the_base(life: Life, serving: Serving) -> None:
    [answer] = serving.client.ask(serving.url, {"nobody": serving.sample[:1]})["nobody"]
    assert answer.status == 404
    assert "nobody" in answer.text


def test_log_tells_trainable_parameters(life: Life, serving: Serving) -> None:
    log = serving.tenant.cluster.kubectl("logs", "-n", serving.tenant.namespace, f"job/{life.job}", "-c", "trainer")
    found = re.search(r"trainable params: ([\d,]+) \|\| all params: ([\d,]+) \|\| trainable%: ([\d.]+)", log)
    assert found, log[-2000:]
    trainable, total = (int(text.replace(",", "")) for text in found.groups()[:2])
    assert 0 < trainable < total
    assert float(found[3]) == pytest.approx(100 * trainable / total, abs=0.001)


def test_printer_columns(life: Life, serving: Serving) -> None:
    kubectl, scope = serving.tenant.cluster.kubectl, ("-n", serving.tenant.namespace)
    header, line = kubectl("get", "loraadapter", "topic", *scope).splitlines()
    assert header.split()[:5] == ["NAME", "BASE", "VERSION", "READY", "REASON"]
    assert line.split()[:5] == ["topic", BASE, "1", "True", "Serving"]
    header, line = kubectl("get", "basemodel", BASE, *scope).splitlines()
    assert dict(zip(header.split(), line.split(), strict=True))["READY"] == "True"


def test_events_tell_the_story(life: Life, serving: Serving) -> None:
    text = serving.tenant.cluster.kubectl("describe", "loraadapter", "topic", "-n", serving.tenant.namespace)
    events = text.partition("\nEvents:")[2]
    for reason in ("Training", "Published", "VersionServed"):
        assert reason in events, text


def test_applying_again_changes_nothing(life: Life, serving: Serving) -> None:
    tenant = serving.tenant
    before = tenant.read("topic")["metadata"]["resourceVersion"]
    tenant.apply(tenant.adapter("topic"), tenant.base(replicas=REPLICAS))
    changes = [
        event
        for event in tenant.cluster.watch("loraadapters.graft.dev", tenant.namespace, timeout=6)
        if event.type != "ADDED"
    ]
    assert changes == []
    assert tenant.read("topic")["metadata"]["resourceVersion"] == before
    assert tenant.training_jobs("topic") == [life.job]
