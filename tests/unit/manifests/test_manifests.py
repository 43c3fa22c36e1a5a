"""The objects that we create: safe, stable, and no bigger than Kubernetes takes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from tests.builders import (
    PLATFORM,
    adapter,
    base_id,
    base_model,
    digest,
    recipe_of,
    resolved_base,
    served_version,
    serving_revision,
)
from tests.unit.manifests.pod_security import violations

from graft_operator.manifests import labels, naming
from graft_operator.manifests.jobs.import_job import import_job_manifest
from graft_operator.manifests.jobs.training_job import (
    START_SECONDS,
    pod_settings_digest,
    run_document,
    training_job_manifest,
)
from graft_operator.manifests.workloads.access import access_manifests
from graft_operator.manifests.workloads.engine import ENGINE_RANKS, engine_arguments, engine_rank
from graft_operator.manifests.workloads.merged_model import merged_model_manifests
from graft_operator.manifests.workloads.serving import pod_selector, revision_manifests, shared_service

ROWS_ON_VOLUMES: dict[str, Any] = {
    "dataset": {
        "configMap": {"name": "rows", "key": "train.jsonl"},
        "evaluation": {"persistentVolumeClaim": {"claimName": "data", "path": "eval.jsonl"}},
    }
}
QUOTAS = {"requests": {"cpu", "memory"}, "limits": {"cpu", "memory"}}
WANTED: dict[str, Any] = {"schema": "graft.dev/wanted/v1", "adapters": []}
ON_CLAIM = {"claim_name": "models", "claim_path": "tiny/v1"}


def training_job(name: str = "support", base: Any = None, **spec: Any) -> dict[str, Any]:
    subject = adapter(name, **spec)
    base = base or resolved_base()
    run = run_document(
        subject, base, recipe=recipe_of(subject), reason="SpecChanged", dataset_digest=None, platform=PLATFORM
    )
    return training_job_manifest(subject, base, "uid-of-tiny", run, PLATFORM)


def import_job(**spec: Any) -> dict[str, Any]:
    return import_job_manifest(base_model(**spec), digest("source"), PLATFORM)


WITH_KEYS = base_model(serving={"apiKeySecretRef": {"name": "tiny-keys", "key": "clients"}})


def revision(**fields: Any) -> list[dict[str, Any]]:
    return revision_manifests(base_model(), serving_revision(**fields), WANTED, PLATFORM)


def pod_of(manifest: dict[str, Any]) -> dict[str, Any]:
    return dict(manifest["spec"]["template"]["spec"])


PODS = {
    "training": training_job(),
    "training with rows on volumes": training_job(**ROWS_ON_VOLUMES),
    "training on a base that was left in place": training_job(base=resolved_base(**ON_CLAIM)),
    "import": import_job(),
    "import from a claim": import_job(source={"persistentVolumeClaim": {"claimName": "models", "path": "tiny"}}),
    "serving": revision()[-1],
    "serving a base that was left in place": revision(**ON_CLAIM)[-1],
    "serving with API keys": revision_manifests(WITH_KEYS, serving_revision(), WANTED, PLATFORM)[-1],
}


@pytest.mark.parametrize("manifest", PODS.values(), ids=PODS)
def test_every_container_fits_a_namespace_with_quotas(manifest: dict[str, Any]) -> None:
    """A quota on limits refuses pods in which a container has none. Those of trainer and engine are the user's."""
    pod = pod_of(manifest)
    for one in (*pod.get("initContainers", ()), *pod["containers"]):
        if one["name"] not in ("trainer", "engine"):
            assert {kind: set(one["resources"][kind]) for kind in ("requests", "limits")} == QUOTAS, one["name"]


@pytest.mark.parametrize("manifest", PODS.values(), ids=PODS)
def test_every_container_leaves_its_last_lines(manifest: dict[str, Any]) -> None:
    pod = pod_of(manifest)
    policies = {one["terminationMessagePolicy"] for one in (*pod.get("initContainers", ()), *pod["containers"])}
    assert policies == {"FallbackToLogsOnError"}


def test_the_platform_chooses_the_resources_of_our_own_containers() -> None:
    chosen = replace(PLATFORM, agent_resources={"requests": {"cpu": "1"}}, fetch_resources={})
    pod = pod_of(revision_manifests(base_model(), serving_revision(), WANTED, chosen)[-1])
    assert pod["containers"][0]["resources"] == {"requests": {"cpu": "1"}}
    assert pod["initContainers"][0]["resources"] == {}


def test_the_deadline_is_no_matter_of_the_job_which_may_wait_for_long() -> None:
    spec = training_job(training={"deadlineSeconds": 600})["spec"]
    assert "activeDeadlineSeconds" not in spec
    assert spec["template"]["spec"]["activeDeadlineSeconds"] == 600 + START_SECONDS


def test_how_long_a_job_is_kept_makes_no_other_job_of_it() -> None:
    assert pod_settings_digest(adapter(pod={"ttlSecondsAfterFinished": 60}).spec) == pod_settings_digest(adapter().spec)


