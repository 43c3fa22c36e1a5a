"""A status that others have written: a newer release, a person, a pod that has much to say."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel as PydanticModel
from tests.builders import adapter, digest, served_version, version

import generate_crds
from graft_operator.api.adapter_status import AdapterServingStatus, LoraAdapterStatus, RaisedRank, Version
from graft_operator.api.conditions import MESSAGE_LIMIT
from graft_operator.plan.training.gate import GateDecision
from graft_operator.plan.training.versions import judged, record, summary

ENTRY = summary(version(1)).to_wire()
TARGET = served_version(1).to_wire()
FROM_A_NEWER_RELEASE: dict[str, dict[str, Any]] = {
    "a reason": {"versions": [ENTRY | {"reason": "Distilled"}]},
    "a state": {"versions": [ENTRY | {"state": "Quarantined"}]},
    "a field": {"versions": [ENTRY | {"signature": "x"}], "budget": {"gpuSeconds": 1}},
    "a mode": {"serving": {"mode": "Disaggregated", "target": TARGET}},
    "a mode of before": {"serving": {"target": TARGET, "former": {"mode": "Disaggregated", "version": TARGET}}},
    "a state of a training": {"training": {"job": "x", "recipe": digest("r"), "state": "Distilling"}},
    "a method": {"chosenMethod": {"method": "VeRA", "inputsDigest": digest("i")}},
    "a way to fail": {"failedTrainings": {"recipe": digest("r"), "reason": "TooHot"}},
}


@pytest.mark.parametrize("status", FROM_A_NEWER_RELEASE.values(), ids=FROM_A_NEWER_RELEASE)
def test_a_word_of_a_newer_release_is_read(status: dict[str, Any]) -> None:
    LoraAdapterStatus.model_validate(status)


def test_and_is_kept_when_the_status_is_written_again() -> None:
    read = LoraAdapterStatus.model_validate({"versions": [ENTRY | {"reason": "Distilled", "state": "Quarantined"}]})
    kept = LoraAdapterStatus(versions=record(read.versions, summary(version(2))))
    assert [(item.number, item.reason, item.state) for item in kept.versions] == [
        (2, "SpecChanged", "Published"),
        (1, "Distilled", "Quarantined"),
    ]


def test_a_version_in_an_unknown_state_is_left_as_it_is() -> None:
    known = Version.model_validate(ENTRY | {"state": "Quarantined", "message": "a person looks at it"})
    assert judged(version(1), GateDecision(True, "Passed", "better"), known) == known


def test_an_unknown_mode_leaves_the_alias_where_it_is() -> None:
    status = AdapterServingStatus.model_validate({"mode": "Disaggregated", "target": TARGET})
    assert status.version_served_as("MultiAdapter") == served_version(1)
    on_its_own = AdapterServingStatus.model_validate(
        {"mode": "Disaggregated", "target": TARGET, "endpoint": "http://x"}
    )
    assert on_its_own.version_served_as("MultiAdapter") is None


LONG = "x" * 40_000


def test_a_text_that_is_too_long_for_the_api_server_is_cut_even_in_a_changed_copy() -> None:
    serving = AdapterServingStatus().model_copy(update={"message": LONG})
    entry = summary(version(1)).model_copy(update={"message": LONG})
    status = LoraAdapterStatus(
        serving=serving, versions=(entry,), raised_rank=RaisedRank(rank=8, spec_digest=digest("s"), message=LONG)
    )
    assert status.raised_rank is not None
    texts = (status.serving.message, status.versions[0].message, status.raised_rank.message)
    assert [len(text) for text in texts] == [MESSAGE_LIMIT] * 3
    assert adapter(status={"serving": status.serving}).status.serving == status.serving


def closed_words(model: type[PydanticModel], path: str = "") -> Iterator[str]:
    """Yield the fields below a model that take only words of a list."""
    for field in model.model_fields.values():
        yield from _closed_words(field.annotation, f"{path}.{field.alias}")


def _closed_words(annotation: Any, path: str) -> Iterator[str]:
    if get_origin(annotation) in (Union, types.UnionType, tuple):
        for part in get_args(annotation):
            yield from _closed_words(part, path)
    elif get_origin(annotation) is Literal:
        yield path
    elif isinstance(annotation, type) and issubclass(annotation, PydanticModel):
        yield from closed_words(annotation, path)


KUBERNETES_OWN = {".conditions.status"}
OF_WHAT_IS_DROPPED = {".serving.mode", ".serving.former.mode"}
"""Modes that are not ours are read as none."""


def test_no_word_of_the_status_is_closed() -> None:
    assert set(closed_words(LoraAdapterStatus)) == KUBERNETES_OWN | OF_WHAT_IS_DROPPED
    definition = generate_crds.custom_resource_definition("LoraAdapter")
    status = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    closed = [path for path, node in generate_crds.nodes(status, "status") if "enum" in node]
    assert closed == ["status.conditions[].status"]
