"""Preferences that are learned on top of a version: what they begin with, and when they can't."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.builders import (
    NOW,
    PLATFORM,
    adapter,
    base_id,
    base_model,
    digest,
    recipe_of,
    resolved_base,
    seen,
    version,
)
from tests.unit.registry.published_memory import LLAMA_2_7B

from graft_operator.api.base_model import Drift
from graft_operator.api.base_shape import BaseShape
from graft_operator.plan.known import Known, Unknown
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.decision import TrainingDecision
from graft_operator.plan.training.job import job_to_create
from graft_operator.plan.training.memory import estimate
from graft_operator.plan.training.plan import decide_training
from graft_operator.plan.training.recipe_choice import recipes_to_look_up, with_candidate
from graft_registry.documents import StoredVersion

SHAPE = {"rank": 16, "alpha": 32, "targetModules": ["q_proj"], "trainableParameters": 1, "allParameters": 2}
LEARNED = version(3, shape=SHAPE)


def preferring(reference: StoredVersion | None = LEARNED, **fields: Any) -> AdapterSnapshot:
    """Return what is seen of an adapter that goes on from version 3, with the choice of its recipe made."""
    subject = adapter(training={"objective": "DPO", "preference": {"referenceVersion": 3}})
    given = seen(subject, recipe=None, reference=reference, **fields)
    return with_candidate(replace(given, found={recipe: Known(None) for recipe in recipes_to_look_up(given)}))


def decided(given: AdapterSnapshot) -> TrainingDecision:
    decision = decide_training(given, NOW)
    assert decision is not None
    return decision


def test_a_training_begins_with_the_version_that_the_spec_names() -> None:
    given = preferring()
    assert decide_training(given, NOW) is None, "a Job is due"
    assert given.warm_start is not None
    assert (given.warm_start.number, given.warm_start.digest) == (3, LEARNED.digest)
    annotations = job_to_create(given, PLATFORM)["spec"]["template"]["metadata"]["annotations"]
    assert f'"manifestDigest": "{LEARNED.digest}"' in annotations["graft.dev/run"]


def test_another_version_of_that_number_is_another_training() -> None:
    assert preferring().recipe != preferring(version(3, shape=SHAPE, recipe=digest("trained anew"))).recipe


@pytest.mark.parametrize(
    ("reference", "reason", "says"),
    [
        pytest.param(None, "VersionNotFound", "version 3 is not in the registry", id="no such version"),
        pytest.param(
            version(3, shape=SHAPE, base="B"),
            "ReferenceOnOtherBase",
            "train with objective SFT on this base first",
            id="of another base",
        ),
        pytest.param(
            version(3, shape=SHAPE | {"rank": 8}),
            "ReferenceOfOtherShape",
            "use its method and rank",
            id="of another rank",
        ),
        pytest.param(
            version(3, shape=SHAPE, method="PiSSA"), "ReferenceOfOtherShape", "no PiSSA", id="of a method that ends"
        ),
    ],
)
def test_a_version_that_is_no_beginning_is_refused_before_a_gpu_is_taken(
    reference: StoredVersion | None, reason: str, says: str
) -> None:
    decision = decided(preferring(reference))
    assert decision.stalled is not None
    assert decision.stalled.reason == reason
    assert decision.accepted.reason == reason
    assert "spec.training.preference.referenceVersion" in decision.accepted.message
    assert says in decision.accepted.message


def test_a_version_may_be_there_while_the_registry_is_away() -> None:
    decision = decided(preferring(None, unknown=Unknown("RegistryUnavailable", "no route", is_transient=True)))
    assert decision.stalled is None
    assert decision.trained.reason == "RegistryUnavailable"


def test_on_a_changed_base_what_is_served_is_no_beginning() -> None:
    """It would be held near what it has learned on the base before; only what SFT has made is a warm start."""
    ways = {}
    for objective in ("SFT", "DPO"):
        subject = adapter(training={"objective": objective})
        live = version(1, recipe=recipe_of(subject), objective=objective)
        drift = Drift(previous=base_id("A"), verdict="Near", relative_change="0.1")
        bumped = base_model(resolved="B", status={"resolved": resolved_base("B").model_copy(update={"drift": drift})})
        ways[objective] = recipes_to_look_up(seen(subject, recipe=None, live=live, base=bumped))
    assert [len(recipes) for recipes in ways.values()] == [2, 1]


def test_both_answers_of_a_pair_take_memory() -> None:
    shape = BaseShape.of(LLAMA_2_7B)
    base = resolved_base(parameters=LLAMA_2_7B.parameters, dtype="bfloat16", shape=shape)
    needs = [estimate(adapter(training={"objective": objective}).spec, base) for objective in ("SFT", "KTO", "DPO")]
    sft, kto, dpo = (need.logits for need in needs if need is not None)
    assert sft == kto == dpo / 2
