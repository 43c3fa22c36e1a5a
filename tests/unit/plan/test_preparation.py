"""Rows that are prepared before a training asks for a GPU: when, by what Job, and what becomes of one that fails."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from tests.builders import CREATED, NOW, PLATFORM, adapter, digest, imported_adapter, job, recipe_of, seen

from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.api.pods.preparation import is_device
from graft_operator.manifests import labels, naming
from graft_operator.manifests.jobs.training_job import pod_settings_digest
from graft_operator.plan.actions import CreateJob, DeleteObject, Plan
from graft_operator.plan.adapter.plan import plan_adapter
from graft_operator.plan.jobs import JobObserved, Queueing
from graft_operator.plan.preparation.due import preparation_to_create
from graft_operator.plan.preparation.wanted import rows_digest
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.retry_policy import inputs_of
from graft_registry.digests import digest_of
from graft_registry.documents import Progress

GPU = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
ALWAYS, NEVER = {"mode": "Always"}, {"mode": "Never"}
LONG_AGO = NOW - timedelta(hours=1)


def prepares(subject: LoraAdapter, state: str = "Active", **fields: Any) -> JobObserved:
    """Return the Job that prepares the rows of the adapter's recipe."""
    recipe = recipe_of(subject)
    name = naming.preparation_job_name("support", recipe)
    own = {"name": name, "uid": f"uid-of-{name}", "prepares": True, "reason": "SpecChanged"}
    return job(recipe, state, **own | fields)


def planned(subject: LoraAdapter, *jobs: JobObserved, **fields: Any) -> Plan:
    return plan_adapter(seen(subject, jobs=jobs, **{"recipe": recipe_of(subject)} | fields), NOW, PLATFORM)


def created(plan: Plan) -> list[str]:
    """Return what the Jobs that are made are for."""
    made = [action.manifest for action in plan.extras if isinstance(action, CreateJob)]
    return [manifest["metadata"]["labels"][labels.COMPONENT] for manifest in made]


def deleted(plan: Plan) -> list[str]:
    return [action.name for action in plan.actions if isinstance(action, DeleteObject)]


def told(plan: Plan, condition: str = "Trained") -> tuple[str, str]:
    """Return (reason, message) of a condition."""
    assert plan.status is not None
    return next((item.reason, item.message) for item in plan.status.conditions if item.type == condition)


FIRST: dict[str, tuple[dict[str, Any], str]] = {
    "a training on CPUs": ({}, "training"),
    "a training on a GPU": ({"pod": GPU}, "preparation"),
    "on a part of one": ({"pod": {"resources": {"limits": {"nvidia.com/mig-1g.10gb": "1"}}}}, "preparation"),
    "on somebody else's GPU": ({"pod": {"resources": {"limits": {"amd.com/gpu": "1"}}}}, "preparation"),
    "on a TPU": ({"pod": {"resources": {"limits": {"google.com/tpu": "4"}}}}, "preparation"),
    "a GPU that is only requested": ({"pod": {"resources": {"requests": {"nvidia.com/gpu": "1"}}}}, "preparation"),
    "huge pages and disk are no devices": (
        {"pod": {"resources": {"limits": {"hugepages-2Mi": "64Mi", "ephemeral-storage": "9Gi"}}}},
        "training",
    ),
    "asked for on CPUs": ({"preparation": ALWAYS}, "preparation"),
    "not wanted on a GPU": ({"pod": GPU, "preparation": NEVER}, "training"),
    "on several pods with GPUs": ({"pod": GPU | {"workers": {"nodes": 4}}}, "preparation"),
    "preferences": ({"pod": GPU, "training": {"objective": "DPO"}}, "preparation"),
}


@pytest.mark.parametrize(("spec", "component"), FIRST.values(), ids=FIRST)
def test_what_comes_first(spec: dict[str, Any], component: str) -> None:
    plan = planned(adapter(**spec))
    assert created(plan) == [component]
    assert told(plan)[0] == "JobCreated"


def test_an_import_has_nothing_to_prepare() -> None:
    subject = imported_adapter(pod=GPU, preparation=ALWAYS)
    assert created(plan_adapter(seen(subject), NOW, PLATFORM)) == ["training"]


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("nvidia.com/gpu", True),
        ("aws.amazon.com/neuron", True),
        ("rdma/hca", True),
        ("cpu", False),
        ("hugepages-1Gi", False),
        ("kubernetes.io/batch-cpu", False),
        ("node.kubernetes.io/slots", False),
    ],
)
def test_a_device_is_an_extended_resource(resource: str, expected: bool) -> None:
    assert is_device(resource) is expected


