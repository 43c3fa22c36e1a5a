"""The parts that all our pods share: the restricted security profile, the registry's environment, the base's files."""

from __future__ import annotations

import json
from typing import Any, Final

from graft_operator.api.base_model import ResolvedBase, ServingRevision
from graft_operator.api.pods import Placement
from graft_operator.manifests.platform import ContainerResources, Platform

USER_ID: Final = 65532
"""The conventional non-root user of minimal images."""

BASE_DIR: Final = "/base"
CLAIM_DIR: Final = "/claim"
"""Where a claim with the base's files is mounted; ``/base`` then holds verified links into it."""

CONTAINER_SECURITY: Final[dict[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
}


def pod_spec(placement: Placement, **fields: Any) -> dict[str, Any]:
    """Return a pod spec under the *restricted* Pod Security Standard, placed as the user asked."""
    spec: dict[str, Any] = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "enableServiceLinks": False,
        "nodeSelector": placement.node_selector,
        "tolerations": [toleration.to_wire() for toleration in placement.tolerations],
        **fields,
    }
    if placement.runtime_class_name:
        spec["runtimeClassName"] = placement.runtime_class_name
    return {name: value for name, value in spec.items() if value not in ({}, [], None)}


def container(name: str, image: str, platform: Platform, **fields: Any) -> dict[str, Any]:
    """Return a container with our security settings and ``HOME`` on a scratch volume.

    One that dies without a word of its own leaves the end of its log where the operator reads it.
    """
    environment = [{"name": "HOME", "value": "/tmp"}, *fields.pop("env", [])]  # noqa: S108 - an emptyDir of the pod
    mounts = [{"name": "tmp", "mountPath": "/tmp"}, *fields.pop("volumeMounts", [])]  # noqa: S108
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": platform.image_pull_policy,
        "securityContext": CONTAINER_SECURITY,
        "env": environment,
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
    namespace: str, base_name: str, base: ResolvedBase | ServingRevision, platform: Platform
) -> dict[str, Any]:
    """Return the init container that puts the verified files of the base into ``/base``."""
    wanted = {"namespace": namespace, "name": base_name, "digest": base.digest}
    if base.claim_path:
        wanted["path"] = f"{CLAIM_DIR}/{base.claim_path}"
    return container(
        "fetch-base",
        platform.registry_image,
        platform,
        args=["fetch-base"],
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
