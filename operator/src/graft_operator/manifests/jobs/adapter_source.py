"""Where a pod finds an adapter that was trained elsewhere: what it is told (docs/contracts.md §4), what it mounts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from graft_operator.api.adapter_source import AdapterSource
from graft_operator.manifests.pods import READABLE, variable
from graft_registry.digests import digest_of

LOGIN_VOLUME: Final = "pull-secret"
LOGIN_DIR: Final = f"/{LOGIN_VOLUME}"
"""Where the login of an artefact's registry is mounted."""

ADAPTER_VOLUME: Final = "adapter"
ADAPTER_DIR: Final = f"/{ADAPTER_VOLUME}"
"""Where a claim that holds the adapter is mounted."""


def adapter_source_document(source: AdapterSource, content: str | None) -> dict[str, Any]:
    """Return what is to be imported; ``content`` is the digest of what must be there, None for whatever is."""
    return {"source": location_document(source), "digest": content}


def location_document(source: AdapterSource) -> dict[str, Any]:
    """Return where the adapter is: at a remote place, or in what the pod mounts. Raises ValueError for none of them."""
    if source.s3 is not None:
        return {"s3": {"uri": source.s3.uri}}
    if source.hugging_face is not None:
        return {"huggingFace": source.hugging_face.to_wire()}
    if source.oci is not None:
        return {"oci": {"image": source.oci.image}}
    claim = source.persistent_volume_claim
    if claim is None:
        raise ValueError("an adapter's source is one of s3, persistentVolumeClaim, huggingFace and oci")
    path = f"{ADAPTER_DIR}/{claim.path}" if claim.path else ADAPTER_DIR
    return {"directory": {"path": path, "uri": f"persistentVolumeClaim:{claim.claim_name}/{claim.path}"}}


def location_digest(location: Mapping[str, Any]) -> str:
    """Return the digest by which a location is known again, whether what is unset is written or left out."""
    return digest_of(_without_unset(location))


def adapter_volumes(source: AdapterSource | None) -> list[dict[str, Any]]:
    """Return the volume of a source that is mounted, or of the login that it needs."""
    if source is not None and source.persistent_volume_claim is not None:
        claim = {"claimName": source.persistent_volume_claim.claim_name, "readOnly": True}
        return [{"name": ADAPTER_VOLUME, "persistentVolumeClaim": claim}]
    if (name := pull_secret(source)) is not None:
        # Whole: Secrets of other types call the same file otherwise.
        return [{"name": LOGIN_VOLUME, "secret": {"secretName": name, "defaultMode": READABLE}}]
    return []


def adapter_mounts(source: AdapterSource | None) -> list[dict[str, Any]]:
    """Return the mount of :func:`adapter_volumes`."""
    names = (volume["name"] for volume in adapter_volumes(source))
    return [{"name": name, "mountPath": f"/{name}", "readOnly": True} for name in names]


def adapter_environment(source: AdapterSource | None) -> list[dict[str, Any]]:
    """Return the variable by which the registry's client finds the login that is mounted."""
    return [variable("SOURCE_DOCKER_CONFIG", LOGIN_DIR)] if pull_secret(source) is not None else []


def pull_secret(source: AdapterSource | None) -> str | None:
    """Return the name of the Secret with the login for an artefact's registry. It is no part of what is imported."""
    if source is None or source.oci is None or source.oci.pull_secret_ref is None:
        return None
    return source.oci.pull_secret_ref.name


def _without_unset(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {name: _without_unset(item) for name, item in value.items() if item not in (None, "")}