SAID: dict[str, tuple[dict[str, Any], str]] = {
    "nothing yet": ({}, "prepares the rows"),
    "what is read": ({"rows": 120_000}, "prepares the rows, 120,000 rows read"),
    "what is rendered": ({"rows": 120_000, "total_rows": 1_000_000}, "prepares the rows, 120,000 of 1,000,000 rows"),
}


@pytest.mark.parametrize(("said", "message"), SAID.values(), ids=SAID)
def test_the_status_tells_how_far_it_is(said: dict[str, Any], message: str) -> None:
    subject = adapter(pod=GPU)
    progress = Progress(recipe=recipe_of(subject), state="Loading", updated_time=CREATED, **said)
    under_way = prepares(subject)
    plan = planned(subject, under_way, progress=progress)
    assert told(plan) == ("Preparing", f"Job {under_way.name}: {message}")
    assert told(plan, "Reconciling")[0] == "Preparing"
    assert created(plan) == []
    assert plan.status is not None
    training = getattr(plan.status, "training")  # noqa: B009 -- of either kind of status
    assert (training.job, training.state, training.rows) == (under_way.name, "Preparing", said.get("rows"))


def test_what_a_training_before_it_has_said_is_not_its_own() -> None:
    subject = adapter(pod=GPU)
    progress = Progress(recipe=recipe_of(subject), state="Training", step=7, rows=9, updated_time=CREATED)
    assert told(planned(subject, prepares(subject), progress=progress))[1].endswith(": prepares the rows")


def test_the_training_follows() -> None:
    subject = adapter(pod=GPU)
    plan = planned(subject, prepares(subject, "Succeeded", rows=digest("rows"), ended_time=NOW))
    assert created(plan) == ["training"]
    assert plan.status is not None
    assert getattr(plan.status, "prepared_rows") == digest("rows")  # noqa: B009


def test_a_training_that_is_there_is_not_interrupted() -> None:
    subject = adapter(pod=GPU)
    plan = planned(subject, job(recipe_of(subject)))
    assert (created(plan), deleted(plan), told(plan)[0]) == ([], [], "Training")


CONTENT = digest("content")
PINNED = {"s3": {"uri": "s3://data/train.jsonl", "digest": CONTENT}}


def pinned(prepared: str | None = None, **spec: Any) -> AdapterSnapshot:
    """Return what is seen of an adapter whose rows have a digest; ``prepared`` is what was prepared last."""
    defaults: dict[str, Any] = {"dataset": PINNED, "pod": GPU, "status": {"prepared_rows": prepared}}
    return seen(adapter(**defaults | spec), dataset_digest=CONTENT)


SKIPPED: dict[str, tuple[dict[str, Any], bool]] = {
    "the same again": ({}, True),
    "another learning rate": ({"training": {"learningRate": "1e-5"}}, True),
    "another rank": ({"lora": {"rank": 32}}, True),
    "longer rows": ({"training": {"maxSequenceLength": 4096}}, False),
    "another seed": ({"training": {"seed": 7}}, False),
    "questions that are learned": ({"training": {"trainOnInputs": True}}, False),
    "another format": (
        {"dataset": PINNED | {"format": "Text"}},
        False,
    ),
    "fewer bad rows": (
        {"dataset": PINNED | {"maxDroppedPercent": 1}},
        False,
    ),
}


@pytest.mark.parametrize(("spec", "is_skipped"), SKIPPED.values(), ids=SKIPPED)
def test_what_is_prepared_already_is_not_prepared_again(spec: dict[str, Any], is_skipped: bool) -> None:
    plan = plan_adapter(pinned(rows_digest(pinned()), **spec), NOW, PLATFORM)
    assert created(plan) == ["training" if is_skipped else "preparation"]


def test_rows_of_unknown_content_are_those_of_their_recipe_alone() -> None:
    before = adapter(pod=GPU)
    known = {"prepared_rows": rows_digest(seen(before))}
    assert created(plan_adapter(seen(adapter(pod=GPU, status=known)), NOW, PLATFORM)) == ["training"]
    other = adapter(pod=GPU, lora={"rank": 32}, status=known)
    assert created(plan_adapter(seen(other), NOW, PLATFORM)) == ["preparation"]


