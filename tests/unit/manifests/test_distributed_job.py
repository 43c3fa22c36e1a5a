"""Trainings by several workers: numbered pods that find one another, and one pod as it always was."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.builders import PLATFORM, adapter, recipe_of, resolved_base
from tests.unit.manifests.pod_security import violations
from tests.unit.registry.published_memory import LLAMA_2_7B

from graft_operator.api.base_shape import BaseShape
from graft_operator.api.training import TrainingPod
from graft_operator.manifests import labels
from graft_operator.manifests.jobs.distributed_job import rendezvous_services
from graft_operator.manifests.jobs.trainer_resources import trainer_resources
from graft_operator.manifests.jobs.training_job import run_document, training_job_manifest

LONG_NAME = "a" * 52
GPUS: dict[str, Any] = {"resources": {"limits": {"nvidia.com/gpu": "4"}}}

WORKERS: dict[str, tuple[dict[str, Any], tuple[int, int, bool]]] = {
    "a pod says nothing: one worker": ({}, (1, 1, False)),
    "four GPUs: one worker on each": (GPUS, (4, 4, False)),
    "GPUs of another vendor count as well": ({"resources": {"limits": {"amd.com/gpu": "2"}}}, (2, 2, False)),
    "a slice of a GPU is no GPU that could work with another": (
        {"resources": {"limits": {"nvidia.com/mig-1g.10gb": "2"}}},
        (1, 1, False),
    ),
    "the user's number wins over the GPUs": (GPUS | {"workers": {"processesPerNode": 2}}, (2, 2, False)),
    "two pods of four GPUs are eight workers": (GPUS | {"workers": {"nodes": 2}}, (4, 8, False)),
    "two workers share the weights out": ({"workers": {"nodes": 2, "sharding": "FSDP"}}, (1, 2, True)),
    "one worker has nobody to share with": ({"workers": {"sharding": "FSDP"}}, (1, 1, False)),
}


@pytest.mark.parametrize(("settings", "expected"), WORKERS.values(), ids=WORKERS)
def test_the_number_of_workers(settings: dict[str, Any], expected: tuple[int, int, bool]) -> None:
    pod = TrainingPod.model_validate(settings)
    assert (pod.processes_per_node, pod.worker_count, pod.is_sharded) == expected


def training_job(name: str = "support", **pod: Any) -> dict[str, Any]:
    subject = adapter(name, pod=pod)
    base = resolved_base()
    run = run_document(
        subject, base, recipe=recipe_of(subject), reason="SpecChanged", dataset_digest=None, platform=PLATFORM
    )
    return training_job_manifest(subject, base, "uid-of-tiny", run, PLATFORM)


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    return dict(job["spec"]["template"]["spec"])


def variables_of(job: dict[str, Any]) -> dict[str, str]:
    (trainer,) = pod_of(job)["containers"]
    return {variable["name"]: variable.get("value", "") for variable in trainer["env"]}


def test_a_single_pod_is_a_plain_job() -> None:
    job = training_job()
    assert not {"completionMode", "completions", "parallelism"} & job["spec"].keys()
    assert "subdomain" not in pod_of(job)
    assert "GRAFT_RENDEZVOUS" not in variables_of(job)
    assert rendezvous_services(adapter()) == ()


@pytest.mark.parametrize("name", ["support", LONG_NAME])
def test_the_pods_of_a_job_find_the_first_one_by_its_name(name: str) -> None:
    job = training_job(name, workers={"nodes": 3})
    assert (job["spec"]["completionMode"], job["spec"]["completions"], job["spec"]["parallelism"]) == ("Indexed", 3, 3)
    (service,) = rendezvous_services(adapter(name, pod={"workers": {"nodes": 3}}))
    host, _, port = variables_of(job)["GRAFT_RENDEZVOUS"].partition(":")
    assert host == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert int(port) == service["spec"]["ports"][0]["port"]
    assert all(re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", label) for label in host.split("."))
    assert pod_of(job)["subdomain"] == service["metadata"]["name"]
    pod_labels = job["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= pod_labels.items()


def test_the_service_is_headless_names_pods_that_are_not_ready_and_goes_with_its_adapter() -> None:
    (service,) = rendezvous_services(adapter(pod={"workers": {"nodes": 2}}))
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["metadata"]["ownerReferences"][0]["kind"] == "LoraAdapter"


def test_one_cause_may_fail_every_pod_once_without_using_up_the_retries() -> None:
    assert training_job(workers={"nodes": 3})["spec"]["backoffLimit"] == 3 * training_job()["spec"]["backoffLimit"]


def test_a_pod_that_lost_a_worker_of_another_pod_does_not_count() -> None:
    rules = training_job(workers={"nodes": 2})["spec"]["podFailurePolicy"]["rules"]
    action = next(rule["action"] for rule in rules if 70 in rule.get("onExitCodes", {}).get("values", []))
    assert action == "Ignore"


def test_workers_of_one_pod_have_room_to_exchange_data() -> None:
    job = training_job(**GPUS)
    (trainer,) = pod_of(job)["containers"]
    mount = next(mount for mount in trainer["volumeMounts"] if mount["mountPath"] == "/dev/shm")
    volume = next(volume for volume in pod_of(job)["volumes"] if volume["name"] == mount["name"])
    assert volume["emptyDir"] == {"medium": "Memory"}
    assert violations(pod_of(job)) == []
    (alone,) = pod_of(training_job())["containers"]
    assert all(mount["mountPath"] != "/dev/shm" for mount in alone["volumeMounts"])


def test_the_run_tells_the_trainer_how_many_workers_there_are() -> None:
    job = training_job(**GPUS, workers={"nodes": 2, "sharding": "FSDP"})
    run = json.loads(job["spec"]["template"]["metadata"]["annotations"][labels.RUN])
    assert run["workers"] == {"nodes": 2, "processesPerNode": 4, "sharding": "FSDP"}


def test_memory_that_nobody_asked_for_is_reserved_for_every_worker() -> None:
    base = resolved_base(parameters=LLAMA_2_7B.parameters, dtype="bfloat16", shape=BaseShape.of(LLAMA_2_7B))

    def mebibytes(**pod: Any) -> int:
        return int(trainer_resources(adapter(pod=pod).spec, base)["requests"]["memory"].removesuffix("Mi"))

    assert mebibytes(workers={"processesPerNode": 4}) == pytest.approx(4 * mebibytes(), abs=4)
