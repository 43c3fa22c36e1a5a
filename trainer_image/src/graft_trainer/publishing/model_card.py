"""The README of a version, in the layout of model cards on the Hugging Face hub.

See https://huggingface.co/docs/hub/model-cards for the fields of the front matter. No measured time is in it, so the
same training gives the same bytes.
"""

from __future__ import annotations

import re

from huggingface_hub import EvalResult, ModelCardData

from graft_registry.documents import BaseReference, ImportedFrom, VersionDraft, VersionManifest
from graft_trainer.publishing.scores import scores
from graft_trainer.publishing.templating import render

REPOSITORY = re.compile(r"[A-Za-z0-9][\w-]*/[A-Za-z0-9][\w.-]*")
"""A name on a hub, which a path is only by chance."""
HELD_OUT = "held-out rows"
METRIC_TYPES = {"eval_loss": "loss", "perplexity": "perplexity", "exact_match": "exact_match"}
"""Names of our metrics on the hub."""


def model_card(draft: VersionDraft, previous: VersionManifest | None) -> str:
    """Render the card of a version; ``previous`` is the version that it is compared with."""
    return render(
        "model_card.md.jinja",
        {
            "front_matter": front_matter(draft),
            "draft": draft,
            "previous": previous,
            "scores": scores(draft, previous),
            "parameters": draft.hyperparameters,
            "other_base": base_of_another_name(draft.base, draft.imported),
        },
    )


def front_matter(draft: VersionDraft) -> str:
    """Return the YAML that the hub's search and libraries read."""
    data = ModelCardData(
        model_name=draft.adapter,
        base_model=base_model_id(draft.base),
        base_model_relation="adapter",
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["graft", draft.method.lower()],
        datasets=[draft.dataset.uri] if draft.dataset else None,
        metrics=list(METRIC_TYPES.values()),
        eval_results=evaluation_results(draft),
    )
    return str(data.to_yaml())


def base_model_id(base: BaseReference) -> str:
    """Return the hub's name of the base, or ours where it does not come from the hub."""
    return base.source.hugging_face.repo if base.source.hugging_face else base.name


def base_of_another_name(base: BaseReference, imported: ImportedFrom | None) -> str | None:
    """Return what an imported adapter calls its base, if that is another repository than the base's own.

    None where it says nothing, or a path on the machine that it was trained on. People rename, copy and quantize
    models, so another name alone is no proof of another base.
    """
    named = imported.base_model_name_or_path if imported else None
    repo = base.source.hugging_face.repo if base.source.hugging_face else None
    if named is None or repo is None or not REPOSITORY.fullmatch(named):
        return None
    return named if named.casefold() != repo.casefold() else None


def evaluation_results(draft: VersionDraft) -> list[EvalResult] | None:
    """Return the scores as the front matter's ``model-index`` holds them; None where nothing was measured."""
    if draft.dataset is None:
        return None
    measured = {metric: getattr(draft.metrics, field) for field, metric in METRIC_TYPES.items()}
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=draft.dataset.uri,
            dataset_name=HELD_OUT,
            metric_type=metric,
            metric_value=value,
        )
        for metric, value in measured.items()
        if value is not None
    ]
    return results or None