FAILURES: dict[str, tuple[dict[str, Any], str, str]] = {
    "bad rows": (
        {"outcome_reason": "BadDataset", "outcome_message": "spec.dataset: 40 % of the rows can't be used"},
        "BadDataset",
        "40 %",
    ),
    "a wrong shape": (
        {"outcome_reason": "InvalidConfig", "outcome_message": "no such layer"},
        "InvalidConfig",
        "layer",
    ),
    "too little memory": (
        {"outcome_reason": "OutOfMemory", "outcome_message": "its limit of 1Gi"},
        "OutOfMemory",
        "spec.preparation.resources: preparing the rows takes more memory (its limit of 1Gi)",
    ),
    "too little time": (
        {"failure_reason": "DeadlineExceeded"},
        "DeadlineExceeded",
        "raise it, and the rows are prepared again",
    ),
}


@pytest.mark.parametrize(("fields", "reason", "says"), FAILURES.values(), ids=FAILURES)
def test_what_is_wrong_stalls_before_a_gpu_is_asked_for(fields: dict[str, Any], reason: str, says: str) -> None:
    subject = adapter(pod=GPU, preparation=ALWAYS)
    plan = planned(subject, prepares(subject, "Failed", ended_time=NOW, **fields))
    assert created(plan) == []
    assert told(plan, "Stalled")[0] == told(plan)[0] == reason
    assert says in told(plan)[1]
    assert plan.status is not None
    again = subject.model_copy(update={"status": plan.status})
    assert told(planned(again), "Stalled")[0] == reason, "it is remembered without the Job"


def test_what_passes_is_tried_again() -> None:
    subject = adapter(pod=GPU)
    failed = prepares(
        subject, "Failed", ended_time=LONG_AGO, outcome_reason="RegistryUnavailable", outcome_message="no route"
    )
    plan = planned(subject, failed)
    assert (told(plan)[0], deleted(plan)) == ("RegistryUnavailable", [failed.name])


def test_more_memory_for_it_makes_it_anew() -> None:
    before = adapter(pod=GPU, preparation=ALWAYS)
    failed = prepares(before, "Failed", ended_time=NOW, outcome_reason="OutOfMemory", pod_settings=digest("before"))
    status = {"failed_trainings": getattr(planned(before, failed).status, "failed_trainings")}  # noqa: B009
    after = adapter(pod=GPU, preparation=ALWAYS | {"resources": {"limits": {"memory": "16Gi"}}}, status=status)
    plan = planned(after, failed)
    assert (told(plan)[0], deleted(plan)) == ("PodSettingsChanged", [failed.name])


def test_a_preparation_that_ran_out_of_memory_lowers_no_batch() -> None:
    before = adapter(pod=GPU)
    failed = prepares(before, "Failed", ended_time=NOW, outcome_reason="OutOfMemory")
    plan = planned(adapter(pod=GPU, preparation=NEVER), failed)
    [manifest] = [action.manifest for action in plan.extras if isinstance(action, CreateJob)]
    run = json.loads(manifest["spec"]["template"]["metadata"]["annotations"][labels.RUN])
    assert run["training"]["batchSize"] == before.spec.training.batch_size
    assert deleted(plan) == [failed.name]


ENDS: dict[str, dict[str, Any]] = {
    "it is not wanted any more": {"pod": GPU, "preparation": NEVER},
    "the GPU is not wanted any more": {"pod": {}},
    "nothing is": {"pod": GPU, "suspend": True},
}


@pytest.mark.parametrize("spec", ENDS.values(), ids=ENDS)
def test_a_preparation_ends_once_nobody_wants_it(spec: dict[str, Any]) -> None:
    subject = adapter(**spec)
    under_way = prepares(subject)
    plan = planned(subject, under_way)
    assert deleted(plan) == [under_way.name]
    assert created(plan) == ([] if subject.spec.suspend else ["training"])


def test_a_preparation_of_another_spec_ends() -> None:
    under_way = prepares(adapter(pod=GPU))
    plan = planned(adapter(pod=GPU, lora={"rank": 4}), under_way)
    assert (deleted(plan), created(plan)) == ([under_way.name], ["preparation"])


def manifest_of(**spec: Any) -> dict[str, Any]:
    return preparation_to_create(seen(adapter(**spec)), PLATFORM)


QUEUED = GPU | {"queueName": "gpus", "nodeSelector": {"gpu": "h200"}, "runtimeClassName": "nvidia"}


def test_it_waits_in_no_queue_for_gpus_and_on_none_of_their_nodes() -> None:
    made = manifest_of(pod=QUEUED)
    assert made["spec"]["suspend"] is False
    assert labels.KUEUE_QUEUE not in made["metadata"]["labels"]
    pod = made["spec"]["template"]["spec"]
    assert not {"nodeSelector", "runtimeClassName", "tolerations", "affinity"} & pod.keys()
    [container] = pod["containers"]
    assert container["resources"] == {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {}}
    own = manifest_of(pod=QUEUED, preparation={"queueName": "cpus", "nodeSelector": {"pool": "cpu"}})
    assert own["spec"]["suspend"] is True
    assert own["metadata"]["labels"][labels.KUEUE_QUEUE] == "cpus"
    assert own["spec"]["template"]["spec"]["nodeSelector"] == {"pool": "cpu"}


