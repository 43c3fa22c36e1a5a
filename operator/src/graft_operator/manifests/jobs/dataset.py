"""How a training pod gets its rows: what the trainer is told about them, and which volumes it mounts for them."""

from __future__ import annotations

from typing import Any, Final

from graft_operator.api.dataset import Dataset, DatasetSource

TRAINING_VOLUME: Final = "data"
EVALUATION_VOLUME: Final = "eval-data"
"""Volumes are mounted below the root, under their own names."""


def dataset_document(
    dataset: Dataset | None, *, digest: str | None, evaluation_digest: str | None
) -> dict[str, Any] | None:
    """Return the dataset as the trainer reads it (docs/contracts.md §4); a digest is None where nobody knows it yet."""
    if dataset is None:
        return None
    own = dataset.evaluation
    return {
        "source": source_document(dataset, f"/{TRAINING_VOLUME}"),
        "format": dataset.format,
        "fileType": dataset.file_type,
        "columns": dataset.columns,
        "maxDroppedPercent": dataset.max_dropped_percent,
        "digest": digest,
        "evaluation": {
            "splitPercent": dataset.evaluation_percent,
            "source": source_document(own, f"/{EVALUATION_VOLUME}") if own else None,
            "digest": evaluation_digest,
        },
    }


def source_document(source: DatasetSource, directory: str) -> dict[str, Any]:
    """Return where the trainer finds the rows: at a remote place, or in what the pod mounts below ``directory``."""
    if source.s3 is not None:
        return {"s3": {"uri": source.s3.uri}}
    if source.hugging_face is not None:
        return {"huggingFace": source.hugging_face.to_wire()}
    if source.config_map is not None:
        name, key = source.config_map.name, source.config_map.key
        return {"file": {"path": f"{directory}/{key}", "uri": f"configMap:{name}/{key}"}}
    claim = source.persistent_volume_claim
    if claim is None:
        raise ValueError("a dataset source names one of s3, huggingFace, configMap and persistentVolumeClaim")
    return {
        "file": {"path": f"{directory}/{claim.path}", "uri": f"persistentVolumeClaim:{claim.claim_name}/{claim.path}"}
    }


def dataset_volumes(dataset: Dataset | None) -> list[dict[str, Any]]:
    """Return the volumes of the sources that are mounted; none for an adapter that has no rows."""
    if dataset is None:
        return []
    sources = ((TRAINING_VOLUME, dataset), (EVALUATION_VOLUME, dataset.evaluation))
    return [{"name": name, **volume} for name, source in sources if source and (volume := _volume(source))]


def _volume(source: DatasetSource) -> dict[str, Any] | None:
    if source.config_map is not None:
        return {"configMap": {"name": source.config_map.name}}
    if source.persistent_volume_claim is not None:
        return {"persistentVolumeClaim": {"claimName": source.persistent_volume_claim.claim_name, "readOnly": True}}
    return None
