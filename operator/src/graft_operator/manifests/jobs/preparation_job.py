"""The Job that prepares the rows of a training before a GPU is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from graft_operator.api.base_model import ResolvedBase
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.api.training import Workers
from graft_operator.manifests import labels, naming
from graft_operator.manifests.jobs.training_job import (
    NOTHING,
    job_labels,
    pod_settings_digest,
    trainer_job,
    training_pod,
)
from graft_operator.manifests.platform import Platform
from graft_operator.manifests.pods import fetch_base_container, fitted

COMPONENT: Final = "preparation"
TASK: Final = "prepare"
"""Argument of the trainer's program."""

KIND_OF_MACHINE: Final = frozenset({"kubernetes.io/arch", "kubernetes.io/os"})
"""Labels of nodes that say what programs they run, and not that they have GPUs: an image is built for one kind."""


def preparation_job_manifest(
    adapter: LoraAdapter,
    base: ResolvedBase,
    base_uid: str,
    run: dict[str, Any],
    platform: Platform,
    *,
    rows: str,
    readapts: bool = False,
) -> dict[str, Any]:
    """Return the Job. ``adapter`` is placed where rows are prepared, and ``run`` made from it (`placed_to_prepare`).

    ``rows`` is a digest of what decides which rows they are. ``readapts`` marks a Job that takes one of its base's
    places for re-adaptation, as the training after it does.
    """
    metadata = labels.object_meta(
        "LoraAdapter",
        adapter.metadata,
        name=naming.preparation_job_name(adapter.metadata.name, run["recipe"]),
        component=COMPONENT,
        labels=job_labels(adapter, base_uid, run["reason"], readapts=readapts),
        annotations={
            labels.RECIPE: run["recipe"],
            labels.ROWS: rows,
            labels.POD_SETTINGS: pod_settings_digest(adapter.spec, platform.tenant_pods.changes()),
        },
    )
    pod = preparation_pod(adapter, base, run, platform, job_name=metadata["name"])
    return trainer_job(adapter, metadata, run, pod, platform)


def preparation_pod(
    adapter: LoraAdapter, base: ResolvedBase, run: dict[str, Any], platform: Platform, *, job_name: str
) -> dict[str, Any]:
    """Return the pod: the training's, which brings all of the base but its weights, and only prepares."""
    pod = training_pod(adapter, base, run, platform, job_name=job_name)
    namespace, name = adapter.metadata.namespace, run["base"]["name"]
    fetch = fetch_base_container(namespace, name, base, platform, weights=False)
    [trainer] = pod["containers"]
    # Its memory is not that of a training, which would be estimated where nobody asks for any.
    trainer = trainer | {"args": [TASK], "resources": adapter.spec.pod.resources.to_wire()}
    return pod | {"initContainers": [fitted(fetch, adapter.spec.pod, platform)], "containers": [trainer]}


def placed_to_prepare(adapter: LoraAdapter) -> LoraAdapter:
    """Return the adapter with the pod that prepares its rows: one process, no device, and a place of its own.

    Neither the nodes nor the queue of the training are asked for: both are there for its GPUs. But where nobody asked
    for such a pod, it can run where the training can: its taints are tolerated, and its machines are of the same kind.
    """
    chosen, training = adapter.spec.preparation, adapter.spec.pod
    tolerations, kind_of_machine = chosen.tolerations, {}
    if chosen.mode == "Auto":
        tolerations = chosen.tolerations or training.tolerations
        kind_of_machine = {key: value for key, value in training.node_selector.items() if key in KIND_OF_MACHINE}
    pod = adapter.spec.pod.model_copy(
        update={
            "resources": chosen.effective_resources,
            "queue_name": chosen.queue_name,
            "node_selector": kind_of_machine | chosen.node_selector,
            "tolerations": tolerations,
            "affinity": None,
            "runtime_class_name": None,
            "topology_spread_constraints": (),
            "gpu_memory": None,
            "workers": Workers(processes_per_node=1),
        }
    )
    return adapter.model_copy(update={"spec": adapter.spec.model_copy(update={"pod": pod})})


def preparation_settings_digest(adapter: LoraAdapter, platform_asks: Mapping[str, Any] = NOTHING) -> str:
    """Return a digest of what decides whether, where and how long the Job's pod runs (`pod_settings_digest`)."""
    return pod_settings_digest(placed_to_prepare(adapter).spec, platform_asks)
