"""Every kind of object that we make, as it is written: ``tests/data/manifests/<case>`` holds what is asked for
(``input.yaml``) and what becomes of it (``output.yaml``).

``GRAFT_UPDATE_GOLDEN=1`` writes the outputs anew; the difference is then for a person to read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.builders import PLATFORM, digest

from graft_operator.api.adapter_status import ServedVersion, WarmStart
from graft_operator.api.base_model import BaseModel
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.manifests.jobs.concurrency_job import concurrency_job_manifest
from graft_operator.manifests.jobs.distributed_job import rendezvous_services
from graft_operator.manifests.jobs.import_job import import_job_manifest
from graft_operator.manifests.jobs.resolve_job import resolve_job_manifest
from graft_operator.manifests.platform import NetworkAccess, Platform
from graft_operator.manifests.tenant_pods import TenantPods
from graft_operator.manifests.workloads.access import access_manifests
from graft_operator.manifests.workloads.inference_pool import inference_pool
from graft_operator.manifests.workloads.merged_model import merged_model_manifests
from graft_operator.manifests.workloads.serving import base_network_policy, revision_manifests, shared_service
from graft_operator.plan.preparation.due import preparation_to_create
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.job import adapter_as_trained, job_to_create

CASES = Path("tests/data/manifests")
HEADER = "# Written by tests/unit/manifests/test_golden.py with GRAFT_UPDATE_GOLDEN=1 from input.yaml beside it.\n"

OPEN = NetworkAccess(operator_namespace="graft-system")
RESTRICTED = NetworkAccess(
    operator_namespace="graft-system", client_namespaces=("web",), monitoring_namespaces=("monitoring",)
)

ASKING = replace(
    PLATFORM,
    tenant_pods=TenantPods.model_validate(
        {
            "labels": {"cost-centre": "42", "team": "unknown"},
            "annotations": {"sidecar.istio.io/nativeSidecar": "true"},
            "env": {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".svc,$(KUBERNETES_SERVICE_HOST)"},
            "imagePullSecrets": [{"name": "pull"}],
            "priorityClassName": "tenants",
            "userIds": {},
            "caBundle": {"name": "certificates", "key": "ca-bundle.crt"},
        }
    ),
)
"""A platform team that asks for all that it can, and leaves user ids to the cluster."""

Documents = dict[str, Any]
"""What is asked for: objects by their kind, and under ``Also`` what the operator has found out besides."""


def training(given: Documents, platform: Platform = PLATFORM) -> list[dict[str, Any]]:
    adapter, base = LoraAdapter.model_validate(given["LoraAdapter"]), BaseModel.model_validate(given["BaseModel"])
    also = given["Also"]
    start = WarmStart.model_validate(also["warmStart"]) if "warmStart" in also else None
    seen = AdapterSnapshot(
        adapter=adapter, base=base, recipe=also["recipe"], warm_start=start, dataset_digest=also.get("datasetDigest")
    )
    return [*rendezvous_services(adapter_as_trained(seen)), job_to_create(seen, platform)]


def preparation(given: Documents, platform: Platform = PLATFORM) -> list[dict[str, Any]]:
    adapter, base = LoraAdapter.model_validate(given["LoraAdapter"]), BaseModel.model_validate(given["BaseModel"])
    also = given["Also"]
    seen = AdapterSnapshot(adapter=adapter, base=base, recipe=also["recipe"], dataset_digest=also.get("datasetDigest"))
    return [preparation_to_create(seen, platform)]


def resolve(given: Documents, platform: Platform = PLATFORM) -> list[dict[str, Any]]:
    adapter = LoraAdapter.model_validate(given["LoraAdapter"])
    assert adapter.spec.source is not None
    return [resolve_job_manifest(adapter, adapter.spec.source, platform)]


def import_of_a_base(given: Documents, platform: Platform = PLATFORM) -> list[dict[str, Any]]:
    return [import_job_manifest(BaseModel.model_validate(given["BaseModel"]), digest("the source"), platform)]


def serving(given: Documents, platform: Platform = PLATFORM) -> list[dict[str, Any]]:
    base = BaseModel.model_validate(given["BaseModel"])
    [revision] = base.status.serving
    return [
        *access_manifests(base, [revision.deployment]),
        shared_service(base),
        *revision_manifests(base, revision, given["Also"]["wanted"], platform),
    ]


def network_policies(given: Documents) -> list[dict[str, Any]]:
    adapter, base = LoraAdapter.model_validate(given["LoraAdapter"]), BaseModel.model_validate(given["BaseModel"])
    made = [base_network_policy(base, access) for access in (OPEN, RESTRICTED)]
    version = ServedVersion.model_validate(given["Also"]["version"])
    merged = merged_model_manifests(adapter, base, version, replace(PLATFORM, network_access=RESTRICTED))
    return [*made, *(item for item in merged if item["kind"] == "NetworkPolicy")]


def merged_model(given: Documents) -> list[dict[str, Any]]:
    adapter, base = LoraAdapter.model_validate(given["LoraAdapter"]), BaseModel.model_validate(given["BaseModel"])
    return merged_model_manifests(adapter, base, ServedVersion.model_validate(given["Also"]["version"]), PLATFORM)


def gateway(given: Documents) -> list[dict[str, Any]]:
    base = BaseModel.model_validate(given["BaseModel"])
    assert base.spec.serving.gateway is not None
    return [inference_pool(base, base.spec.serving.gateway)]


def concurrency_test(given: Documents) -> list[dict[str, Any]]:
    base = BaseModel.model_validate(given["BaseModel"])
    return [concurrency_job_manifest(base, digest("what is tested"), given["Also"]["adapters"], PLATFORM)]


BUILDERS: dict[str, Callable[[Documents], list[dict[str, Any]]]] = {
    "adapter-import": training,
    "adapter-import-from-claim": training,
    "adapter-resolve": resolve,
    "adapter-resolve-with-login": resolve,
    "concurrency-test": concurrency_test,
    "gateway": gateway,
    "import": import_of_a_base,
    "import-from-claim": import_of_a_base,
    "import-from-image": import_of_a_base,
    "import-pod-settings": partial(import_of_a_base, platform=ASKING),
    "merged-model": merged_model,
    "network-policies": network_policies,
    "preparation": preparation,
    "preparation-pod-settings": partial(preparation, platform=ASKING),
    "serving": serving,
    "serving-pod-settings": partial(serving, platform=ASKING),
    "training": training,
    "training-distributed": training,
    "training-pod-settings": partial(training, platform=ASKING),
    "training-warm-start": training,
}


class _PlainDumper(yaml.SafeDumper):
    """A dumper without anchors: every object stands for itself."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def written(objects: list[dict[str, Any]]) -> str:
    """Return the objects as a person reads them, in the order in which they are applied."""
    return HEADER + yaml.dump_all(objects, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=120)


