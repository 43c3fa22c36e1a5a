"""Rows that are prepared by a Job of their own: before the training's, for it, and once."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from demo.cluster import Event, Object, condition
from tests.e2e.figures import Figures
from tests.e2e.tenant import Tenant

from graft_registry.digests import sha256_digest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

PREPARATION = {"mode": "Always", "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}}}
"""As for a training that asks for a GPU, which no node here has."""
WORTH_KEEPING = 17 << 20
"""Bytes of rows that are kept in the registry once they are prepared."""


@pytest.fixture
def rows(tenant: Tenant, models: Path) -> tuple[str, str]:
    """Return the URI and the digest of rows in the bucket, most of which is a key that nothing is made of."""
    lines = (models / "data" / "topic.small.jsonl").read_text(encoding="utf-8").splitlines()
    notes = "x" * (WORTH_KEEPING // len(lines))
    content = "\n".join(json.dumps(json.loads(line) | {"notes": notes}) for line in lines).encode()
    key = f"{tenant.namespace}/e2e-rows/large.jsonl"
    tenant.bucket.put(key, content)
    return tenant.bucket.uri(key), sha256_digest(content)


def prepared_first(tenant: Tenant, rows: tuple[str, str], **spec: Any) -> Object:
    dataset = {"s3": {"uri": rows[0], "digest": rows[1]}}
    defaults: dict[str, Any] = {"dataset": dataset, "preparation": PREPARATION, "serving": {"mode": "None"}}
    return tenant.adapter("topic", **defaults | spec)


def jobs(tenant: Tenant, component: str) -> list[Object]:
    return tenant.cluster.list("job", tenant.namespace, f"graft.dev/component={component}")


def is_preparing(adapter: Object) -> bool:
    return condition(adapter, "Trained").get("reason") == "Preparing"


def test_rows_are_prepared_once_before_the_training_asks_for_anything(
    tenant: Tenant, rows: tuple[str, str], figures: Figures
) -> None:
    begun: list[Event] = []

    def watch_jobs() -> None:
        for event in tenant.cluster.watch("jobs", tenant.namespace, timeout=300.0):
            if event.object["metadata"]["labels"]["graft.dev/component"] in ("preparation", "training"):
                begun.append(event)
            if event.object["metadata"]["labels"]["graft.dev/component"] == "training":
                return

    tenant.apply(tenant.base())
    tenant.wait_resolved()
    watcher = threading.Thread(target=watch_jobs)
    watcher.start()
    tenant.apply(prepared_first(tenant, rows))
    tenant.wait_for_adapter("topic", is_preparing, "preparing its rows", 120)
    [first] = tenant.cluster.wait_for(
        "pod", tenant.namespace, bool, what="a pod", timeout=60, selector="graft.dev/component=preparation"
    ).values()
    assert "nvidia.com/gpu" not in json.dumps(first["spec"])
    # Whoever evicts it costs time, and no more.
    tenant.cluster.delete("pod", first["metadata"]["name"], tenant.namespace, "--wait=false")
    tenant.wait_settled("topic")
    watcher.join()

    done = [event for event in begun[:-1] if condition(event.object, "Complete").get("status") == "True"]
    assert done, "the training Job came after the rows were prepared"
    figures.note("rows prepared → training Job", begun[-1].arrived - done[0].arrived, "s")
    kept = [key for key in tenant.stored("topic") if "/rows/" in key]
    assert sum(key.endswith("/manifest.json") for key in kept) == 1
    [version] = tenant.versions("topic")
    assert version["dataset"]["digest"] == rows[1]
    assert tenant.read("topic")["status"]["preparedRows"].startswith("sha256:")

    # The same rows for another training: there is nothing left to prepare.
    tenant.apply(prepared_first(tenant, rows, lora={"rank": 4, "targetModules": ["all-linear"]}))
    tenant.wait_settled("topic")
    assert len(tenant.versions("topic")) == 2
    assert jobs(tenant, "preparation") == [], "that of the first recipe has gone, and there is no other"
    assert [key for key in tenant.stored("topic") if "/rows/" in key] == kept


def test_bad_rows_are_told_before_a_training_is_made(tenant: Tenant) -> None:
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "bad-rows", "namespace": tenant.namespace},
        "data": {"train.jsonl": '{"prompt": "why?", "completion": "so"}\n' + '{"prompt": 1}\n' * 9},
    }
    dataset = {"configMap": {"name": "bad-rows", "key": "train.jsonl"}}
    tenant.apply(tenant.base(), config_map)
    tenant.apply(tenant.adapter("bad", dataset=dataset, preparation=PREPARATION, serving={"mode": "None"}))
    stalled = tenant.wait_stalled("bad")
    assert stalled["reason"] == "BadDataset", stalled
    assert tenant.training_jobs("bad") == []
    assert [job["metadata"]["name"][: len("bad-prepare")] for job in jobs(tenant, "preparation")] == ["bad-prepare"]
