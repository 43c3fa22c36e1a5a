"""The Job that looks at an adapter's source: is there new content?"""

from __future__ import annotations

import json
from typing import Any, Final

from graft_operator.api.adapter_source import AdapterSource
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.manifests import labels, naming
from graft_operator.manifests.jobs.adapter_source import (
    adapter_environment,
    adapter_mounts,
    adapter_volumes,
    location_digest,
    location_document,
    pull_secret,
)
from graft_operator.manifests.jobs.exit_codes import exits_with, was_told_to_end
from graft_operator.manifests.jobs.import_job import USER_ERROR_CODES
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
from graft_registry.digests import digest_of

RESOLVE: Final = "resolve"
"""Component of these Jobs, and name of their container."""

RETRIES: Final = 2
"""The source is looked at again before long, so the Job itself gives up soon."""

DEADLINE_SECONDS: Final = 3600
"""A look that takes longer has hung: an adapter is read in seconds, and a node may take a while to get an image."""

SCRATCH_LIMIT: Final = "34Gi"
"""The registry's image writes at most 32 GiB of a source (docs/export.md); a node's disk is not given to more."""


def resolve_job_name(adapter: LoraAdapter, source: AdapterSource) -> str:
    """Return the name of the Job that looks at this source."""
    return naming.resolve_job_name(adapter.metadata.name, location_digest(location_document(source)))


def resolve_job_manifest(adapter: LoraAdapter, source: AdapterSource, platform: Platform) -> dict[str, Any]:
    """Return the Job; its name holds the source's digest, so another source is another Job."""
    metadata = labels.object_meta(
        "LoraAdapter",
        adapter.metadata,
        name=resolve_job_name(adapter, source),
        component=RESOLVE,
        annotations={
            labels.RECIPE: location_digest(location_document(source)),
            labels.POD_SETTINGS: look_settings_digest(adapter, source, platform),
        },
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
                    was_told_to_end(RESOLVE),
                    {"action": "FailJob", "onExitCodes": exits_with(RESOLVE, USER_ERROR_CODES)},
                ]
            },
            "template": {
                "metadata": pod_metadata(metadata, adapter.spec.pod, platform),
                "spec": resolve_pod(adapter, source, platform),
            },
        },
    }


def look_settings_digest(adapter: LoraAdapter, source: AdapterSource, platform: Platform) -> str:
    """Return a digest of what decides whether, where and as whom a look runs, but not what it looks at.

    A Job whose pod waits is made anew when it changes.
    """
    asked = {"pod": adapter.spec.pod.to_wire(), "tenantPods": platform.tenant_pods.changes()}
    return digest_of(asked | {"pullSecret": pull_secret(source)})


def resolve_pod(adapter: LoraAdapter, source: AdapterSource, platform: Platform) -> dict[str, Any]:
    """Return the pod: it has the credentials that an import has, and runs where that may run, but takes no GPU."""
    pod = adapter.spec.pod
    return pod_spec(
        pod,
        platform,
        restartPolicy="Never",
        automountServiceAccountToken=False,
        serviceAccountName=pod.service_account_name,
        volumes=[scratch("tmp", sizeLimit=SCRATCH_LIMIT), *adapter_volumes(source)],
        containers=[
            container(
                RESOLVE,
                platform.registry_image,
                platform,
                args=["resolve-adapter"],
                env=[
                    *registry_env(platform),
                    variable("GRAFT_ADAPTER_SOURCE", json.dumps(location_document(source), sort_keys=True)),
                    *adapter_environment(source),
                    *_found_before(adapter),
                    variable("HF_HOME", "/tmp/hf"),  # noqa: S108 - an emptyDir of the pod
                ],
                envFrom=registry_credentials(platform),
                volumeMounts=adapter_mounts(source),
                resources=resources_of(platform.fetch_resources),
            )
        ],
    )


def _found_before(adapter: LoraAdapter) -> list[dict[str, Any]]:
    """Return what the last look has found, so that an artifact whose tag hasn't moved isn't brought again."""
    known = adapter.status.source
    if known is None or known.digest is None or not known.revision:
        return []
    found = {"digest": known.digest, "revision": known.revision}
    return [variable("GRAFT_ADAPTER_FOUND", json.dumps(found, sort_keys=True))]
