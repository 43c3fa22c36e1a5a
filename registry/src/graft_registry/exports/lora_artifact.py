"""A version as an OCI artifact (docs/export.md): the same version gives the same bytes, wherever it goes. Pure.

Layers are the files as they are, under the media types of CNCF ModelPack and the names of both ORAS and ModelPack. The
configuration is the version's own manifest, so its digest is the version's. What ModelPack's configuration has no field
for yet, that this is a LoRA adapter and of which base, stands in the annotations, to be read without any download.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from graft_registry.digests import canonical_json, sha256_digest
from graft_registry.documents import StoredFile, VersionManifest
from graft_registry.oci.layers import MODEL_PACK_PATH, TITLE
from graft_registry.oci.manifests import OCI_MANIFEST

ARTIFACT_TYPE: Final = "application/vnd.graft.lora-adapter.v1"
CONFIG_TYPE: Final = "application/vnd.graft.version.v1+json"
WEIGHTS_TYPE: Final = "application/vnd.cncf.model.weight.v1.raw"
SETTINGS_TYPE: Final = "application/vnd.cncf.model.weight.config.v1.raw"
DOCUMENT_TYPE: Final = "application/vnd.cncf.model.doc.v1.raw"
_OURS: Final = "dev.graft."
_STANDARD: Final = "org.opencontainers.image."


@dataclass(frozen=True, slots=True)
class LoraArtifact:
    """An artifact's manifest as it is stored, and the digest that names it for ever."""

    manifest: bytes

    @property
    def digest(self) -> str:
        """The artifact's digest."""
        return sha256_digest(self.manifest)


def artifact_of(manifest: VersionManifest, manifest_bytes: bytes) -> LoraArtifact:
    """Return the artifact of a version."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": {
            "mediaType": CONFIG_TYPE,
            "digest": sha256_digest(manifest_bytes),
            "size": len(manifest_bytes),
        },
        "layers": [_layer(file) for file in manifest.adapter_files],
        "annotations": annotations_of(manifest),
    }
    return LoraArtifact(canonical_json(document))


def _layer(file: StoredFile) -> dict[str, Any]:
    return {
        "mediaType": _media_type(file.path),
        "digest": f"sha256:{file.sha256}",
        "size": file.size,
        "annotations": {TITLE: file.path, MODEL_PACK_PATH: file.path},
    }


def _media_type(path: str) -> str:
    if path.endswith(".safetensors"):
        return WEIGHTS_TYPE
    return SETTINGS_TYPE if path.endswith(".json") else DOCUMENT_TYPE


def annotations_of(manifest: VersionManifest) -> dict[str, str]:
    """Return what an artifact says of itself. All values are text; lists and scores are JSON."""
    document = manifest.to_dict()
    base, shape = manifest.base, manifest.shape
    scores = {name: value for name, value in document["metrics"].items() if value is not None}
    hub = base.source.hugging_face
    said = {
        f"{_STANDARD}created": manifest.created_time,
        f"{_STANDARD}title": f"{manifest.namespace}/{manifest.adapter}",
        f"{_STANDARD}version": str(manifest.number),
        f"{_OURS}lora.base.name": base.name,
        f"{_OURS}lora.base.digest": base.digest,
        f"{_OURS}lora.base.revision": base.revision,
        f"{_OURS}lora.base.repository": hub.repo if hub else None,
        f"{_OURS}lora.method": manifest.method,
        f"{_OURS}lora.rank": str(shape.rank),
        f"{_OURS}lora.alpha": json.dumps(shape.alpha),
        f"{_OURS}lora.target-modules": json.dumps(list(shape.target_modules)),
        f"{_OURS}recipe": manifest.recipe,
        f"{_OURS}scores": json.dumps(scores, sort_keys=True),
    }
    return {name: value for name, value in said.items() if value is not None}
