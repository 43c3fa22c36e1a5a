"""The Job that trains one recipe of one adapter."""

from __future__ import annotations

import json
from typing import Any, Final

from graft_operator.api.base_model import ResolvedBase
from graft_operator.api.dataset import DatasetSource
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.api.training import Training
from graft_operator.manifests import labels, naming
from graft_operator.manifests.platform import Platform
from graft_operator.manifests.pods import (
    BASE_DIR,
    base_mounts,
    base_volumes,
    container,
    fetch_base_container,
    pod_spec,
    registry_credentials,
    registry_env,
    scratch,
    variable,
)

USER_ERROR_CODES: Final = [64, 65, 66, 67]
PREEMPTED_CODE: Final = 143
RETRIES: Final = 4
GRACE_SECONDS: Final = 120
"""Time for the checkpoint after SIGTERM; spot instances give 30 to 120 s."""
RUN_FILE: Final = "run.json"
LOGGING_STEPS: Final = 10
"""As in Transformers' own examples: often enough for a progress line, seldom enough to cost nothing."""


def run_document(
    adapter: LoraAdapter,
    base: ResolvedBase,
    *,
    recipe: str,
    reason: str,
    dataset_digest: str | None,
    platform: Platform,
) -> dict[str, Any]:
    """Return the trainer's configuration (docs/contracts.md §4)."""
    spec, metadata = adapter.spec, adapter.metadata
    newest = max((version.number for version in adapter.status.versions), default=None)
    return {
        "schema": "graft.dev/run/v1",
        "namespace": metadata.namespace,
        "adapter": metadata.name,
        "uid": metadata.uid,
        "generation": metadata.generation,
        "recipe": recipe,
        "reason": reason,
        "parent": newest,
        "image": platform.trainer_image,
        "registry": dict(platform.registry),
        "base": {"name": spec.base_model_ref.name, "digest": base.digest, "path": BASE_DIR},
        "dataset": {
            "source": source_document(spec.dataset, "/data"),
            "format": spec.dataset.format,
            "digest": dataset_digest,
            "evaluation": {
                "splitPercent": spec.dataset.evaluation_percent,
                "source": source_document(spec.dataset.evaluation, "/eval-data") if spec.dataset.evaluation else None,
            },
        },
        "method": spec.method,
        "lora": spec.lora.to_wire() | {"alpha": spec.lora.effective_alpha},
        "training": training_document(spec.training),
        "evaluation": {"probes": [probe.to_wire() for probe in spec.evaluation.probes]},
    }


def training_document(training: Training) -> dict[str, Any]:
    """Return the hyperparameters: the user's without the Job's deadline, and those that we don't let users choose."""
    chosen = {name: value for name, value in training.to_wire().items() if name != "deadlineSeconds"}
    return chosen | {"packing": False, "loggingSteps": LOGGING_STEPS, "gradientCheckpointing": False}


def source_document(source: DatasetSource, directory: str) -> dict[str, Any]:
    """Return where the trainer finds the rows: in S3, or in a file that the pod mounts below ``directory``."""
    if source.s3 is not None:
        return {"s3": {"uri": source.s3.uri}}
    if source.config_map is not None:
        name, key = source.config_map.name, source.config_map.key
        return {"file": {"path": f"{directory}/{key}", "uri": f"configMap:{name}/{key}"}}
    claim = source.persistent_volume_claim
    if claim is None:
        raise ValueError("a dataset source names one of s3, configMap and persistentVolumeClaim")
    return {
        "file": {"path": f"{directory}/{claim.path}", "uri": f"persistentVolumeClaim:{claim.claim_name}/{claim.path}"}
    }


def source_volume(source: DatasetSource | None, name: str) -> list[dict[str, Any]]:
    """Return the volume of a source that is mounted; none for one in S3."""
    if source is None or source.s3 is not None:
        return []
    if source.config_map is not None:
        return [{"name": name, "configMap": {"name": source.config_map.name}}]
    claim = source.persistent_volume_claim
    return [{"name": name, "persistentVolumeClaim": {"claimName": claim.claim_name, "readOnly": True}}] if claim else []


def training_job_manifest(
    adapter: LoraAdapter,
    base: ResolvedBase,
    base_uid: str,
    run: dict[str, Any],
    platform: Platform,
) -> dict[str, Any]:
    """Return the training Job. Its spec is immutable, so another recipe is another Job of another name."""
    name = naming.training_job_name(adapter.metadata.name, run["recipe"])
    metadata = labels.object_meta(
        "LoraAdapter",
        adapter.metadata,
        name=name,
        component="training",
        labels={labels.BASE_UID: base_uid, labels.REASON: run["reason"]},
        annotations={labels.RECIPE: run["recipe"]},
    )
    annotations = metadata["annotations"] | {labels.RUN: json.dumps(run, sort_keys=True)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": adapter.spec.training.deadline_seconds,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": failure_rules()},
            "template": {
                "metadata": {"labels": metadata["labels"], "annotations": annotations},
                "spec": training_pod(adapter, base, run, platform),
            },
        },
    }


def failure_rules() -> list[dict[str, Any]]:
    """Return how pod failures count: the first rule that matches wins, so a preemption never looks like an error."""
    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
        {
            "action": "Ignore",
            "onExitCodes": {"containerName": "trainer", "operator": "In", "values": [PREEMPTED_CODE]},
        },
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": "trainer", "operator": "In", "values": USER_ERROR_CODES},
        },
    ]


def training_pod(adapter: LoraAdapter, base: ResolvedBase, run: dict[str, Any], platform: Platform) -> dict[str, Any]:
    """Return the trainer's pod: the tenant's own credentials, no API token, no root, a read-only root filesystem."""
    spec = adapter.spec
    data = [*source_volume(spec.dataset, "data"), *source_volume(spec.dataset.evaluation, "eval-data")]
    trainer = container(
        "trainer",
        platform.trainer_image,
        platform,
        env=[
            *registry_env(platform),
            variable("GRAFT_WORK_DIR", "/work"),
            variable("HF_HUB_OFFLINE", "1"),
            variable("HF_HOME", "/work/hf"),
        ],
        envFrom=registry_credentials(platform),
        resources=spec.pod.resources.to_wire(),
        volumeMounts=[
            *base_mounts(base),
            {"name": "work", "mountPath": "/work"},
            {"name": "run", "mountPath": "/etc/graft", "readOnly": True},
            *({"name": volume["name"], "mountPath": f"/{volume['name']}", "readOnly": True} for volume in data),
        ],
    )
    return pod_spec(
        spec.pod,
        restartPolicy="Never",
        automountServiceAccountToken=False,
        serviceAccountName=spec.pod.service_account_name,
        terminationGracePeriodSeconds=GRACE_SECONDS,
        initContainers=[fetch_base_container(adapter.metadata.namespace, run["base"]["name"], base, platform)],
        containers=[trainer],
        volumes=[*base_volumes(base), scratch("tmp"), scratch("work"), run_volume(), *data],
    )


def run_volume() -> dict[str, Any]:
    """Return the configuration as a file: an annotation of the pod, so that Job and configuration are one object."""
    field = {"fieldPath": f"metadata.annotations['{labels.RUN}']"}
    return {"name": "run", "downwardAPI": {"items": [{"path": RUN_FILE, "fieldRef": field}]}}
