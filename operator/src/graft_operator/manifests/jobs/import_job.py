"""The Job that resolves a base's source to an immutable revision and puts it into the registry."""

from __future__ import annotations

import json
from typing import Any, Final

from graft_operator.api.base_model import BaseModel
from graft_operator.api.base_source import BaseSource
from graft_operator.manifests import labels, naming
from graft_operator.manifests.jobs.exit_codes import exits_with, was_told_to_end
from graft_operator.manifests.platform import Platform
from graft_operator.manifests.pods import (
    CLAIM_DIR,
    container,
    pod_metadata,
    pod_spec,
    registry_credentials,
    registry_env,
    resources_of,
    scratch,
    spread,
    variable,
)
from graft_registry.digests import digest_of

COMPONENT: Final = "import"

IMAGE_DIR: Final = "/image"
"""Where an image with the base's files is mounted."""

USER_ERROR_CODES: Final = [64, 65, 77]
"""Exit codes of the import that trying again can't mend (see graft_registry.__main__)."""

RETRIES = 2
"""The operator tries again after a rest, so the Job itself gives up soon."""


def import_job_manifest(base: BaseModel, source_digest: str, platform: Platform) -> dict[str, Any]:
    """Return the import Job; its name holds the source's digest, so a changed source is another Job."""
    name = naming.import_job_name(base.metadata.name, source_digest)
    metadata = labels.object_meta(
        "BaseModel",
        base.metadata,
        name=name,
        component=COMPONENT,
        annotations={labels.RECIPE: source_digest, labels.POD_SETTINGS: import_settings_digest(base, platform)},
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": RETRIES,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
                    was_told_to_end("import"),
                    {"action": "FailJob", "onExitCodes": exits_with("import", USER_ERROR_CODES)},
                ]
            },
            "template": {
                "metadata": pod_metadata(metadata, base.spec.import_pod, platform),
                "spec": import_pod(base, platform),
            },
        },
    }


def import_settings_digest(base: BaseModel, platform: Platform) -> str:
    """Return a digest of what decides whether, where and as whom an import runs, but not what it brings.

    A Job that failed or waits is made anew when it changes.
    """
    return digest_of({"pod": base.spec.import_pod.to_wire(), "tenantPods": platform.tenant_pods.changes()})


def import_pod(base: BaseModel, platform: Platform) -> dict[str, Any]:
    """Return the pod of the import Job: the user's credentials are mounted here and nowhere else."""
    settings, mounted = base.spec.import_pod, source_volumes(base.spec.source)
    mounts: list[dict[str, Any]] = [{"name": "work", "mountPath": "/work"}]
    mounts += [{"name": volume["name"], "mountPath": f"/{volume['name']}", "readOnly": True} for volume in mounted]
    return pod_spec(
        settings,
        platform,
        restartPolicy="Never",
        automountServiceAccountToken=False,
        serviceAccountName=settings.service_account_name,
        topologySpreadConstraints=spread(settings, labels.selector(base.metadata, COMPONENT)),
        volumes=[scratch("tmp"), scratch("work"), *mounted],
        containers=[
            container(
                "import",
                platform.registry_image,
                platform,
                args=["import-base", "--workspace=/work"],
                env=[
                    *registry_env(platform),
                    variable("GRAFT_BASE_IMPORT", json.dumps(import_request(base), sort_keys=True)),
                    variable("HF_HOME", "/work/hf"),
                ],
                envFrom=[*registry_credentials(platform), *source_credentials(base)],
                volumeMounts=mounts,
                resources=import_resources(base, platform),
            )
        ],
    )


def source_volumes(source: BaseSource) -> list[dict[str, Any]]:
    """Return the volume of a source that the platform mounts, named as the folder that it is mounted at."""
    if source.persistent_volume_claim is not None:
        claim = {"claimName": source.persistent_volume_claim.claim_name, "readOnly": True}
        return [{"name": CLAIM_DIR.strip("/"), "persistentVolumeClaim": claim}]
    if source.image is not None:
        # A tag is read once: what a node has kept of it may be what it was long ago.
        policy = "IfNotPresent" if "@" in source.image.reference else "Always"
        image = {"reference": source.image.reference, "pullPolicy": policy}
        return [{"name": IMAGE_DIR.strip("/"), "image": image}]
    return []


def import_request(base: BaseModel) -> dict[str, Any]:
    """Return what the import is asked for (docs/contracts.md §2)."""
    claim, image = base.spec.source.persistent_volume_claim, base.spec.source.image
    request: dict[str, Any] = {
        "namespace": base.metadata.namespace,
        "name": base.metadata.name,
        "source": base.spec.source.to_wire(),
    }
    if claim is not None:
        request["path"] = f"{CLAIM_DIR}/{claim.path}"
    if image is not None:
        request["path"] = f"{IMAGE_DIR}/{image.path}" if image.path else IMAGE_DIR
    return request | previous_base(base)


def import_resources(base: BaseModel, platform: Platform) -> dict[str, Any]:
    """Return the resources of the import's container: the user's, or else the platform's."""
    chosen = base.spec.import_pod.resources
    is_chosen = bool(chosen.requests or chosen.limits)
    return chosen.to_wire() if is_chosen else resources_of(platform.import_resources)


def previous_base(base: BaseModel) -> dict[str, Any]:
    """Return which base the drift is measured from: the one that is resolved now, if there is one.

    The files of a base that was left in another claim are not to be had: mounting a claim that may be gone by now would
    keep the pod from ever starting.
    """
    resolved, claim = base.status.resolved, base.spec.source.persistent_volume_claim
    if resolved is None:
        return {}
    same_claim = claim is not None and resolved.claim_name == claim.claim_name
    return {
        "previousDigest": resolved.digest,
        "previousPath": f"{CLAIM_DIR}/{resolved.claim_path}" if same_claim else None,
    }


def source_credentials(base: BaseModel) -> list[dict[str, Any]]:
    """Return the Secret that the user named for the source; its keys get a prefix so that both can be there."""
    reference = base.spec.credentials_secret_ref
    if reference is None:
        return []
    return [{"prefix": "SOURCE_", "secretRef": {"name": reference.name}}]