@pytest.mark.parametrize("manifest", PODS.values(), ids=PODS)
def test_every_pod_fits_the_restricted_standard(manifest: dict[str, Any]) -> None:
    assert violations(pod_of(manifest)) == []


@pytest.mark.parametrize("manifest", PODS.values(), ids=PODS)
def test_no_container_writes_to_its_image_or_is_told_by_a_shell(manifest: dict[str, Any]) -> None:
    pod = pod_of(manifest)
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert not {"sh", "bash", "-c"} & {*container.get("command", []), *container.get("args", [])}


@pytest.mark.parametrize("manifest", PODS.values(), ids=PODS)
def test_every_mount_has_its_volume(manifest: dict[str, Any]) -> None:
    pod = pod_of(manifest)
    volumes = {volume["name"] for volume in pod["volumes"]}
    mounts = [
        (container["name"], mount["name"], mount["mountPath"])
        for container in [*pod.get("initContainers", []), *pod["containers"]]
        for mount in container["volumeMounts"]
    ]
    assert {name for _, name, _ in mounts} == volumes
    assert len({(container, path) for container, _, path in mounts}) == len(mounts)


@pytest.mark.parametrize("name", ["training", "import"])
def test_jobs_have_no_api_token(name: str) -> None:
    assert pod_of(PODS[name])["automountServiceAccountToken"] is False


def test_the_standard_is_really_checked() -> None:
    pod = pod_of(training_job())
    pod["containers"][0].pop("securityContext")
    pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}})
    assert len(violations(pod)) == 3


def test_the_same_recipe_is_the_same_job_whatever_is_around_it() -> None:
    small, large = training_job(), training_job(pod={"resources": {"limits": {"memory": "64Gi"}}})
    other = training_job(lora={"rank": 8})
    assert small["metadata"]["name"] == large["metadata"]["name"] != other["metadata"]["name"]


def test_a_user_error_fails_the_job_at_once_and_a_preemption_never_counts() -> None:
    rules = training_job()["spec"]["podFailurePolicy"]["rules"]
    actions = [(rule["action"], rule.get("onExitCodes", {}).get("values")) for rule in rules]
    ignored = [("Ignore", None), ("Ignore", [70, 143]), ("Ignore", [143])]
    assert actions == [*ignored, ("FailJob", [64, 65, 66, 67, 69, 71, 72])]
    assert pod_of(training_job())["restartPolicy"] == "Never", "podFailurePolicy demands it"
    assert training_job()["spec"]["podReplacementPolicy"] == "Failed", "podFailurePolicy demands it"


def test_job_and_configuration_are_one_object() -> None:
    manifest = training_job()
    run = json.loads(manifest["spec"]["template"]["metadata"]["annotations"][labels.RUN])
    assert run["recipe"] == manifest["metadata"]["annotations"][labels.RECIPE]
    field = next(volume for volume in pod_of(manifest)["volumes"] if volume["name"] == "run")
    assert field["downwardAPI"]["items"][0]["path"] == "run.json"


def test_labels_of_the_owner_are_not_copied() -> None:
    claimed = {"app.kubernetes.io/instance": "argo-app"}
    subject = adapter(meta={"labels": claimed, "annotations": {"argocd.argoproj.io/tracking-id": "x"}})
    run = run_document(
        subject,
        resolved_base(),
        recipe=recipe_of(subject),
        reason="SpecChanged",
        dataset_digest=None,
        platform=PLATFORM,
    )
    manifest = training_job_manifest(subject, resolved_base(), "uid", run, PLATFORM)
    assert "argo" not in json.dumps(manifest)


LONGEST_ADAPTER = "a" * 52
LONGEST_BASE = "b" * 40

NAMES = {
    "training Job": naming.training_job_name(LONGEST_ADAPTER, digest("recipe")),
    "training Job of a name that is cut at a dash": naming.training_job_name("a" * 30 + "-" + "b" * 21, digest("r")),
    "import Job": naming.import_job_name(LONGEST_BASE, digest("source")),
    "concurrency test": naming.concurrency_job_name(LONGEST_BASE, digest("adapters")),
    "serving": naming.serving_name(LONGEST_BASE),
    "revision": naming.revision_name(LONGEST_BASE, digest("base")),
    "merged model": naming.merged_name(LONGEST_ADAPTER),
    "shortest": naming.training_job_name("a", digest("recipe")),
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_are_dns_labels(name: str) -> None:
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name)
    assert "--" not in name


def test_long_names_with_one_beginning_stay_apart() -> None:
    recipe = digest("recipe")
    names = {naming.training_job_name("a" * 51 + last, recipe) for last in "xyz"}
    assert len(names) == 3


def every_manifest() -> list[dict[str, Any]]:
    base = base_model()
    shared = [*access_manifests(base, ["graft-tiny-1"]), shared_service(base)]
    merged = merged_model_manifests(adapter(), base, served_version(), PLATFORM)
    return [*PODS.values(), *shared, *revision(), *merged]


