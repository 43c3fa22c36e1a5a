"""The micro-batch after a want of memory: smaller, while an optimizer step sees as many rows as ever."""

from __future__ import annotations

import pytest
from tests.builders import PLATFORM, adapter, job, recipe_of, seen

from graft_operator.api.training import Training
from graft_operator.manifests.naming import training_job_name
from graft_operator.plan.training.job import adapter_as_trained, training_is_due
from graft_operator.plan.training.micro_batch import lowered_batch, next_micro_batch, smaller_batch, with_batch

RECIPE = recipe_of(adapter())
OVERFLOW = {"outcome_reason": "OutOfMemory"}

SMALLER = {1: None, 2: 1, 3: 1, 4: 2, 5: 1, 6: 3, 7: 1, 9: 3, 12: 6, 1024: 512}


@pytest.mark.parametrize(("rows", "smaller"), SMALLER.items())
def test_the_next_batch_is_at_most_half_and_divides_the_one_before(rows: int, smaller: int | None) -> None:
    assert smaller_batch(rows) == smaller


@pytest.mark.parametrize("rows", range(1, 65))
def test_every_batch_on_the_way_down_keeps_the_rows_of_a_step(rows: int) -> None:
    training, part = Training(batch_size=rows, gradient_accumulation=3), rows
    while (smaller := smaller_batch(part)) is not None:
        assert 2 * smaller <= part
        part = smaller
        lowered = with_batch(training, part)
        assert lowered.batch_size * lowered.gradient_accumulation == 3 * rows
    assert part == 1


DUE = {
    "nothing has run": ((), 4, None),
    "the Job before ran out of memory": ((job(RECIPE, "Failed", micro_batch=4, **OVERFLOW),), 2, 2),
    "it was made by a release that told no batch": ((job(RECIPE, "Failed", **OVERFLOW),), 2, 2),
    "it failed for another reason": ((job(RECIPE, "Failed", micro_batch=4, outcome_reason="Crashed"),), 4, None),
    "the smaller one runs": (
        (job(RECIPE, "Failed", micro_batch=4, **OVERFLOW), job(RECIPE, "Active", micro_batch=2)),
        2,
        2,
    ),
    "another recipe ran out of memory": ((job(recipe_of(adapter(lora={"rank": 8})), "Failed", **OVERFLOW),), 4, None),
}


@pytest.mark.parametrize(("jobs", "rows", "lowered"), DUE.values(), ids=DUE)
def test_the_batch_follows_from_the_jobs_that_are_there(jobs: tuple[object, ...], rows: int, lowered: int) -> None:
    given = seen(jobs=jobs)
    assert (next_micro_batch(given), lowered_batch(given)) == (rows, lowered)


def test_the_smaller_batch_is_trained_as_the_same_recipe_by_a_job_of_its_own() -> None:
    given = seen(jobs=(job(RECIPE, "Failed", micro_batch=4, **OVERFLOW),))
    training = adapter_as_trained(given).spec.training
    assert (training.batch_size, training.gradient_accumulation) == (2, 8)
    assert recipe_of(given.adapter) == given.recipe
    assert training_job_name("support", RECIPE, 2) == f"{training_job_name('support', RECIPE)}-b2"
    assert len(training_job_name("a" * 52, RECIPE, 512)) <= 60


def test_the_next_job_says_why_it_has_a_smaller_batch() -> None:
    given = seen(jobs=(job(RECIPE, "Failed", micro_batch=4, **OVERFLOW),))
    verdict = training_is_due(given, PLATFORM)
    assert verdict.trained.reason == "OutOfMemory"
    assert (
        f"Job {training_job_name('support', RECIPE, 2)} is created with batchSize 2 × gradientAccumulation 8"
        in verdict.trained.message
    )
