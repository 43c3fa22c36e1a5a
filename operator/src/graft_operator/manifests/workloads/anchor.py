"""What a base's serving objects belong to besides the base: its anchor, by which they stay while adapters name it.

Whoever deletes a base in the foreground, which Argo CD does unless told otherwise, has the garbage collector delete at
once whatever belongs to the base alone, though our finalizer keeps the base itself. It leaves alone what has another
owner that stays. The anchor is that owner: an empty ConfigMap that belongs to nobody, and goes when the base may go.
"""

from __future__ import annotations

from typing import Any, Final

from graft_operator.api.meta import ObjectMeta
from graft_operator.manifests import labels, naming
from graft_operator.manifests.workloads.serving import SERVING

SUFFIX: Final = "-anchor"
"""Of an anchor's name; the chart's policy knows anchors by it (templates/rbac/own-objects.yaml)."""


def anchor_name(base: ObjectMeta) -> str:
    """Return the name of a base's anchor. One of a former base of the same name has another."""
    return f"{naming.serving_name(base.name)}-{base.uid[: naming.SHORT]}{SUFFIX}"


def anchor_manifest(base: ObjectMeta) -> dict[str, Any]:
    """Return the anchor."""
    metadata = labels.object_meta("BaseModel", base, name=anchor_name(base), component=SERVING)
    del metadata["ownerReferences"]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def is_anchor(name: str) -> bool:
    """Whether one of our ConfigMaps is an anchor, by its name."""
    return name.endswith(SUFFIX)


def anchored(manifest: dict[str, Any], base: ObjectMeta, anchor_uid: str) -> dict[str, Any]:
    """Return a manifest of the base's with the anchor as a further owner, or as the only one of a base that is going.

    A reference to a base that is being deleted in the foreground would be taken off by the garbage collector again.
    """
    anchor = {"apiVersion": "v1", "kind": "ConfigMap", "name": anchor_name(base), "uid": anchor_uid}
    owners = [] if base.is_deleting else manifest["metadata"]["ownerReferences"]
    return manifest | {"metadata": manifest["metadata"] | {"ownerReferences": [*owners, anchor]}}