@pytest.mark.parametrize("manifest", every_manifest(), ids=lambda item: f"{item['kind']} {item['metadata']['name']}")
def test_every_object_is_owned_and_found_again(manifest: dict[str, Any]) -> None:
    metadata = manifest["metadata"]
    assert metadata["ownerReferences"][0]["controller"] is True
    assert metadata["labels"][labels.MANAGED_BY] == labels.MANAGER
    assert metadata["labels"][labels.OWNER_UID] == metadata["ownerReferences"][0]["uid"]
    assert all(len(value) <= 63 for value in metadata["labels"].values())
    assert metadata["annotations"][labels.OWNER_NAME] == metadata["ownerReferences"][0]["name"]


def test_a_pod_may_read_its_own_wanted_sets_and_nothing_else() -> None:
    role = next(item for item in access_manifests(base_model(), ["one", "two"]) if item["kind"] == "Role")
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["one", "two"],
            "verbs": ["get", "list", "watch"],
        }
    ]


def test_services_find_the_pods_of_their_revision() -> None:
    config_map, service, _, deployment = revision()
    pod_labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (service["spec"]["selector"], shared_service(base_model())["spec"]["selector"]):
        assert selector.items() <= pod_labels.items()
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    assert config_map["metadata"]["name"] == naming.revision_name("tiny", base_id())


def test_no_pod_is_taken_away_before_its_successor_answers() -> None:
    strategy = revision()[-1]["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxUnavailable": 0, "maxSurge": 1}


def test_drains_take_one_pod_at_a_time_and_broken_ones_always() -> None:
    budget = next(item for item in revision() if item["kind"] == "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert budget["spec"]["selector"] == revision()[-1]["spec"]["selector"]


def test_the_scale_subresource_finds_the_pods() -> None:
    selector = dict(pair.split("=") for pair in pod_selector(base_model(), serving_revision()).split(","))
    assert selector == revision()[-1]["spec"]["selector"]["matchLabels"]


def test_the_engine_listens_on_loopback_and_outlives_the_agent() -> None:
    pod = pod_of(revision()[-1])
    engine = next(item for item in pod["initContainers"] if item["name"] == "engine")
    assert "--host=127.0.0.1" in engine["args"]
    assert engine["restartPolicy"] == "Always"
    assert "ports" not in engine


def test_api_keys_are_a_file_that_follows_the_secret_and_that_the_agent_alone_sees() -> None:
    pod = pod_of(PODS["serving with API keys"])
    [volume] = [volume for volume in pod["volumes"] if volume["name"] == "api-keys"]
    [agent] = pod["containers"]
    [mount] = [mount for mount in agent["volumeMounts"] if mount["name"] == volume["name"]]
    environment = {item["name"]: item.get("value") for item in agent["env"]}
    assert volume["secret"]["secretName"] == "tiny-keys"
    assert volume["secret"]["items"] == [{"key": "clients", "path": "keys"}]
    assert environment["GRAFT_API_KEY_FILE"] == f"{mount['mountPath']}/keys"
    assert "subPath" not in mount
    assert all(volume["name"] != mount["name"] for init in pod["initContainers"] for mount in init["volumeMounts"])


def test_the_agent_alone_has_the_registry_s_keys_as_files_too_where_there_are_any() -> None:
    pod = pod_of(PODS["serving"])
    [volume] = [volume for volume in pod["volumes"] if volume["name"] == "registry-keys"]
    [agent] = pod["containers"]
    [mount] = [mount for mount in agent["volumeMounts"] if mount["name"] == volume["name"]]
    environment = {item["name"]: item.get("value") for item in agent["env"]}
    assert (volume["secret"]["secretName"], volume["secret"]["optional"]) == ("graft-registry", True)
    assert environment["GRAFT_REGISTRY_KEYS_DIR"] == mount["mountPath"]
    assert "subPath" not in mount, "a file that is mounted by subPath never changes"
    assert all(volume["name"] != mount["name"] for init in pod["initContainers"] for mount in init["volumeMounts"])


def test_without_a_secret_nobody_needs_a_key() -> None:
    pod = pod_of(PODS["serving"])
    assert "api-keys" not in {volume["name"] for volume in pod["volumes"]}
    assert "GRAFT_API_KEY_FILE" not in {item["name"] for item in pod["containers"][0]["env"]}


def test_the_wanted_set_changes_the_config_map_and_not_the_pods() -> None:
    base, one = base_model(), serving_revision()
    before = revision_manifests(base, one, WANTED, PLATFORM)
    after = revision_manifests(base, one, WANTED | {"adapters": [{"name": "support"}]}, PLATFORM)
    assert [left == right for left, right in zip(before, after, strict=True)] == [False, True, True, True]


RANKS = {1: 1, 2: 8, 16: 16, 17: 32, 200: 256, 512: 512}


@pytest.mark.parametrize(("wanted", "given"), RANKS.items())
def test_the_rank_is_rounded_up_to_one_that_the_engine_knows(wanted: int, given: int) -> None:
    assert engine_rank(wanted) == given
    assert given in ENGINE_RANKS


def test_the_users_engine_arguments_come_last() -> None:
    arguments = engine_arguments(base_model(serving={"engineArgs": ["--dtype=float16"]}), PLATFORM)
    assert arguments[-1] == "--dtype=float16"
