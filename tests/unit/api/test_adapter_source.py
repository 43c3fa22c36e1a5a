"""Where an adapter comes from: what is understood, and what is refused with words that help."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from tests.builders import adapter, digest

from graft_operator.api.adapter_source import AdapterSource
from graft_operator.manifests.jobs.adapter_source import location_digest, location_document

S3 = {"s3": {"uri": "s3://models/adapters/support/"}}

LOCATIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a folder of a bucket": (S3, S3),
    "a bucket": ({"s3": {"uri": "s3://models"}}, {"s3": {"uri": "s3://models"}}),
    "a folder of a claim": (
        {"persistentVolumeClaim": {"claimName": "models", "path": "a/b"}},
        {"directory": {"path": "/adapter/a/b", "uri": "persistentVolumeClaim:models/a/b"}},
    ),
    "the root of a claim": (
        {"persistentVolumeClaim": {"claimName": "models"}},
        {"directory": {"path": "/adapter", "uri": "persistentVolumeClaim:models/"}},
    ),
    "a repository": (
        {"huggingFace": {"repo": "predibase/customer_support"}},
        {"huggingFace": {"repo": "predibase/customer_support", "revision": "main", "path": ""}},
    ),
    "a folder of a repository on a mirror": (
        {"huggingFace": {"repo": "a/b", "revision": "refs/pr/3", "path": "x", "endpoint": "http://hub.lan:8080"}},
        {"huggingFace": {"repo": "a/b", "revision": "refs/pr/3", "path": "x", "endpoint": "http://hub.lan:8080"}},
    ),
    "an artefact": ({"oci": {"image": "ghcr.io/team/a:v1"}}, {"oci": {"image": "ghcr.io/team/a:v1"}}),
    "an artefact behind a login, which is nobody's matter but the pod's": (
        {"oci": {"image": "ghcr.io/team/a:v1", "pullSecretRef": {"name": "pull"}}},
        {"oci": {"image": "ghcr.io/team/a:v1"}},
    ),
}


@pytest.mark.parametrize("case", LOCATIONS)
def test_the_pod_is_told_where_the_adapter_is(case: str) -> None:
    given, document = LOCATIONS[case]
    assert location_document(AdapterSource.model_validate(given)) == document


@pytest.mark.parametrize(
    "image",
    [
        "registry.example.com/adapters/support:v3",
        "ghcr.io/org/lora",
        "localhost:5000/support:latest",
        "registry:5000/support@sha256:" + "a" * 64,
        "harbor.lan/ai/team__a/support-lora.v2:2026-01-01@sha256:" + "0" * 64,
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com/models/support:v1",
    ],
)
def test_references_of_registries_are_understood(image: str) -> None:
    assert AdapterSource.model_validate({"oci": {"image": image}}).oci


@pytest.mark.parametrize(
    "image", ["support", "team/support:v1", "oci://ghcr.io/a/b:v1", "ghcr.io/a/B:v1", "ghcr.io/a/b:", "ghcr.io/a/b@v1"]
)
def test_what_names_no_registry_is_refused(image: str) -> None:
    with pytest.raises(ValidationError, match="image"):
        AdapterSource.model_validate({"oci": {"image": image}})


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [("1m", 60), ("90m", 5400), ("1h", 3600), ("1h30m", 5400), ("24h", 86400), ("9999h", 35_996_400), (None, None)],
)
def test_intervals_are_hours_and_minutes(interval: str | None, seconds: float | None) -> None:
    assert AdapterSource.model_validate(S3 | {"interval": interval}).interval_seconds == seconds


@pytest.mark.parametrize("interval", ["0m", "30s", "1d", "1.5h", "PT1H", "3600", "1h0m", "m", "", " 1h", "-1h"])
def test_other_intervals_are_refused(interval: str) -> None:
    with pytest.raises(ValidationError, match="interval"):
        AdapterSource.model_validate(S3 | {"interval": interval})


def test_there_is_a_source_or_a_dataset() -> None:
    with pytest.raises(ValidationError, match="at least one of source and dataset must be set; give"):
        adapter(dataset=None)
    assert adapter(dataset=None, source=S3).spec.is_only_imported
    assert not adapter(source=S3).spec.is_only_imported


@pytest.mark.parametrize(
    "spec",
    [
        {"method": "PromptTuning"},
        {"method": "DoRA"},
        {"method": "EVA", "lora": {"rankPattern": {"q_proj": 8}}},
        {"training": {"objective": "DPO"}, "evaluation": {"maxPerplexity": "9"}},
        {"method": "PiSSA", "training": {"objective": "DPO", "preference": {"referenceVersion": 1}}},
    ],
    ids=str,
)
def test_what_only_a_training_needs_is_no_matter_of_an_import(spec: dict[str, Any]) -> None:
    assert adapter(dataset=None, source=S3, **spec).spec.is_only_imported
    with pytest.raises(ValidationError):
        adapter(source=S3, **spec)


def test_content_that_may_not_change_is_not_looked_at_again() -> None:
    with pytest.raises(ValidationError, match="interval must be empty with digest"):
        AdapterSource.model_validate(S3 | {"digest": digest("content"), "interval": "1h"})


def test_a_location_is_known_again_by_any_writer() -> None:
    short = {"huggingFace": {"repo": "a/b", "revision": "main", "path": ""}}
    long = {"s3": None, "huggingFace": {"endpoint": None, "path": "", "revision": "main", "repo": "a/b"}}
    assert location_digest(short) == location_digest(long)
    assert location_digest(short) != location_digest({"huggingFace": {"repo": "a/b", "revision": "v1"}})


def test_prompts_and_probes_share_the_room_of_an_annotation() -> None:
    probes = [{"prompt": "p" * 4096, "expected": "e" * 1000}] * 3
    with pytest.raises(ValidationError, match="prompts and probes must hold at most 16384 characters"):
        adapter(evaluation={"probes": probes, "prompts": ["q" * 2000]})
    assert adapter(evaluation={"probes": probes, "prompts": ["q" * 1000]}).spec.evaluation.prompts
