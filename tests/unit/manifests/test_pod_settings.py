"""Other people's clusters: what object and platform ask of pods gets to each, and nothing of ours is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from tests.builders import (
    PLATFORM,
    adapter,
    base_model,
    digest,
    recipe_of,
    resolved_base,
    served_version,
    serving_revision,
)
from tests.unit.manifests.pod_security import violations

from graft_operator.api.pods import PodSettings
from graft_operator.manifests import labels
from graft_operator.manifests.jobs.concurrency_job import concurrency_job_manifest
from graft_operator.manifests.jobs.distributed_job import rendezvous_services
from graft_operator.manifests.jobs.import_job import import_job_manifest, import_settings_digest
from graft_operator.manifests.jobs.training_job import pod_settings_digest, run_document, training_job_manifest
from graft_operator.manifests.platform import Platform
from graft_operator.manifests.tenant_pods import TenantPods
from graft_operator.manifests.workloads.access import access_manifests
from graft_operator.manifests.workloads.merged_model import merged_model_manifests
from graft_operator.manifests.workloads.serving import revision_manifests, shared_service

Object = dict[str, Any]
Build = Callable[[Object, Platform], Object]


def training(settings: Object, platform: Platform) -> Object:
    subject, base = adapter(pod=settings), resolved_base()
    run = run_document(
        subject, base, recipe=recipe_of(subject), reason="SpecChanged", dataset_digest=None, platform=platform
    )
    return training_job_manifest(subject, base, "uid-of-tiny", run, platform)


def importing(settings: Object, platform: Platform) -> Object:
    return import_job_manifest(base_model(importPod=settings), digest("source"), platform)


def serving(settings: Object, platform: Platform) -> Object:
    return revision_manifests(base_model(serving=settings), serving_revision(), {"adapters": []}, platform)[-1]


def merged(settings: Object, platform: Platform) -> Object:
    return merged_model_manifests(adapter(), base_model(serving=settings), served_version(), platform)[-1]


def concurrency(settings: Object, platform: Platform) -> Object:
    subject = base_model(serving=settings | {"concurrencyTest": {}})
    return concurrency_job_manifest(subject, digest("set"), ["support"], platform)


BUILDS: dict[str, Build] = {
    "training": training,
    "import": importing,
    "serving": serving,
    "merged": merged,
    "concurrency test": concurrency,
}
every_pod = pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)


def asking(**fields: Any) -> Platform:
    return replace(PLATFORM, tenant_pods=TenantPods.model_validate(fields))


def template_of(manifest: Object) -> Object:
    return dict(manifest["spec"]["template"])


def containers_of(manifest: Object) -> list[Object]:
    pod = template_of(manifest)["spec"]
    return [*pod.get("initContainers", ()), *pod["containers"]]


def variables_of(container: Object) -> Object:
    names = [item["name"] for item in container["env"]]
    assert len(names) == len(set(names)), "server-side apply takes no name twice"
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in container["env"]}


@every_pod
def test_labels_and_annotations_are_the_objects_over_the_platforms_and_ours_stay(build: Build) -> None:
    platform = asking(labels={"team": "unknown", "cost": "42"}, annotations={"mesh": "off", "note": "x"})
    plain = template_of(build({}, PLATFORM))["metadata"]
    made = template_of(build({"labels": {"team": "search"}, "annotations": {"mesh": "on"}}, platform))["metadata"]
    assert made["labels"] == plain["labels"] | {"team": "search", "cost": "42"}
    changed = {labels.POD_SETTINGS}
    kept = {name: value for name, value in plain["annotations"].items() if name not in changed}
    assert (kept | {"mesh": "on", "note": "x"}).items() <= made["annotations"].items()


@every_pod
def test_pull_secrets_of_object_and_platform_each_once(build: Build) -> None:
    platform = asking(imagePullSecrets=[{"name": "pull"}, {"name": "mirror"}])
    own = {"imagePullSecrets": [{"name": "team"}, {"name": "pull"}]}
    found = template_of(build(own, platform))["spec"]["imagePullSecrets"]
    assert found == [{"name": "team"}, {"name": "pull"}, {"name": "mirror"}]
    assert "imagePullSecrets" not in template_of(build({}, PLATFORM))["spec"]


@every_pod
def test_environment_reaches_every_container_and_the_objects_wins(build: Build) -> None:
    platform = asking(env={"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".svc"})
    reference = {"secretKeyRef": {"name": "licence", "key": "text"}}
    own = {"env": [{"name": "HTTPS_PROXY", "value": "http://mine"}, {"name": "LICENCE", "valueFrom": reference}]}
    for container in containers_of(build(own, platform)):
        found = variables_of(container)
        assert (found["HTTPS_PROXY"], found["NO_PROXY"]) == ("http://mine", ".svc")
        assert found["LICENCE"] == reference


@every_pod
def test_a_user_without_a_name_in_the_image_has_one(build: Build) -> None:
    for container in containers_of(build({}, PLATFORM)):
        found = variables_of(container)
        assert found["HOME"] == "/tmp"
        assert found["USER"] == found["LOGNAME"] == "graft"
        if container["name"] in ("engine", "trainer"):
            assert found["TORCHINDUCTOR_CACHE_DIR"].startswith("/tmp/")


@every_pod
def test_user_ids_can_be_left_to_the_platform(build: Build) -> None:
    pod = template_of(build({}, asking(userIds={})))["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert violations(pod) == []
    for container in containers_of(build({}, asking(userIds={}))):
        assert not {"runAsUser", "runAsGroup"} & container["securityContext"].keys()


@every_pod
def test_no_file_needs_a_group_that_a_platform_may_not_give(build: Build) -> None:
    for volume in template_of(build({}, PLATFORM))["spec"]["volumes"]:
        for source in volume.values():
            if isinstance(source, dict) and "defaultMode" in source:
                assert source["defaultMode"] & 0o004, volume["name"]


@every_pod
def test_ids_of_the_platforms_own(build: Build) -> None:
    pod = template_of(build({}, asking(userIds={"runAsUser": 10001, "fsGroup": 10002})))["spec"]
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["fsGroup"]) == (10001, 10002)
    assert "runAsGroup" not in pod["securityContext"]


@every_pod
@pytest.mark.parametrize("own", [{}, {"caBundle": {"name": "team", "key": "all.pem"}}], ids=["chart", "object"])
def test_certificates_are_mounted_and_named_in_every_container(build: Build, own: Object) -> None:
    manifest = build(own, asking(caBundle={"name": "certificates", "key": "ca.crt"}))
    [volume] = [item for item in template_of(manifest)["spec"]["volumes"] if item["name"] == "ca-bundle"]
    expected = own.get("caBundle", {"name": "certificates", "key": "ca.crt"})
    assert volume["configMap"]["name"] == expected["name"]
    assert volume["configMap"]["items"] == [{"key": expected["key"], "path": "ca.crt"}]
    for container in containers_of(manifest):
        [mount] = [item for item in container["volumeMounts"] if item["name"] == "ca-bundle"]
        found = variables_of(container)
        for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"):
            assert found[name] == f"{mount['mountPath']}/ca.crt"


@every_pod
def test_priority_is_the_objects_or_the_platforms(build: Build) -> None:
    platform = asking(priorityClassName="tenants")
    assert template_of(build({}, platform))["spec"]["priorityClassName"] == "tenants"
    assert template_of(build({"priorityClassName": "urgent"}, platform))["spec"]["priorityClassName"] == "urgent"
    assert "priorityClassName" not in template_of(build({}, PLATFORM))["spec"]


AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["l4"]}]}]
        }
    }
}
SPREAD = {"topologyKey": "topology.kubernetes.io/zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
PLACED = {
    "affinity": AFFINITY,
    "topologySpreadConstraints": [SPREAD],
    "runtimeClassName": "nvidia",
    "nodeSelector": {"pool": "gpu"},
    "tolerations": [{"key": "gpu", "value": "true", "effect": "NoSchedule"}],
}


@pytest.mark.parametrize("build", [training, importing, serving, merged])
def test_places_are_as_they_were_given(build: Build) -> None:
    template = template_of(build(PLACED, PLATFORM))
    pod = template["spec"]
    found = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert found == AFFINITY["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert (pod["runtimeClassName"], pod["nodeSelector"]) == ("nvidia", {"pool": "gpu"})
    assert pod["tolerations"] == [{"key": "gpu", "value": "true", "effect": "NoSchedule"}]
    [constraint] = pod["topologySpreadConstraints"]
    assert SPREAD.items() <= constraint.items()
    assert constraint["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


def test_a_client_that_tests_takes_no_place_of_the_engines() -> None:
    pod = template_of(concurrency(PLACED, PLATFORM))["spec"]
    assert not PLACED.keys() & pod.keys()


def test_serving_pods_are_spread_over_nodes_where_nobody_says_otherwise() -> None:
    [constraint] = template_of(serving({}, PLATFORM))["spec"]["topologySpreadConstraints"]
    assert constraint["topologyKey"] == "kubernetes.io/hostname"


def test_service_accounts_for_workload_identity() -> None:
    arn = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/serving"}
    own = template_of(serving({"serviceAccountAnnotations": arn}, PLATFORM))["spec"]["serviceAccountName"]
    account, _, binding = access_manifests(base_model(serving={"serviceAccountAnnotations": arn}), ["wanted"])
    assert account["metadata"]["name"] == own
    assert arn.items() <= account["metadata"]["annotations"].items()
    assert labels.OWNER_NAME in account["metadata"]["annotations"]
    assert [subject["name"] for subject in binding["subjects"]] == [own]
    named = {"serviceAccountName": "s3-reader"}
    assert template_of(serving(named, PLATFORM))["spec"]["serviceAccountName"] == "s3-reader"
    *_, binding = access_manifests(base_model(serving=named), ["wanted"])
    assert [subject["name"] for subject in binding["subjects"]] == [own, "s3-reader"], "pods from before keep theirs"
    assert (
        template_of(importing({"serviceAccountName": "s3-writer"}, PLATFORM))["spec"]["serviceAccountName"]
        == "s3-writer"
    )


def test_pull_secrets_stay_off_accounts_whose_list_openshift_edits_too() -> None:
    account, *_ = access_manifests(base_model(serving={"imagePullSecrets": [{"name": "team"}]}), ["wanted"])
    assert "imagePullSecrets" not in account


def test_services_take_both_families_where_there_are_two() -> None:
    services = [
        shared_service(base_model()),
        revision_manifests(base_model(), serving_revision(), {"adapters": []}, PLATFORM)[1],
        merged_model_manifests(adapter(), base_model(), served_version(), PLATFORM)[0],
        *rendezvous_services(adapter(pod={"workers": {"nodes": 2}})),
    ]
    assert [item["kind"] for item in services] == ["Service"] * 4
    assert {item["spec"]["ipFamilyPolicy"] for item in services} == {"PreferDualStack"}


def test_an_import_has_the_users_resources_or_the_platforms() -> None:
    [plain] = containers_of(importing({}, PLATFORM))
    assert plain["resources"]["limits"]["memory"] == "4Gi"
    [large] = containers_of(importing({"resources": {"limits": {"memory": "64Gi"}}}, PLATFORM))
    assert large["resources"] == {"requests": {}, "limits": {"memory": "64Gi"}}


def test_what_nobody_has_set_leaves_jobs_as_they_were() -> None:
    plain = adapter().spec
    assert pod_settings_digest(plain, PLATFORM.tenant_pods.changes()) == pod_settings_digest(plain)
    assert PLATFORM.tenant_pods.changes() == {}


@pytest.mark.parametrize(
    "platform",
    [asking(imagePullSecrets=[{"name": "pull"}]), asking(userIds={}), asking(labels={"a": "b"})],
    ids=["pull secrets", "user ids", "labels"],
)
def test_what_the_platform_asks_for_makes_other_jobs_of_those_that_are_stuck(platform: Platform) -> None:
    annotation = training({}, platform)["metadata"]["annotations"][labels.POD_SETTINGS]
    assert annotation == pod_settings_digest(adapter().spec, platform.tenant_pods.changes())
    assert annotation != training({}, PLATFORM)["metadata"]["annotations"][labels.POD_SETTINGS]
    assert import_settings_digest(base_model(), platform) != import_settings_digest(base_model(), PLATFORM)
    assert training({}, platform)["metadata"]["name"] == training({}, PLATFORM)["metadata"]["name"]


REFUSED: dict[str, tuple[Object, str]] = {
    "a label that we select by": ({"labels": {"graft.dev/owner-uid": "x"}}, "labels"),
    "a queue by another way": ({"labels": {"kueue.x-k8s.io/queue-name": "x"}}, "labels"),
    "the Job controller's label": ({"labels": {"batch.kubernetes.io/job-name": "x"}}, "labels"),
    "a value that is none of a label": ({"labels": {"note": "two words"}}, "labels"),
    "our run": ({"annotations": {"graft.dev/run": "{}"}}, "annotations"),
    "an annotation of AppArmor": (
        {"annotations": {"container.apparmor.security.beta.kubernetes.io/trainer": "unconfined"}},
        "annotations",
    ),
    "our variable": ({"env": [{"name": "GRAFT_REGISTRY", "value": "{}"}]}, "GRAFT_REGISTRY"),
    "pickles": ({"env": [{"name": "VLLM_ALLOW_INSECURE_SERIALIZATION", "value": "1"}]}, "INSECURE_SERIALIZATION"),
    "a priority above the cluster's own": ({"priorityClassName": "system-node-critical"}, "priorityClassName"),
    "a Secret of another namespace": (
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "../b/keys", "key": "k"}}}]},
        "secretKeyRef.name",
    ),
    "a field of the pod": (
        {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]},
        "fieldRef",
    ),
    "a volume": ({"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}, "volumes"),
    "a command": ({"command": ["sh"]}, "command"),
    "privileges": ({"securityContext": {"privileged": True}}, "securityContext"),
    "a host's network": ({"hostNetwork": True}, "hostNetwork"),
    "an affinity without values": (
        {
            "affinity": {
                "podAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "topologyKey": "zone",
                            "labelSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn"}]},
                        }
                    ]
                }
            }
        },
        "values must be given",
    ),
    "an affinity to other namespaces": (
        {
            "affinity": {
                "podAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {"topologyKey": "zone", "labelSelector": {}, "namespaces": ["team-b"]}
                    ]
                }
            }
        },
        "namespaces",
    ),
}


@pytest.mark.parametrize(("settings", "names"), REFUSED.values(), ids=REFUSED)
def test_nothing_that_leads_out_of_the_pod_is_taken(settings: Object, names: str) -> None:
    with pytest.raises(ValidationError, match=names):
        PodSettings.model_validate(settings)


@pytest.mark.parametrize(
    "name",
    [
        *("HF_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS"),
        *("SOURCE_HF_ENDPOINT", "SOURCE_AWS_ENDPOINT_URL", "SOURCE_HF_TOKEN"),
        *("PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "PYTHONWARNINGS", "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT"),
    ],
)
def test_where_tokens_go_and_what_runs_beside_them_is_not_for_an_object_to_say(name: str) -> None:
    variable = {"name": name, "valueFrom": {"configMapKeyRef": {"name": "mine", "key": "host"}}}
    for env in ([{"name": name, "value": "http://mine.example"}], [{"name": "A"}, variable]):
        with pytest.raises(
            ValidationError, match=f"env must not contain {name}: .* Secret graft-registry .* the chart"
        ):
            PodSettings.model_validate({"env": env})


def test_the_platform_team_may_say_it() -> None:
    env = {"HF_ENDPOINT": "https://hub.example.com", "PYTHONWARNINGS": "ignore"}
    assert asking(env=env).tenant_pods.env == env


@pytest.mark.parametrize(
    "name",
    [
        *("NCCL_SOCKET_IFNAME", "OMP_NUM_THREADS", "VLLM_LOGGING_LEVEL", "CUDA_LAUNCH_BLOCKING", "HTTPS_PROXY"),
        *("HF_HUB_ENABLE_HF_TRANSFER", "HF_HUB_DOWNLOAD_TIMEOUT", "AWS_REGION", "AWS_CA_BUNDLE", "SOURCEFORGE"),
        *("PYTORCH_CUDA_ALLOC_CONF", "TOKENIZERS_PARALLELISM", "OLD_LD", "LDFLAGS"),
    ],
)
def test_what_engines_and_trainings_are_tuned_by_is_taken(name: str) -> None:
    assert PodSettings.model_validate({"env": [{"name": name, "value": "1"}]}).env[0].name == name


ACCEPTED: dict[str, Object] = {
    "Azure's workload identity": {"labels": {"azure.workload.identity/use": "true"}},
    "Istio's and Linkerd's switches": {
        "labels": {"sidecar.istio.io/inject": "false"},
        "annotations": {"linkerd.io/inject": "disabled"},
    },
    "Karpenter and Cluster Autoscaler are kept away": {
        "annotations": {
            "karpenter.sh/do-not-disrupt": "true",
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        }
    },
    "Vault's injector": {"annotations": {"vault.hashicorp.com/agent-inject": "true"}},
    "a priority of one's own": {"priorityClassName": "systematic"},
    "an empty value": {"labels": {"canary": ""}, "env": [{"name": "NCCL_P2P_DISABLE"}]},
}


@pytest.mark.parametrize("settings", ACCEPTED.values(), ids=ACCEPTED)
def test_what_other_programs_go_by_is_taken(settings: Object) -> None:
    PodSettings.model_validate(settings)
