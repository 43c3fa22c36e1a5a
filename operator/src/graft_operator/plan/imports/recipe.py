"""The recipe digest of an import: its identity, so that nothing is imported twice.

In: the base, the source in the user's words with the content that it must have, what is asked for golden prompts and
scores, and the rows where there are some. Out: all that only a training knows, and the limits of the gate.
"""

from __future__ import annotations

from typing import Any, Final

from graft_operator.api.adapter_source import AdapterSource
from graft_operator.api.lora_adapter import LoraAdapterSpec
from graft_operator.manifests.jobs.training_job import evaluation_document
from graft_operator.plan.training.recipe import dataset_inputs, in_mode
from graft_registry.digests import digest_of

IMPORT_SCHEMA: Final = 1

ABOUT_LOOKS: Final = frozenset({"digest", "interval", "onBaseChange"})
"""Fields of ``source`` that say when it is read, and not what; the content stands beside them."""


def import_inputs(
    spec: LoraAdapterSpec,
    *,
    base_digest: str,
    content: str | None,
    dataset_digest: str | None,
    evaluation_digest: str | None,
) -> dict[str, Any]:
    """Return what decides an import, as plain JSON. Raises ValueError for a spec without a source."""
    if spec.source is None:
        raise ValueError("an adapter without spec.source is not imported")
    return {
        "schema": IMPORT_SCHEMA,
        "kind": "Import",
        "base": base_digest,
        "adapterSource": {"source": named_source(spec.source), "digest": content},
        "evaluation": evaluation_document(spec.evaluation),
        "dataset": dataset_inputs(spec.dataset) if spec.dataset else None,
        "datasetDigest": dataset_digest,
        "evaluationDigest": evaluation_digest,
        **({"merged": True} if spec.serving.mode == "Merged" else {}),
    }


def named_source(source: AdapterSource) -> dict[str, Any]:
    """Return the source as the user names it, without the login by which it is read."""
    oci = source.oci.model_copy(update={"pull_secret_ref": None}) if source.oci is not None else None
    named = source.model_copy(update={"oci": oci}).to_wire()
    return {name: value for name, value in named.items() if name not in ABOUT_LOOKS}


def import_recipes(
    spec: LoraAdapterSpec,
    *,
    base_digest: str,
    content: str | None,
    dataset_digest: str | None,
    evaluation_digest: str | None,
) -> tuple[str, ...]:
    """Return the recipes whose versions fulfil the spec: first its own, which is imported where there is none of them.

    As of a training, a merged version holds the adapter, too, and does for the other modes.
    """
    digests = (
        digest_of(
            import_inputs(
                asked,
                base_digest=base_digest,
                content=content,
                dataset_digest=dataset_digest,
                evaluation_digest=evaluation_digest,
            )
        )
        for asked in (spec, in_mode(spec, "Merged"))
    )
    return tuple(dict.fromkeys(digests))