def asked_for(case: str) -> Documents:
    documents = yaml.safe_load_all((CASES / case / "input.yaml").read_text())
    return {document["kind"]: document for document in documents}


@pytest.mark.parametrize("case", BUILDERS)
def test_what_is_written(case: str) -> None:
    output, made = CASES / case / "output.yaml", written(BUILDERS[case](asked_for(case)))
    if os.environ.get("GRAFT_UPDATE_GOLDEN"):
        output.write_text(made)
    assert output.read_text() == made, "read the difference; GRAFT_UPDATE_GOLDEN=1 takes it over"


def test_every_case_is_built() -> None:
    assert {path.name for path in CASES.iterdir()} == set(BUILDERS)


TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
PEER_TOKEN_PATH = "/var/run/secrets/graft.dev/peers"


@pytest.mark.parametrize("case", BUILDERS)
def test_only_an_agent_that_needs_tokens_has_any(case: str) -> None:
    for made in BUILDERS[case](asked_for(case)):
        spec = made.get("spec", {}).get("template", {}).get("spec")
        if spec is None:
            continue
        assert spec["automountServiceAccountToken"] is False
        tokens = {volume["name"] for volume in spec["volumes"] if "serviceAccountToken" in str(volume)}
        containers = [*spec.get("initContainers", ()), *spec["containers"]]
        mounted = {
            (container["name"], mount["mountPath"])
            for container in containers
            for mount in container["volumeMounts"]
            if mount["name"] in tokens or mount["mountPath"].startswith(TOKEN_PATH)
        }
        assert mounted == ({("agent", TOKEN_PATH), ("agent", PEER_TOKEN_PATH)} if case.startswith("serving") else set())
