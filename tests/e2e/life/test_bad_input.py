"""What users get wrong stalls at once and names the field, and the adapter beside it goes on."""

from __future__ import annotations

import json

import pytest
from tests.e2e.tenant import SOURCES, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module", autouse=True)
def base(tenant: Tenant) -> None:
    """Resolve a base; what is tested here needs no engine."""
    tenant.apply(tenant.base())
    tenant.wait_resolved()


def test_malformed_row_stalls_and_sibling_goes_on(tenant: Tenant) -> None:
    good = json.dumps({"prompt": "a large striped cat", "completion": "animal"})
    key = f"{SOURCES}/broken.jsonl"
    tenant.bucket.put(key, f"{good}\n{good}\n{{not json\n".encode())
    broken = tenant.adapter("broken", dataset={"s3": {"uri": tenant.bucket.uri(key)}}, serving={"mode": "None"})
    tenant.apply(broken, tenant.adapter("healthy", serving={"mode": "None"}))
    stalled = tenant.wait_stalled("broken")
    assert stalled["reason"] == "BadDataset"
    assert "spec.dataset" in stalled["message"]
    assert "line 3" in stalled["message"]
    assert tenant.versions("broken") == []
    tenant.wait_settled("healthy")


def test_mended_dataset_trains(tenant: Tenant) -> None:
    tenant.apply(tenant.adapter("broken", serving={"mode": "None"}))
    assert tenant.wait_settled("broken")["status"]["versions"][0]["number"] == 1


def test_rank_above_the_base_names_both_fields(tenant: Tenant) -> None:
    tenant.apply(tenant.adapter("greedy", lora={"rank": 64}))
    stalled = tenant.wait_stalled("greedy", timeout=120)
    assert stalled["reason"] == "RankTooHigh"
    assert "spec.lora.rank" in stalled["message"]
    assert "maxRank" in stalled["message"]
    assert tenant.training_jobs("greedy") == []


def test_missing_source_of_a_base_is_named(tenant: Tenant) -> None:
    lost = tenant.base("no-such-base")
    lost["metadata"]["name"] = "lost"
    tenant.apply(lost)
    seen = tenant.cluster.wait_for(
        "basemodels.graft.dev",
        tenant.namespace,
        lambda bases: any(
            entry["type"] == "Stalled" and entry["status"] == "True"
            for entry in bases.get("lost", {}).get("status", {}).get("conditions", [])
        ),
        what="base lost is stalled",
        timeout=120,
    )
    [stalled] = [entry for entry in seen["lost"]["status"]["conditions"] if entry["type"] == "Stalled"]
    assert stalled["reason"] == "SourceNotFound"
    assert "spec.source.s3.uri" in stalled["message"]
