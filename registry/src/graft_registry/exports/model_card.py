"""The README of a version as hubs read it: YAML between ``---`` that names base, library, tags and scores. Pure.

See https://huggingface.co/docs/hub/model-cards and https://github.com/huggingface/hub-docs (modelcard.md).
"""

from typing import Any, Final

from graft_registry.documents import BaseReference, VersionManifest

_METRICS: Final = {"evalLoss": "loss", "perplexity": "perplexity", "exactMatch": "exact_match"}
"""Our names of scores, and the hub's."""
_TASK: Final = "text-generation"
_FENCE: Final = "---"


def base_model_id(base: BaseReference) -> str:
    """Return the hub's name of a base, or ours where it does not come from the hub."""
    return base.source.hugging_face.repo if base.source.hugging_face else base.name


def split_card(text: str) -> tuple[str, str]:
    """Part a README into its front matter, empty where it has none, and the rest."""
    lines = text.removeprefix("\ufeff").splitlines(keepends=True)
    if not lines or lines[0].strip() != _FENCE:
        return "", text
    for number, line in enumerate(lines[1:], start=1):
        if line.strip() == _FENCE:
            return "".join(lines[1:number]), "".join(lines[number + 1 :])
    return "", text


def front_matter(manifest: VersionManifest, before: dict[str, Any]) -> dict[str, Any]:
    """Return what the hub reads: what the card says already, and what it has to say of an adapter and its base."""
    document = manifest.to_dict()
    tags = before.get("tags")
    known = [str(tag) for tag in tags] if isinstance(tags, list) else []
    said = {
        **before,
        "base_model": base_model_id(manifest.base),
        "base_model_relation": "adapter",
        "library_name": "peft",
        "pipeline_tag": before.get("pipeline_tag") or _TASK,
        "tags": list(dict.fromkeys([*known, "graft", "lora", manifest.method.lower()])),
    }
    if results := _results(manifest, document):
        said["model-index"] = [{"name": manifest.adapter, "results": [results]}]
    return said


def _results(manifest: VersionManifest, document: dict[str, Any]) -> dict[str, Any] | None:
    measured = {metric: document["metrics"].get(name) for name, metric in _METRICS.items()}
    metrics = [{"type": metric, "value": value} for metric, value in measured.items() if value is not None]
    if not metrics:
        return None
    uri = (document.get("dataset") or {}).get("uri") or "unknown"
    return {
        "task": {"type": _TASK},
        "dataset": {"type": uri, "name": "held-out rows"},
        "metrics": metrics,
    }


def plain_body(manifest: VersionManifest) -> str:
    """Return the text of a card for a version that has none."""
    base = manifest.base
    return (
        f"\n# {manifest.adapter}\n\nVersion {manifest.number} of a {manifest.method} adapter for the base "
        f"`{base_model_id(base)}`, revision `{base.revision}` ({base.digest}).\n"
    )
