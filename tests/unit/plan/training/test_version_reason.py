"""Why the next version is made."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import adapter, base_model, digest, resolved_base, seen, served_version, version

from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.job import is_readaptation, new_version_reason
from graft_operator.plan.training.recipe import spec_digest
from graft_operator.plan.training.versions import of_spec, summary

LIVE = version(1)
ROWS: dict[str, Any] = {"configMap": {"name": "rows", "key": "train.jsonl"}}


def s3(**fields: Any) -> dict[str, Any]:
    return {"dataset": {"s3": {"uri": "s3://data/train.jsonl"} | fields}}


def served_from(before: LoraAdapter, now: LoraAdapter, **fields: Any) -> AdapterSnapshot:
    """An adapter that is served from the spec of ``before`` and has that of ``now``."""
    entry = of_spec(summary(LIVE), LIVE.manifest.recipe, spec_digest(before.spec))
    status = now.status.model_copy(
        update={
            "versions": (entry,),
            "serving": now.status.serving.model_copy(update={"target": served_version(1)}),
        }
    )
    return seen(now.model_copy(update={"status": status}), **{"live": LIVE} | fields)


def only_published(before: LoraAdapter, now: LoraAdapter, *states: str, **fields: Any) -> AdapterSnapshot:
    """An adapter that is not served, whose versions 1, 2, … on base A were made from the spec of ``before``."""
    entries = [
        of_spec(summary(version(number), state), digest(f"recipe of version {number}"), spec_digest(before.spec))  # type: ignore[arg-type]
        for number, state in enumerate(states, 1)
    ]
    status = now.status.model_copy(update={"versions": tuple(reversed(entries))})
    return seen(now.model_copy(update={"status": status}), **fields)


UNSERVED = adapter(serving={"mode": "None"})
PROMPT = adapter(method="PromptTuning", serving={"mode": "None"})
BUMPED = base_model(resolved="B", serves=("A", "B"))

REASONS: dict[str, tuple[AdapterSnapshot, str]] = {
    "the first version": (seen(), "SpecChanged"),
    "another rank": (served_from(adapter(), adapter(lora={"rank": 8})), "SpecChanged"),
    "another object": (
        served_from(adapter(), adapter(dataset={"s3": {"uri": "s3://data/other.jsonl"}})),
        "SpecChanged",
    ),
    "another digest of the same object": (
        served_from(adapter(**s3(digest=digest("old"))), adapter(**s3(digest=digest("new")))),
        "DataChanged",
    ),
    "another digest of the rows for evaluation": (
        served_from(
            adapter(dataset=ROWS | {"evaluation": {"s3": {"uri": "s3://data/eval.jsonl"}}}),
            adapter(dataset=ROWS | {"evaluation": {"s3": {"uri": "s3://data/eval.jsonl", "digest": digest("new")}}}),
        ),
        "DataChanged",
    ),
    "other rows in the same ConfigMap": (
        served_from(adapter(dataset=ROWS), adapter(dataset=ROWS), dataset_digest=digest("new rows")),
        "DataChanged",
    ),
    "other rows and another rank": (
        served_from(adapter(dataset=ROWS), adapter(dataset=ROWS, lora={"rank": 8}), dataset_digest=digest("new rows")),
        "SpecChanged",
    ),
    "another base": (served_from(adapter(), adapter(), base=BUMPED), "BaseModelChanged"),
    "another base and another rank": (
        served_from(adapter(), adapter(lora={"rank": 8}), base=BUMPED),
        "BaseModelChanged",
    ),
    "another rank on the base that policy Never keeps": (
        served_from(adapter(), adapter(lora={"rank": 8}), base=BUMPED, kept_base=resolved_base("A")),
        "SpecChanged",
    ),
    "another base of an adapter that is published only": (
        only_published(UNSERVED, UNSERVED, "Published", base=BUMPED),
        "BaseModelChanged",
    ),
    "another base of a trained prompt": (only_published(PROMPT, PROMPT, "Published", base=BUMPED), "BaseModelChanged"),
    "another base, and the newest version had failed its gate": (
        only_published(UNSERVED, UNSERVED, "Published", "Rejected", base=BUMPED),
        "BaseModelChanged",
    ),
    "another base of an adapter that never had a version": (
        only_published(UNSERVED, UNSERVED, "Rejected", base=BUMPED),
        "SpecChanged",
    ),
    "another rank of one that is published only": (
        only_published(UNSERVED, adapter(lora={"rank": 8}, serving={"mode": "None"}), "Published"),
        "SpecChanged",
    ),
    "other rows of one that is published only": (
        only_published(UNSERVED, UNSERVED, "Published", dataset_digest=digest("new rows")),
        "DataChanged",
    ),
    "a live version that the status tells nothing of": (
        seen(adapter(dataset=ROWS), live=LIVE, dataset_digest=digest("new rows")),
        "SpecChanged",
    ),
}


@pytest.mark.parametrize(("given", "reason"), REASONS.values(), ids=REASONS)
def test_reason(given: AdapterSnapshot, reason: str) -> None:
    assert new_version_reason(given) == reason
    assert is_readaptation(given) == (reason == "BaseModelChanged")
