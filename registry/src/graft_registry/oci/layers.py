"""What the layers of an artifact hold, whoever made it. Pure.

==================  ====================================================================================
made by             layers
==================  ====================================================================================
``oras push``       files as they are, named by ``org.opencontainers.image.title``, of any media type (that
                    of a tar by default, in its first releases); folders as archives, marked by ``unpack``
Graft               as above
modctl (ModelPack)  files as they are or each in a tar, named by ``….model.filepath``
KitOps              archives
docker build        archives that are laid over one another, with whiteouts
==================  ====================================================================================

So neither names nor media types tell archives from files, and the content is looked at (``archives``).
"""

import json
import re
from collections.abc import Sequence
from typing import Final

from graft_registry.adapters.publishable import ADAPTER_CONFIG
from graft_registry.errors import InvalidArtifact, Unsafe
from graft_registry.oci.manifests import Descriptor, Manifest

TITLE: Final = "org.opencontainers.image.title"
MODEL_PACK_PATH: Final = "org.cncf.model.filepath"
_NAMES: Final = (TITLE, MODEL_PACK_PATH, "org.cnai.model.filepath")
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_OTHER_PARTS: Final = re.compile(r"application/vnd\.(kitops\.modelkit|cncf\.model|cnai\.model)\.(dataset|code)\.")

_KNOWN_CONFIGS: Final = re.compile(r"application/vnd\.(oci\.(image\.config|empty)|docker|cncf|cnai|kitops|graft)\b")
"""Configurations that are never those of an adapter."""
_SMALLEST_SETTINGS: Final = 2
_LARGEST_SETTINGS_BYTES: Final = 1 << 20

LARGEST_ARTIFACT_BYTES: Final = 32 << 30
"""All layers that are downloaded together. Adapters have gigabytes at most; images that hold one may have more."""


def check_kind(manifest: Manifest, *, where: str) -> None:
    """Check that an artifact is not of a kind that never holds an adapter's own files.

    Raises:
        InvalidArtifact: it is; the message says what to do instead.
    """
    kinds = {manifest.kind, *(layer.media_type for layer in manifest.layers)}
    if any(kind.startswith("application/vnd.ollama.") for kind in kinds):
        raise InvalidArtifact(
            f"{where} is an Ollama model, whose adapters are GGUF; push the adapter_config.json and "
            "adapter_model.safetensors that it was converted from"
        )
    if any(kind.startswith("application/vnd.cncf.helm.") for kind in kinds):
        raise InvalidArtifact(f"{where} is a Helm chart, not an adapter")


def layers_to_bring(manifest: Manifest, *, where: str) -> Sequence[Descriptor]:
    """Return the layers that may hold an adapter's files: without pickles, datasets and code.

    Raises:
        InvalidArtifact: they are larger than any adapter.
    """
    wanted = [
        layer
        for layer in manifest.layers
        if not _OTHER_PARTS.match(layer.media_type) and not is_pickle(layer_name(layer) or "")
    ]
    size = sum(layer.size for layer in wanted)
    if size > LARGEST_ARTIFACT_BYTES:
        raise InvalidArtifact(
            f"{where} has layers of {size >> 30} GiB together, at most {LARGEST_ARTIFACT_BYTES >> 30} are brought; "
            "push the adapter's files alone"
        )
    return wanted


def settings_in_config(manifest: Manifest) -> Descriptor | None:
    """Return the configuration of an artifact where it may be the adapter's own, as `oras push --config` makes it."""
    config = manifest.config
    if config is None or not _SMALLEST_SETTINGS < config.size <= _LARGEST_SETTINGS_BYTES:
        return None
    named = config.model_copy(update={"annotations": {TITLE: ADAPTER_CONFIG}})
    return None if _KNOWN_CONFIGS.match(config.media_type) else named


def is_settings(content: bytes) -> bool:
    """Return whether a file's content is an adapter's configuration, whatever it is called."""
    try:
        settings = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(settings, dict) and "peft_type" in settings


def is_pickle(name: str) -> bool:
    """Return whether a file of this name is a pickle, or may be one. None is ever brought."""
    return name.lower().endswith(_PICKLES)


def layer_name(layer: Descriptor) -> str | None:
    """Return what a layer's annotations call its file."""
    return layer.annotation(*_NAMES)


def plain_path(name: str) -> str:
    """Return a name from an archive or annotation as a path below the artifact's root.

    Raises:
        Unsafe: it leads out of there.
    """
    segments = [segment for segment in name.replace("\\", "/").split("/") if segment not in ("", ".")]
    if ".." in segments or "\0" in name:
        raise Unsafe(name, "leads out of the artifact")
    return "/".join(segments)
