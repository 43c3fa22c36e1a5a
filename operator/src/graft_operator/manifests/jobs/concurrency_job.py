"""The Job that asks a base and all its adapters at once."""

from __future__ import annotations

import json
from typing import Any, Final

from graft_operator.api.base_model import BaseModel
from graft_operator.api.pods import Placement, PodSettings
from graft_operator.manifests import labels, naming
from graft_operator.manifests.platform import Platform
from graft_operator.manifests.pods import (
    container,
    pod_metadata,
    pod_spec,
    registry_credentials,
    registry_env,
    resources_of,
    scratch,
    variable,
)
from graft_operator.manifests.workloads.agent import api_key_environment, api_key_mounts, api_key_volumes

COMPONENT: Final = "concurrency-test"
DEADLINE_SECONDS: Final = 3600


def concurrency_job_manifest(base: BaseModel, digest: str, adapters: list[str], platform: Platform) -> dict[str, Any]:
    """Return the Job; its name holds the digest of what is tested."""
    name = naming.concurrency_job_name(base.metadata.name, digest)
    metadata = labels.object_meta(
        "BaseModel", base.metadata, name=name, component=COMPONENT, annotations={labels.RECIPE: digest}
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": 1,
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "template": {
                "metadata": pod_metadata(metadata, client_settings(base), platform),
                "spec": concurrency_pod(base, digest, adapters, platform),
            },
        },
    }


def client_settings(base: BaseModel) -> PodSettings:
    """Return the settings of the serving pods, but for where they run: a client needs no GPU."""
    serving = base.spec.serving
    return PodSettings(
        **{name: getattr(serving, name) for name in PodSettings.model_fields.keys() - Placement.model_fields}
    )


def concurrency_pod(base: BaseModel, digest: str, adapters: list[str], platform: Platform) -> dict[str, Any]:
    """Return the pod: a client like any other, with the API key that clients need."""
    test = base.spec.serving.concurrency_test
    request = {
        "namespace": base.metadata.namespace,
        "base": base.metadata.name,
        "url": naming.service_url(base.metadata.namespace, base.metadata.name),
        "adapters": adapters,
        "digest": digest,
        **(test.to_wire() if test else {}),
    }
    return pod_spec(
        client_settings(base),
        platform,
        restartPolicy="Never",
        automountServiceAccountToken=False,
        volumes=[scratch("tmp"), *api_key_volumes(base)],
        containers=[
            container(
                "test",
                platform.agent_image,
                platform,
                command=["python3", "-m", "graft_serving.concurrency"],
                env=[
                    *registry_env(platform),
                    variable("GRAFT_CONCURRENCY_TEST", json.dumps(request, sort_keys=True)),
                    *api_key_environment(base),
                ],
                envFrom=registry_credentials(platform),
                volumeMounts=api_key_mounts(base),
                resources=resources_of(platform.test_resources),
            )
        ],
    )