TAINTED = {"key": "dedicated", "operator": "Exists"}
ARM = {"kubernetes.io/arch": "arm64", "kubernetes.io/os": "linux", "accelerator": "h200"}

PLACES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as the training's, where nobody says more": (
        {},
        {"tolerations": [TAINTED], "nodeSelector": {"kubernetes.io/arch": "arm64", "kubernetes.io/os": "linux"}},
    ),
    "what is said wins": (
        {
            "tolerations": [{"key": "cpu", "operator": "Exists"}],
            "nodeSelector": {"kubernetes.io/arch": "amd64", "pool": "cpu"},
        },
        {
            "tolerations": [{"key": "cpu", "operator": "Exists"}],
            "nodeSelector": {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "pool": "cpu"},
        },
    ),
    "one that is asked for has its own place": (ALWAYS, {}),
    "and chooses it": (ALWAYS | {"nodeSelector": {"pool": "cpu"}}, {"nodeSelector": {"pool": "cpu"}}),
}


@pytest.mark.parametrize(("preparation", "place"), PLACES.values(), ids=PLACES)
def test_a_pod_that_nobody_asked_for_runs_where_the_training_can(
    preparation: dict[str, Any], place: dict[str, Any]
) -> None:
    made = manifest_of(pod=GPU | {"tolerations": [TAINTED], "nodeSelector": ARM}, preparation=preparation)
    pod = made["spec"]["template"]["spec"]
    assert {key: pod[key] for key in ("tolerations", "nodeSelector") if key in pod} == place


def test_one_pod_prepares_for_all_workers() -> None:
    made = manifest_of(pod=GPU | {"workers": {"nodes": 4, "processesPerNode": 8}})
    assert "completions" not in made["spec"]
    assert "subdomain" not in made["spec"]["template"]["spec"]
    run = json.loads(made["spec"]["template"]["metadata"]["annotations"][labels.RUN])
    assert run["workers"] == {"nodes": 1, "processesPerNode": 1, "sharding": "None"}


def test_kueue_says_which_queue_it_waits_in() -> None:
    subject = adapter(pod=QUEUED, preparation={"queueName": "cpus"})
    held = prepares(subject, suspended=True, queueing=Queueing(queue="cpus"))
    assert told(planned(subject, held)) == (
        "Queued",
        f"Job {prepares(subject).name}: waits until LocalQueue cpus admits it",
    )


HINTS = {
    "no memory": ("Unschedulable: 0/3 nodes are available: 3 Insufficient memory.", "lower spec.preparation.resources"),
    "a taint": (
        "Unschedulable: 0/3 nodes are available: 3 node(s) had untolerated taint {a: b}.",
        "spec.preparation.tolerations",
    ),
    "no account": ('FailedCreate: serviceaccount "x" not found', "spec.pod.serviceAccountName"),
    "no priority": ("FailedCreate: no PriorityClass with name x was found", "spec.pod.priorityClassName"),
    "no image": ("ErrImagePull: not found", "imagePullSecrets in spec.pod"),
}


@pytest.mark.parametrize(("waiting", "field"), HINTS.values(), ids=HINTS)
def test_what_helps_a_pod_that_does_not_start_is_named(waiting: str, field: str) -> None:
    subject = adapter(pod=GPU)
    assert field in told(planned(subject, prepares(subject, waiting=waiting)))[1]


def test_no_node_for_the_preparation_says_nothing_of_the_gpu() -> None:
    short = "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu."
    message = told(planned(adapter(pod=GPU), prepares(adapter(pod=GPU), waiting=short)))[1]
    assert "2 CPUs and 4Gi of memory when empty" in message
    assert "the training asks for what spec.pod says after it" in message


def test_nothing_of_a_training_is_another_one_for_it() -> None:
    """A release that brings preparations neither trains anew nor forgets what has failed."""
    plain, with_it = adapter(pod=GPU), adapter(pod=GPU, preparation=ALWAYS)
    assert recipe_of(plain) == recipe_of(with_it)
    assert pod_settings_digest(plain.spec) == pod_settings_digest(with_it.spec)
    assert inputs_of(seen(plain)) == digest_of([pod_settings_digest(plain.spec), ""])
    assert inputs_of(seen(with_it)) != inputs_of(seen(plain))
