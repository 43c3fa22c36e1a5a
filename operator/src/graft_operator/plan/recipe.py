"""The recipe digest: the identity of a training, so that nothing is trained twice.

In: what decides the weights. Out: everything that doesn't, such as where the pod runs, how often it checkpoints, or
how strict the gate is. The trainer's image is recorded in the manifest but is no part of the recipe, so that an upgrade
of Graft does not train every adapter of a company again; ``RECIPE_SCHEMA`` is raised instead when a change of ours
makes old results wrong.
"""

from __future__ import annotations

from typing import Any, Final

from graft_operator.api.lora_adapter import LoraAdapterSpec
from graft_registry.digests import digest_of

RECIPE_SCHEMA: Final = 1

OPERATIONAL: Final = frozenset({"checkpointSeconds", "deadlineSeconds"})
"""Fields of ``training`` that don't decide the weights."""


def recipe_inputs(
    spec: LoraAdapterSpec, *, base_digest: str, dataset_digest: str | None, evaluation_digest: str | None
) -> dict[str, Any]:
    """Return the effective training inputs, with defaults applied, as plain JSON."""
    lora = spec.lora.to_wire() | {"alpha": spec.lora.effective_alpha}
    training = {name: value for name, value in spec.training.to_wire().items() if name not in OPERATIONAL}
    return {
        "schema": RECIPE_SCHEMA,
        "base": base_digest,
        "dataset": spec.dataset.to_wire(),
        "datasetDigest": dataset_digest,
        "evaluationDigest": evaluation_digest,
        "method": spec.method,
        "lora": lora,
        "training": training,
    }


def recipe_digest(
    spec: LoraAdapterSpec, *, base_digest: str, dataset_digest: str | None, evaluation_digest: str | None = None
) -> str:
    """Return ``sha256:…`` of the training inputs; the digests of rows are None where only the trainer can tell."""
    return digest_of(
        recipe_inputs(spec, base_digest=base_digest, dataset_digest=dataset_digest, evaluation_digest=evaluation_digest)
    )
