"""The Job that trains one recipe of one adapter, or imports one that was trained elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from graft_operator.api.adapter_source import AdapterSource
from graft_operator.api.adapter_status import WarmStart
from graft_operator.api.base_model import ResolvedBase
from graft_operator.api.evaluation import Evaluation
from graft_operator.api.lora_adapter import LoraAdapter, LoraAdapterSpec
from graft_operator.api.training import LoraParameters, Training
from graft_operator.manifests import labels, naming
from graft_operator.manifests.jobs.adapter_source import (
    adapter_environment,
    adapter_mounts,
    adapter_volumes,
    pull_secret,
)
from graft_operator.manifests.jobs.dataset import dataset_document, dataset_volumes
from graft_operator.manifests.jobs.distributed_job import (
    indexed,
    rendezvous_variables,
    shared_memory,
    shared_memory_mounts,
    subdomain,
    workers_document,
)
from graft_operator.manifests.jobs.exit_codes import failure_rules
from graft_operator.manifests.jobs.trainer_resources import cpus_variable, trainer_resources
from graft_operator.manifests.jobs.warm_start import warm_training
from graft_operator.manifests.platform import Platform
from graft_operator.manifests.pods import (
    BASE_DIR,
    COMPILER_CACHE,
    base_mounts,
    base_volumes,
    container,
    fetch_base_container,
    pod_metadata,
    pod_spec,
    registry_credentials,
    registry_env,
    scratch,
    spread,
    variable,
)
from graft_registry.digests import digest_of

COMPONENT: Final = "training"
RETRIES: Final = 4
GRACE_SECONDS: Final = 120
"""Time for the checkpoint after SIGTERM; spot instances give 30 to 120 s."""
START_SECONDS: Final = 3600
"""Time for image and base to reach a node, which is no training yet."""
RUN_FILE: Final = "run.json"
NOT_THE_TRAINERS: Final = frozenset({"deadlineSeconds", "rankDoubling"})
"""Fields of ``spec.training`` that are for the operator alone."""
ADDED_SETTINGS: Final = frozenset(
    {
        "labels",
        "annotations",
        "env",
        "imagePullSecrets",
        "topologySpreadConstraints",
        "affinity",
        "caBundle",
        "workloadPriorityClassName",
    }
)
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
LOGGING_STEPS: Final = 10
"""As in Transformers' own examples: often enough for a progress line, seldom enough to cost nothing."""


