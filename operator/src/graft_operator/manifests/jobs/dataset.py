"""How a training pod gets its rows: what the trainer is told about them, and which volumes it mounts for them."""

from __future__ import annotations

from typing import Any, Final

from graft_operator.api.dataset import ClaimDataset, Dataset, DatasetSource, HuggingFaceDataset, MixedDataset, S3Dataset

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
        **mix_document(dataset),
        "evaluation": {
            "splitPercent": dataset.evaluation_percent,
            "source": source_document(own, f"/{EVALUATION_VOLUME}") if own else None,
            "digest": evaluation_digest,
        },
    }


def mix_document(dataset: Dataset) -> dict[str, Any]:
    """Return the sets beside the first, with their weights; nothing where there are none."""
    if not dataset.mix:
        return {}
    return {
        "weight": dataset.effective_weight,
        "mix": [
            {
                "source": _remote_or_claim(one.s3, one.hugging_face, one.persistent_volume_claim, f"/{volume}"),
                "weight": one.weight,
                "format": one.format,
                "fileType": one.file_type,
                "columns": one.columns,
                "digest": one.s3.digest if one.s3 is not None else None,
            }
            for volume, one in _mixed(dataset)
        ],
    }


def source_document(source: DatasetSource, directory: str) -> dict[str, Any]:
    """Return where the trainer finds the rows: at a remote place, or in what the pod mounts below ``directory``."""
    if source.config_map is not None:
        name, key = source.config_map.name, source.config_map.key
        return {"file": {"path": f"{directory}/{key}", "uri": f"configMap:{name}/{key}"}}
    return _remote_or_claim(source.s3, source.hugging_face, source.persistent_volume_claim, directory)


def _remote_or_claim(
    s3: S3Dataset | None, hub: HuggingFaceDataset | None, claim: ClaimDataset | None, directory: str
) -> dict[str, Any]:
    if s3 is not None:
        return {"s3": {"uri": s3.uri}}
    if hub is not None:
        return {"huggingFace": hub.to_wire()}
    if claim is None:
        raise ValueError("a dataset source names one of s3, huggingFace, configMap and persistentVolumeClaim")
    return {
        "file": {"path": f"{directory}/{claim.path}", "uri": f"persistentVolumeClaim:{claim.claim_name}/{claim.path}"}
    }


def dataset_volumes(dataset: Dataset | None) -> list[dict[str, Any]]:
    """Return the volumes of the sources that are mounted; none for an adapter that has no rows."""
    if dataset is None:
        return []
    sources = ((TRAINING_VOLUME, dataset), (EVALUATION_VOLUME, dataset.evaluation), *_mixed(dataset))
    return [{"name": name, **volume} for name, source in sources if source and (volume := _volume(source))]


def _mixed(dataset: Dataset) -> list[tuple[str, MixedDataset]]:
    """Return the sets beside the first, each with the volume that it is mounted from if it is on a claim."""
    return [(f"mix-data-{number}", one) for number, one in enumerate(dataset.mix)]


def _volume(source: DatasetSource | MixedDataset) -> dict[str, Any] | None:
    if isinstance(source, DatasetSource) and source.config_map is not None:
        return {"configMap": {"name": source.config_map.name}}
    if source.persistent_volume_claim is not None:
        return {"persistentVolumeClaim": {"claimName": source.persistent_volume_claim.claim_name, "readOnly": True}}
    return None
