"""The parts that all our pods share: the restricted security profile, the registry's environment, the base's files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from graft_operator.api.base_model import ResolvedBase, ServingRevision
from graft_operator.api.pods import Placement, PodSettings
from graft_operator.manifests.certificates import ca_environment, ca_mounts, ca_volumes
from graft_operator.manifests.platform import ContainerResources, Platform

BASE_DIR: Final = "/base"
CLAIM_DIR: Final = "/claim"
"""Where a claim with the base's files is mounted; ``/base`` then holds verified links into it."""

CONTAINER_SECURITY: Final[dict[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
}


SCRATCH_DIR: Final = "/tmp"  # noqa: S108 - an emptyDir of the pod
ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType({"HOME": SCRATCH_DIR, "USER": "graft", "LOGNAME": "graft"})
"""Of every container. A user id without a name in the image's passwd file has no name and
no home but these, and libraries ask for both as soon as they are imported."""

COMPILER_CACHE: Final = {"name": "TORCHINDUCTOR_CACHE_DIR", "value": f"{SCRATCH_DIR}/torchinductor"}
"""For containers with torch, which would put the user's name into the path."""

READABLE: Final = 0o444
"""Mode of mounted files. One container has them, and one user is in it; what only a group may read would need an
fsGroup, which not every platform gives."""


def pod_metadata(metadata: Mapping[str, Any], settings: PodSettings, platform: Platform) -> dict[str, Any]:
    """Return the metadata of a pod: ours, by which it is found, over what object and platform ask for."""
    tenant = platform.tenant_pods
    return {
        "labels": {**tenant.labels, **settings.labels, **metadata["labels"]},
        "annotations": {**tenant.annotations, **settings.annotations, **metadata["annotations"]},
    }


def pod_spec(settings: PodSettings, platform: Platform, **fields: Any) -> dict[str, Any]:
    """Return a pod spec under the *restricted* Pod Security Standard, as object and platform ask for it."""
    spec: dict[str, Any] = {
        "securityContext": {
            "runAsNonRoot": True,
            **platform.tenant_pods.user_ids.to_wire(),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "enableServiceLinks": False,
        "imagePullSecrets": pull_secrets(settings, platform),
        "priorityClassName": settings.priority_class_name or platform.tenant_pods.priority_class_name,
        **placed(settings),
        **fields,
        "volumes": [*fields["volumes"], *ca_volumes(settings, platform)],
    }
    for kind in ("initContainers", "containers"):
        if kind in spec:
            spec[kind] = [fitted(item, settings, platform) for item in spec[kind]]
    return {name: value for name, value in spec.items() if value not in ({}, [], None)}


def placed(placement: Placement) -> dict[str, Any]:
    """Return where a pod may run, as a part of its spec."""
    return {
        "nodeSelector": placement.node_selector,
        "tolerations": [toleration.to_wire() for toleration in placement.tolerations],
        "affinity": placement.affinity.to_wire() if placement.affinity else None,
        "runtimeClassName": placement.runtime_class_name,
    }


def spread(placement: Placement, selector: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return how the pods that the labels select are spread, as the object asks for it."""
    chosen = {"labelSelector": {"matchLabels": dict(selector)}}
    return [constraint.to_wire() | chosen for constraint in placement.topology_spread_constraints]


def pull_secrets(settings: PodSettings, platform: Platform) -> list[dict[str, str]]:
    """Return the Secrets that images are pulled with, each once.

    They stand in the pods. On the service accounts that Graft makes they would be a list that OpenShift edits, too.
    """
    named = (*settings.image_pull_secrets, *platform.tenant_pods.image_pull_secrets)
    return [{"name": name} for name in dict.fromkeys(reference.name for reference in named)]


def fitted(one: dict[str, Any], settings: PodSettings, platform: Platform) -> dict[str, Any]:
    """Return a container with what platform and object add to its environment, the latter last, and certificates."""
    variables = [
        *(variable(name, value) for name, value in ENVIRONMENT.items()),
        *ca_environment(settings, platform),
        *(variable(name, value) for name, value in platform.tenant_pods.env.items()),
        *one["env"],
        *(item.to_wire() for item in settings.env),
    ]
    by_name = {item["name"]: item for item in variables}
    return one | {"env": list(by_name.values()), "volumeMounts": [*one["volumeMounts"], *ca_mounts(settings, platform)]}


def container(name: str, image: str, platform: Platform, **fields: Any) -> dict[str, Any]:
    """Return a container with our security settings, and ``/tmp`` on a scratch volume.

    One that dies without a word of its own leaves the end of its log where the operator reads it.
    """
    mounts = [{"name": "tmp", "mountPath": SCRATCH_DIR}, *fields.pop("volumeMounts", [])]
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": platform.image_pull_policy,
        "securityContext": CONTAINER_SECURITY,
        "env": fields.pop("env", []),
        "volumeMounts": mounts,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **fields,
    }


def registry_env(platform: Platform) -> list[dict[str, Any]]:
    """Return where the registry is; who may use it comes from :func:`registry_credentials`."""
    return [variable("GRAFT_REGISTRY", json.dumps(dict(platform.registry), sort_keys=True))]


def registry_credentials(platform: Platform) -> list[dict[str, Any]]:
    """Return the tenant's own Secret as environment; optional, since workload identity needs none."""
    return [{"secretRef": {"name": platform.registry_secret_name, "optional": True}}]


def variable(name: str, value: str) -> dict[str, Any]:
    """Return one environment variable."""
    return {"name": name, "value": value}


def scratch(name: str, **fields: Any) -> dict[str, Any]:
    """Return an emptyDir volume."""
    return {"name": name, "emptyDir": fields}


def base_volumes(base: ResolvedBase | ServingRevision) -> list[dict[str, Any]]:
    """Return the volumes that hold the base: our own copy, and the claim when the files were left in place."""
    volumes = [scratch("base")]
    if base.claim_name:
        claim = {"claimName": base.claim_name, "readOnly": True}
        volumes.append({"name": "claim", "persistentVolumeClaim": claim})
    return volumes


def base_mounts(base: ResolvedBase | ServingRevision, *, writable: bool = False) -> list[dict[str, Any]]:
    """Return the mounts of :func:`base_volumes`."""
    mounts: list[dict[str, Any]] = [{"name": "base", "mountPath": BASE_DIR, "readOnly": not writable}]
    if base.claim_name:
        mounts.append({"name": "claim", "mountPath": CLAIM_DIR, "readOnly": True})
    return mounts


def fetch_base_container(
    namespace: str,
    base_name: str,
    base: ResolvedBase | ServingRevision,
    platform: Platform,
    *,
    weights: bool = True,
) -> dict[str, Any]:
    """Return the init container that puts the verified files of the base into ``/base``, or all but its weights."""
    wanted = {"namespace": namespace, "name": base_name, "digest": base.digest}
    if base.claim_path:
        wanted["path"] = f"{CLAIM_DIR}/{base.claim_path}"
    return container(
        "fetch-base",
        platform.registry_image,
        platform,
        args=["fetch-base", *([] if weights else ["--without-weights"])],
        env=[
            *registry_env(platform),
            variable("GRAFT_BASE", json.dumps(wanted, sort_keys=True)),
        ],
        envFrom=registry_credentials(platform),
        volumeMounts=base_mounts(base, writable=True),
        resources=resources_of(platform.fetch_resources),
    )


def resources_of(resources: ContainerResources) -> dict[str, Any]:
    """Return the platform's choice as a part of a manifest."""
    return {kind: dict(amounts) for kind, amounts in resources.items() if amounts}