def run_document(
    adapter: LoraAdapter,
    base: ResolvedBase,
    *,
    recipe: str,
    reason: str,
    dataset_digest: str | None,
    evaluation_digest: str | None = None,
    platform: Platform,
    warm_start: WarmStart | None = None,
    adapter_source: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the trainer's configuration (docs/contracts.md §4). ``adapter_source`` asks for an import."""
    spec, metadata = adapter.spec, adapter.metadata
    # A version that preferences are learned on top of is no older self of the same training.
    goes_on = warm_start is not None and spec.training.reference_version is None
    newest = max((version.number for version in adapter.status.versions), default=None)
    return {
        "schema": "graft.dev/run/v1",
        "namespace": metadata.namespace,
        "adapter": metadata.name,
        "uid": metadata.uid,
        "generation": metadata.generation,
        "recipe": recipe,
        "reason": reason,
        "parent": warm_start.number if warm_start else newest,
        "image": platform.trainer_image,
        "registry": dict(platform.registry),
        "base": {"name": spec.base_model_ref.name, "digest": base.digest, "path": BASE_DIR},
        "dataset": dataset_document(spec.dataset, digest=dataset_digest, evaluation_digest=evaluation_digest),
        "method": spec.method,
        "lora": lora_document(spec.lora),
        "promptTuning": spec.prompt_tuning.to_wire(),
        "training": training_document(warm_training(spec.training) if goes_on else spec.training),
        "evaluation": evaluation_document(spec.evaluation),
        "warmStart": {"number": warm_start.number, "manifestDigest": warm_start.digest} if warm_start else None,
        "workers": workers_document(spec.pod),
        "serving": {"mode": spec.serving.mode},
        "adapterSource": adapter_source,
    }


def evaluation_document(evaluation: Evaluation) -> dict[str, Any]:
    """Return what base and version are asked, besides rows."""
    return {"probes": [probe.to_wire() for probe in evaluation.probes], "prompts": list(evaluation.prompts)}


def lora_document(lora: LoraParameters) -> dict[str, Any]:
    """Return the adapter's shape with its defaults applied."""
    return lora.to_wire() | {"alpha": lora.effective_alpha, "alphaPattern": lora.alpha_pattern}


def training_document(training: Training) -> dict[str, Any]:
    """Return the hyperparameters: the user's without what is the operator's, and those that users don't choose."""
    chosen = {name: value for name, value in training.to_wire().items() if name not in NOT_THE_TRAINERS}
    group_size = training.effective_attention_group_size
    return chosen | {"attentionGroupSize": group_size, "loggingSteps": LOGGING_STEPS}


def training_job_manifest(
    adapter: LoraAdapter,
    base: ResolvedBase,
    base_uid: str,
    run: dict[str, Any],
    platform: Platform,
    *,
    lowered_batch: int | None = None,
    readapts: bool = False,
    pod_settings: str | None = None,
) -> dict[str, Any]:
    """Return the training Job. Its spec is immutable, so another recipe is another Job of another name.

    ``lowered_batch`` is the micro-batch of ``run`` where it is below the user's: another Job again, beside the one that
    ran out of memory. ``readapts`` marks a Job that takes one of its base's places for re-adaptation. ``pod_settings``
    is the digest of what the user has asked for, where the adapter's pod is another one.
    """
    name = naming.training_job_name(adapter.metadata.name, run["recipe"], lowered_batch)
    if run["adapterSource"] is not None:
        name = naming.adapter_import_job_name(adapter.metadata.name, run["recipe"])
    metadata = labels.object_meta(
        "LoraAdapter",
        adapter.metadata,
        name=name,
        component=COMPONENT,
        labels=job_labels(adapter, base_uid, run["reason"], readapts=readapts),
        annotations={
            labels.RECIPE: run["recipe"],
            labels.MICRO_BATCH: str(run["training"]["batchSize"]),
            labels.POD_SETTINGS: pod_settings or pod_settings_digest(adapter.spec, platform.tenant_pods.changes()),
        },
    )
    pod = training_pod(adapter, base, run, platform, job_name=metadata["name"])
    return trainer_job(adapter, metadata, run, pod, platform)


def trainer_job(
    adapter: LoraAdapter, metadata: dict[str, Any], run: dict[str, Any], pod: dict[str, Any], platform: Platform
) -> dict[str, Any]:
    """Return the Job of a pod of the trainer, which finds its run in the pod's annotations."""
    annotations = metadata["annotations"] | {labels.RUN: json.dumps(run, sort_keys=True)}
    of_pod = pod_metadata(metadata | {"annotations": annotations}, adapter.spec.pod, platform)
    spec = job_rules(adapter.spec) | {"template": {"metadata": of_pod, "spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def job_rules(spec: LoraAdapterSpec) -> dict[str, Any]:
    """Return when the Job's pods run, how often they are tried again, and when the Job ends."""
    return {
        # From here on the field is Kueue's: it lets the Job run, and may hold it again. Nothing of ours writes it.
        "suspend": spec.pod.queue_name is not None,
        # What makes one pod fail may make all of them fail at once.
        "backoffLimit": RETRIES * spec.pod.workers.nodes,
        **indexed(spec.pod),
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": failure_rules()},
    }


def job_labels(adapter: LoraAdapter, base_uid: str, reason: str, *, readapts: bool) -> dict[str, str]:
    """Return the labels that training Jobs are found by, and that put them into a queue."""
    found_by = {labels.BASE_UID: base_uid, labels.REASON: reason}
    if readapts:
        found_by[labels.READAPTATION] = "true"
    pod = adapter.spec.pod
    queued_by = {labels.KUEUE_QUEUE: pod.queue_name, labels.KUEUE_PRIORITY: pod.workload_priority_class_name}
    return found_by | {label: name for label, name in queued_by.items() if name is not None}


def pod_settings_digest(spec: LoraAdapterSpec, platform_asks: Mapping[str, Any] = NOTHING) -> str:
    """Return a digest of what decides whether, where and how long a Job's pods run, but not what they compute.

    A Job that failed or waits is made anew when it changes: that is how more memory or a higher deadline gets to it,
    and what ``platform_asks`` for all pods. What is unset is left out: a release that adds a field changes nothing.
    """
    pod = {name: value for name, value in spec.pod.to_wire().items() if value or name not in ADDED_SETTINGS}
    del pod["ttlSecondsAfterFinished"]
    settings: dict[str, Any] = {
        **({"tenantPods": platform_asks} if platform_asks else {}),
        "pod": pod,
        "deadlineSeconds": spec.training.deadline_seconds,
    }
    if spec.dataset is not None:
        settings["maxDroppedPercent"] = spec.dataset.max_dropped_percent
    if (name := pull_secret(spec.source)) is not None:
        settings["pullSecret"] = name
    return digest_of(settings)


def training_pod(
    adapter: LoraAdapter, base: ResolvedBase, run: dict[str, Any], platform: Platform, *, job_name: str
) -> dict[str, Any]:
    """Return the trainer's pod: the tenant's own credentials, no API token, no root, a read-only root filesystem."""
    spec = adapter.spec
    return pod_spec(
        spec.pod,
        platform,
        restartPolicy="Never",
        # Counted from the moment when a node has taken the pod. The operator counts all pods of the training together;
        # this is for when it is away.
        activeDeadlineSeconds=spec.training.deadline_seconds + START_SECONDS,
        automountServiceAccountToken=False,
        serviceAccountName=spec.pod.service_account_name,
        topologySpreadConstraints=spread(spec.pod, labels.selector(adapter.metadata, COMPONENT)),
        terminationGracePeriodSeconds=GRACE_SECONDS,
        initContainers=[fetch_base_container(adapter.metadata.namespace, run["base"]["name"], base, platform)],
        containers=[trainer_container(adapter, base, run, platform, job_name=job_name)],
        volumes=[
            *base_volumes(base),
            scratch("tmp"),
            scratch("work"),
            run_volume(),
            *shared_memory(spec.pod),
            *dataset_volumes(spec.dataset),
            *adapter_volumes(imported_source(spec, run)),
        ],
        **subdomain(adapter),
    )


def trainer_container(
    adapter: LoraAdapter, base: ResolvedBase, run: dict[str, Any], platform: Platform, *, job_name: str
) -> dict[str, Any]:
    """Return the container that trains, or imports."""
    spec, imported = adapter.spec, imported_source(adapter.spec, run)
    data = [volume["name"] for volume in dataset_volumes(spec.dataset)]
    return container(
        "trainer",
        platform.trainer_image,
        platform,
        env=[
            *registry_env(platform),
            variable("GRAFT_WORK_DIR", "/work"),
            variable("HF_HUB_OFFLINE", "1"),
            variable("HF_HOME", "/work/hf"),
            COMPILER_CACHE,
            *adapter_environment(imported),
            *cpus_variable(spec.pod.resources),
            *rendezvous_variables(adapter, job_name),
        ],
        envFrom=registry_credentials(platform),
        resources=trainer_resources(spec, base, imports=imported is not None),
        volumeMounts=[
            *base_mounts(base),
            {"name": "work", "mountPath": "/work"},
            {"name": "run", "mountPath": "/etc/graft", "readOnly": True},
            *shared_memory_mounts(spec.pod),
            *({"name": name, "mountPath": f"/{name}", "readOnly": True} for name in data),
            *adapter_mounts(imported),
        ],
    )


def imported_source(spec: LoraAdapterSpec, run: dict[str, Any]) -> AdapterSource | None:
    """Return the source that a run imports from; None for one that trains."""
    return spec.source if run["adapterSource"] is not None else None


def run_volume() -> dict[str, Any]:
    """Return the configuration as a file: an annotation of the pod, so that Job and configuration are one object."""
    field = {"fieldPath": f"metadata.annotations['{labels.RUN}']"}
    return {"name": "run", "downwardAPI": {"items": [{"path": RUN_FILE, "fieldRef": field}]}}
