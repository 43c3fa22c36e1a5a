"""The verdict on a new revision of a base."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import base_manifest, digest

from graft_registry.documents import BaseManifest, DriftVerdict
from graft_registry.documents.base import base_digest
from graft_registry.models.drift import NEAR_CHANGE, classify

BEFORE = base_manifest("A")


def changed(weights: str = "A", **fingerprint: Any) -> BaseManifest:
    """Return the base before with other weights or with fields of its fingerprint replaced."""
    manifest = base_manifest(weights)
    fingerprint_now = manifest.fingerprint.model_copy(update=fingerprint)
    fields = {"fingerprint": fingerprint_now, "digest": base_digest(manifest.weights_digest, fingerprint_now)}
    return manifest.model_copy(update=fields)


OTHER_TOKENIZER = {"tokenizer_digest": digest("other tokenizer")}
VERDICTS: dict[str, tuple[BaseManifest, float | None, DriftVerdict]] = {
    "the same content is the same base": (BEFORE, None, "Equal"),
    "another tokenizer over the same weights": (changed(**OTHER_TOKENIZER), 0.0, "TokenizerOnly"),
    "another chat template over the same weights": (
        changed(chat_template_digest=digest("template")),
        0.0,
        "TokenizerOnly",
    ),
    "weights that were trained a little further are near": (changed("B"), 0.154, "Near"),
    "the same weights in other files are near": (changed("B"), 0.0, "Near"),
    "a longer context over the same weights is near": (changed(max_positions=128), 0.0, "Near"),
    "another tokenizer and weights that moved a little are near": (changed("B", **OTHER_TOKENIZER), 0.1, "Near"),
    "the limit itself is near": (changed("B"), NEAR_CHANGE, "Near"),
    "beyond the limit it is another model": (changed("B"), NEAR_CHANGE + 0.001, "Different"),
    "independent weights are another model": (changed("B"), 1.43, "Different"),
    "what was not measured counts as different": (changed("B"), None, "Different"),
    "another layer is another model": (changed("B", layers=2), 0.1, "Different"),
    "other heads are another model, though all shapes agree": (
        changed("B", attention_heads=2),
        0.1,
        "Different",
    ),
    "a larger vocabulary is another model": (changed(vocab_size=64, shapes_digest=digest("more")), 0.0, "Different"),
}


@pytest.mark.parametrize(("current", "change", "verdict"), VERDICTS.values(), ids=VERDICTS)
def test_verdict(current: BaseManifest, change: float | None, verdict: DriftVerdict) -> None:
    assert classify(BEFORE, current, change) == verdict
