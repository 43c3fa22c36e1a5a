"""Adapters that were trained elsewhere: when they are imported, as what, and what becomes of them on a changed base."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.builders import (
    NOW,
    PLATFORM,
    adapter,
    answering_pod,
    base_id,
    base_model,
    digest,
    import_recipe_of,
    imported_adapter,
    imported_version,
    job,
    recipe_of,
    resolved_base,
    seen,
    version,
)
from tests.unit.registry.published_memory import LLAMA_2_7B

from graft_operator.api.adapter_status import AdapterServingStatus, LoraAdapterStatus, VersionState
from graft_operator.api.base_model import ReadaptationStatus
from graft_operator.api.base_shape import BaseShape
from graft_operator.api.conditions import find
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.plan.actions import CreateJob, Plan
from graft_operator.plan.adapter.fast_path import is_settled
from graft_operator.plan.adapter.plan import plan_adapter
from graft_operator.plan.base.readaptation import wants_readaptation
from graft_operator.plan.imports.origin import homes, is_bound, is_imported_on, known_source
from graft_operator.plan.known import Known
from graft_operator.plan.rollout.plan import served
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.gate import judge
from graft_operator.plan.training.job import job_to_create
from graft_operator.plan.training.versions import summary
from graft_registry.documents import StoredVersion, VersionVerdict

WITH_ROWS: dict[str, Any] = {"dataset": {"s3": {"uri": "s3://data/train.jsonl"}}}


def observed(subject: LoraAdapter, *stored: StoredVersion, on: str = "A", **fields: Any) -> AdapterSnapshot:
    """Return what is seen of an adapter on a base, with these versions in the registry and the newest one served."""
    live = stored[-1] if stored else None
    serving = {"target": served(live)} if live else {}
    status = subject.status.model_copy(
        update={
            "versions": tuple(summary(item) for item in reversed(stored)),
            "serving": AdapterServingStatus(mode="MultiAdapter", **serving),
        }
    )
    subject = subject.model_copy(update={"status": status})
    letters = ("A",) if on == "A" else ("A", on)
    defaults: dict[str, Any] = {
        "base": base_model(resolved=on, serves=letters),
        "live": live,
        "found": {item.manifest.recipe: Known(item) for item in stored},
        "pods": (answering_pod(live, base="A"),) if live else (),
        "recipe": None,
    }
    return seen(subject, **defaults | fields)


def kept_on_a(snapshot: AdapterSnapshot) -> AdapterSnapshot:
    """Return what is seen once the registry has told of the base that the adapter is bound to."""
    return replace(snapshot, kept_base=resolved_base("A"))


def planned(snapshot: AdapterSnapshot) -> Plan:
    return plan_adapter(snapshot, NOW, PLATFORM)


def told(plan: Plan, kind: str) -> tuple[str, str]:
    assert isinstance(plan.status, LoraAdapterStatus)
    found = find(plan.status.conditions, kind)
    assert found is not None
    return found.status, found.reason


def created(plan: Plan) -> list[str]:
    return [action.manifest["metadata"]["name"] for action in plan.extras if isinstance(action, CreateJob)]


def test_an_import_is_a_job_of_its_own_name() -> None:
    plan = planned(observed(imported_adapter()))
    assert created(plan) == [f"support-import-{import_recipe_of(imported_adapter()).removeprefix('sha256:')[:8]}"]
    assert told(plan, "Trained") == ("False", "JobCreated")


def test_the_job_is_told_what_to_import_and_nothing_of_rows() -> None:
    subject = imported_adapter(source={"digest": digest("content")}, evaluation={"prompts": ["Who are you?"]})
    run = run_of(observed(subject))
    assert run["adapterSource"] == {"source": {"s3": {"uri": "s3://models/support/"}}, "digest": digest("content")}
    assert (run["dataset"], run["reason"], run["warmStart"]) == (None, "Imported", None)
    assert run["evaluation"] == {"probes": [], "prompts": ["Who are you?"]}


def run_of(snapshot: AdapterSnapshot) -> dict[str, Any]:
    [action] = [action for action in planned(snapshot).extras if isinstance(action, CreateJob)]
    annotations = action.manifest["spec"]["template"]["metadata"]["annotations"]
    found: dict[str, Any] = json.loads(annotations["graft.dev/run"])
    return found


def test_a_training_is_told_of_no_source_once_it_trains() -> None:
    subject = adapter(source={"s3": {"uri": "s3://models/support/"}})
    run = run_of(granted(observed(subject, imported_version(subject), on="B")))
    assert run["adapterSource"] is None
    assert (run["reason"], run["dataset"]["source"]) == ("BaseModelChanged", {"s3": {"uri": "s3://data/train.jsonl"}})


def granted(snapshot: AdapterSnapshot) -> AdapterSnapshot:
    """Return what is seen once the base has given the adapter its turn."""
    assert snapshot.base is not None
    status = snapshot.base.status.model_copy(update={"readaptation": ReadaptationStatus(granted=("support",))})
    return replace(snapshot, base=snapshot.base.model_copy(update={"status": status}))


def test_one_worker_imports_whatever_would_train() -> None:
    subject = imported_adapter(
        method="Auto", pod={"workers": {"nodes": 4}, "resources": {"limits": {"nvidia.com/gpu": "8"}}}
    )
    snapshot = observed(subject)
    manifest = job_to_create(replace(snapshot, recipe=import_recipe_of(subject)), PLATFORM)
    assert "completions" not in manifest["spec"]
    assert run_of(snapshot)["workers"] == {"nodes": 1, "processesPerNode": 1, "sharding": "None"}
    assert run_of(snapshot)["method"] == "LoRA"


def test_a_job_made_so_is_not_outdated() -> None:
    subject = imported_adapter(pod={"workers": {"nodes": 4}})
    settings = job_to_create(replace(observed(subject), recipe=import_recipe_of(subject)), PLATFORM)["metadata"][
        "annotations"
    ]["graft.dev/pod-settings"]
    waits = job(import_recipe_of(subject), reason="Imported", waiting="Unschedulable: no node", pod_settings=settings)
    assert told(planned(observed(subject, jobs=(waits,))), "Trained") == ("False", "Unschedulable")


IMPORTING = job(import_recipe_of(imported_adapter()), reason="Imported")


def test_progress_of_an_import_reads_well() -> None:
    plan = planned(observed(imported_adapter(), jobs=(IMPORTING,)))
    assert told(plan, "Ready") == ("False", "Importing")
    assert told(plan, "Reconciling") == ("True", "Importing")


def test_a_memory_of_a_gpu_too_small_to_train_refuses_no_import() -> None:
    pod = {"resources": {"limits": {"nvidia.com/gpu": "1"}}, "gpuMemory": "1Gi"}
    base = base_model(
        status={"resolved": resolved_base(parameters=LLAMA_2_7B.parameters, shape=BaseShape.of(LLAMA_2_7B))}
    )
    assert told(planned(observed(adapter(pod=pod), base=base)), "Trained")[1] == "DoesNotFit"
    assert created(planned(observed(imported_adapter(pod=pod), base=base)))


@pytest.mark.parametrize("reason", ["SourceNotFound", "SourceInvalid", "SourceForbidden", "BaseMismatch"])
def test_what_trying_again_cannot_mend_stalls_with_its_words(reason: str) -> None:
    failed = job(
        import_recipe_of(imported_adapter()),
        "Failed",
        reason="Imported",
        outcome_reason=reason,
        outcome_message="spec.source.s3.uri: it is not there",
    )
    plan = planned(observed(imported_adapter(), jobs=(failed,)))
    assert told(plan, "Stalled") == ("True", reason)
    assert isinstance(plan.status, LoraAdapterStatus)
    found = find(plan.status.conditions, "Ready")
    assert found is not None
    assert found.message.startswith("spec.source.s3.uri: it is not there")


def test_a_source_that_is_away_is_tried_again_for_as_long_as_it_takes() -> None:
    failed = job(
        import_recipe_of(imported_adapter()),
        "Failed",
        reason="Imported",
        ended_time=NOW,
        outcome_reason="SourceUnavailable",
        outcome_message="no route",
    )
    plan = planned(observed(imported_adapter(), jobs=(failed,)))
    assert told(plan, "Stalled") == ("False", "Progressing")
    assert told(plan, "Reconciling") == ("True", "SourceUnavailable")


def test_want_of_memory_stalls_since_there_is_no_batch_to_lower() -> None:
    failed = job(import_recipe_of(imported_adapter()), "Failed", reason="Imported", outcome_reason="OutOfMemory")
    assert told(planned(observed(imported_adapter(), jobs=(failed,))), "Stalled") == ("True", "OutOfMemory")


def test_what_was_imported_is_served_like_any_version() -> None:
    subject = imported_adapter()
    plan = planned(observed(subject, found={import_recipe_of(subject): Known(imported_version(subject))}))
    assert isinstance(plan.status, LoraAdapterStatus)
    assert told(plan, "Trained") == ("True", "Imported")
    assert told(plan, "Evaluated") == ("True", "Passed")
    assert plan.status.serving.target is not None
    assert plan.status.source is not None
    assert (plan.status.source.digest, plan.status.source.base_digest) == (digest("content"), base_id("A"))


UNSERVABLE: dict[str, tuple[dict[str, Any], str, str]] = {
    "a method that no engine applies": ({"servable": "Merged", "method": "DoRA"}, "VersionNotServable", "DoRA"),
    "a rank above the base's": (
        {"shape": {"rank": 128, "alpha": 1, "targetModules": ["q"], "trainableParameters": 1, "allParameters": 2}},
        "RankTooHigh",
        "rank 128, above serving.maxRank 64",
    ),
}


@pytest.mark.parametrize("case", UNSERVABLE)
def test_what_no_engine_can_serve_is_told_once_it_is_read(case: str) -> None:
    fields, reason, words = UNSERVABLE[case]
    subject = imported_adapter()
    stored = imported_version(subject, **fields)
    plan = planned(observed(subject, found={stored.manifest.recipe: Known(stored)}))
    assert isinstance(plan.status, LoraAdapterStatus)
    assert told(plan, "Stalled") == ("True", reason)
    assert words in plan.status.versions[0].message
    assert plan.status.serving.target is None


def test_the_gate_holds_where_there_are_rows() -> None:
    subject = adapter(source={"s3": {"uri": "s3://models/support/"}})
    worse = imported_version(
        subject, metrics={"evalLoss": 3.0, "baseEvalLoss": 2.0}, dataset=version().manifest.dataset
    )
    plan = planned(observed(subject, found={import_recipe_of(subject): Known(worse)}))
    assert told(plan, "Stalled") == ("True", "WorseThanBase")


def test_questions_are_a_gate_without_rows() -> None:
    subject = imported_adapter(evaluation={"minExactMatch": "0.9"})
    asked = imported_version(subject, metrics={"exactMatch": 0.5, "baseExactMatch": 0.0})
    verdict = judge(asked.manifest, None, subject.spec.evaluation)
    assert (verdict.passed, verdict.reason) == (False, "ExactMatchTooLow")


def test_an_import_without_rows_is_compared_with_nothing() -> None:
    subject = imported_adapter()
    verdict = judge(imported_version(subject, 2).manifest, version(1).manifest, subject.spec.evaluation)
    assert verdict.passed
    assert "not compared with version 1: there are no rows" in verdict.message


@dataclass(frozen=True, kw_only=True)
class Bump:
    """An adapter that is served on base A, which has become B."""

    subject: LoraAdapter
    reason: str
    """Of UpToDate."""
    wants_place: bool
    job: str = ""
    """Beginning of the name of the Job that is created once the base has granted it."""


BUMPS = {
    "without rows it stays": Bump(subject=imported_adapter(), reason="BoundToBase", wants_place=False),
    "without rows it is imported again where that is asked for": Bump(
        subject=imported_adapter(source={"onBaseChange": "Import"}),
        reason="ReadaptationQueued",
        wants_place=True,
        job="support-import-",
    ),
    "with rows it is trained": Bump(
        subject=imported_adapter(**WITH_ROWS), reason="ReadaptationQueued", wants_place=True, job="support-train-"
    ),
    "with rows it is imported where that is asked for": Bump(
        subject=imported_adapter(source={"onBaseChange": "Import"}, **WITH_ROWS),
        reason="ReadaptationQueued",
        wants_place=True,
        job="support-import-",
    ),
}


def bumped(case: Bump) -> AdapterSnapshot:
    snapshot = observed(case.subject, imported_version(case.subject), on="B")
    return kept_on_a(snapshot) if case.reason == "BoundToBase" else snapshot


@pytest.mark.parametrize("case", BUMPS)
def test_a_changed_base(case: str) -> None:
    given = BUMPS[case]
    plan = planned(bumped(given))
    assert told(plan, "UpToDate") == ("False", given.reason)
    assert told(plan, "Ready") == ("True", "Serving")
    assert created(plan) == []
    names = created(planned(granted(bumped(given))))
    assert [name.startswith(given.job) for name in names] == ([True] if given.job else [])


@pytest.mark.parametrize("case", BUMPS)
def test_who_asks_its_base_for_a_turn(case: str) -> None:
    given = BUMPS[case]
    snapshot = bumped(given)
    status = planned(snapshot).status
    assert isinstance(status, LoraAdapterStatus)
    subject = snapshot.adapter.model_copy(update={"status": status})
    assert snapshot.base is not None
    assert wants_readaptation(subject, snapshot.base) == given.wants_place


def test_a_bound_adapter_is_at_rest_and_says_how_to_go_on() -> None:
    plan = planned(bumped(BUMPS["without rows it stays"]))
    assert told(plan, "Reconciling") == ("False", "Settled")
    assert told(plan, "Stalled") == ("False", "Progressing")
    assert isinstance(plan.status, LoraAdapterStatus)
    found = find(plan.status.conditions, "UpToDate")
    assert found is not None
    assert "onBaseChange Import" in found.message
    assert "revision-A" in found.message


@pytest.mark.parametrize("on", ["A", "B"])
def test_whoever_is_at_rest_needs_nothing_of_the_registry(on: str) -> None:
    snapshot = observed(imported_adapter(), imported_version(imported_adapter()), on=on)
    status = planned(kept_on_a(snapshot) if on == "B" else snapshot).status
    adapter_at_rest = snapshot.adapter.model_copy(update={"status": status})
    unread = replace(snapshot, adapter=adapter_at_rest, live=None, found={})
    assert is_settled(unread)
    moved = adapter_at_rest.model_copy(update={"spec": imported_adapter(source={"onBaseChange": "Import"}).spec})
    assert is_settled(replace(unread, adapter=moved)) == (on == "A")
    lower = base_model(resolved=on, serves=("A", on) if on == "B" else ("A",), serving={"maxRank": 8})
    assert not is_settled(replace(unread, base=lower))


def test_a_bound_adapter_whose_base_is_lost_stalls() -> None:
    plan = planned(observed(imported_adapter(), imported_version(imported_adapter()), on="B"))
    assert told(plan, "Stalled") == ("True", "BoundToBase")
    assert created(plan) == []


def test_a_new_source_is_imported_for_the_present_base() -> None:
    old = imported_version(imported_adapter())
    subject = imported_adapter(source={"s3": {"uri": "s3://models/for-b/"}})
    assert created(planned(granted(observed(subject, old, on="B"))))[0].startswith("support-import-")


def test_the_base_that_it_was_imported_for_outlives_the_list_of_versions() -> None:
    subject = imported_adapter(**WITH_ROWS)
    first = planned(observed(subject, found={import_recipe_of(subject): Known(imported_version(subject))})).status
    assert isinstance(first, LoraAdapterStatus)
    forgotten = subject.model_copy(update={"status": first.model_copy(update={"versions": ()})})
    assert homes(forgotten) == (base_id("A"),)
    assert not is_imported_on(forgotten, base_id("B"))
    assert is_bound(forgotten.model_copy(update={"spec": imported_adapter().spec}), base_id("B"))


def test_a_new_cluster_knows_the_base_from_the_registry() -> None:
    subject, stored = imported_adapter(**WITH_ROWS), imported_version(imported_adapter(**WITH_ROWS))
    assert homes(subject, (stored,)) == (base_id("A"),)
    source = known_source(subject, (stored,))
    assert source is not None
    assert source.digest == digest("content")


def test_nothing_is_imported_twice_in_a_new_cluster() -> None:
    subject, stored = imported_adapter(), imported_version(imported_adapter())
    plan = planned(replace(observed(subject, found={stored.manifest.recipe: Known(stored)}), history=(stored,)))
    assert created(plan) == []
    assert told(plan, "Trained") == ("True", "Imported")


def test_a_pin_wins_over_an_import() -> None:
    subject = imported_adapter(version=1)
    plan = planned(observed(subject, pinned=imported_version(subject)))
    assert told(plan, "Trained") == ("True", "Pinned")
    assert created(plan) == []


def test_a_suspended_adapter_imports_nothing() -> None:
    plan = planned(observed(imported_adapter(suspend=True)))
    assert created(plan) == []
    assert told(plan, "Trained") == ("False", "Suspended")


SAME: dict[str, dict[str, Any]] = {
    "another method": {"method": "DoRA"},
    "another shape": {"lora": {"rank": 64, "alpha": 1}},
    "other hyperparameters": {"training": {"seed": 7, "epochs": 9, "learningRate": "1e-3"}},
    "several workers": {"pod": {"workers": {"nodes": 3}}},
    "a stricter gate": {"evaluation": {"minExactMatch": "0.9"}},
    "what happens on another base": {"source": {"onBaseChange": "Import"}},
    "no serving": {"serving": {"mode": "None"}},
}
OTHER: dict[str, dict[str, Any]] = {
    "another folder": {"source": {"s3": {"uri": "s3://models/other/"}}},
    "other questions": {"evaluation": {"prompts": ["Who are you?"]}},
    "other probes": {"evaluation": {"probes": [{"prompt": "1+1?", "expected": "2"}]}},
    "rows": WITH_ROWS,
    "a merged model": {"serving": {"mode": "Merged"}},
}


@pytest.mark.parametrize("case", SAME)
def test_the_same_import(case: str) -> None:
    assert import_recipe_of(imported_adapter(**SAME[case])) == import_recipe_of(imported_adapter())


@pytest.mark.parametrize("case", OTHER)
def test_another_import(case: str) -> None:
    assert import_recipe_of(imported_adapter(**OTHER[case])) != import_recipe_of(imported_adapter())


def test_base_and_content_make_another_import() -> None:
    one = imported_adapter()
    recipes = {import_recipe_of(one), import_recipe_of(one, "B"), import_recipe_of(one, content="x")}
    assert len(recipes) == 3
    assert recipe_of(imported_adapter(**WITH_ROWS)) == recipe_of(adapter()), "a source is no part of a training"


def tried_on_b(state: VersionState, subject: LoraAdapter) -> AdapterSnapshot:
    """Return what is seen of an adapter that is served on A, whose import onto B came to that state, on base C."""
    first, second = imported_version(subject), imported_version(subject, 2, base="B")
    snapshot = observed(subject, first, on="C", found={item.manifest.recipe: Known(item) for item in (first, second)})
    versions = (summary(second, state), summary(first))
    status = snapshot.adapter.status.model_copy(update={"versions": versions})
    return replace(snapshot, adapter=snapshot.adapter.model_copy(update={"status": status}))


@pytest.mark.parametrize("state", ["Rejected", "RolledBack", "Refused", "Published"])
def test_an_adapter_stays_where_it_is_served_and_not_where_it_was_given_up(state: VersionState) -> None:
    snapshot = tried_on_b(state, imported_adapter())
    assert homes(snapshot.adapter)[0] == base_id("A")
    assert is_bound(snapshot.adapter, base_id("B")) == (state != "Published")
    assert not is_bound(snapshot.adapter, base_id("A"))
    status = planned(kept_on_a(snapshot)).status
    assert isinstance(status, LoraAdapterStatus)
    assert status.source is not None
    assert status.source.base_digest == base_id("A")


def test_without_a_live_version_the_newest_home_counts_and_one_that_was_given_up_only_alone() -> None:
    cases: tuple[tuple[VersionState, str], ...] = (("Published", "B"), ("RolledBack", "A"))
    for state, home in cases:
        snapshot = tried_on_b(state, imported_adapter())
        status = snapshot.adapter.status.model_copy(update={"serving": AdapterServingStatus()})
        assert homes(snapshot.adapter.model_copy(update={"status": status}))[0] == base_id(home)
        alone = status.model_copy(update={"versions": status.versions[:1]})
        assert homes(snapshot.adapter.model_copy(update={"status": alone})) == (base_id("B"),)


def test_a_new_cluster_is_told_by_the_registry_where_an_import_was_given_up() -> None:
    subject = imported_adapter()
    history = (imported_version(subject), imported_version(subject, 2, base="B"))
    verdict = VersionVerdict(
        number=2, manifest_digest=history[1].digest, state="RolledBack", message="", time="2026-11-01T00:00:00Z"
    )
    assert homes(subject, history)[0] == base_id("B")
    assert homes(subject, history, {2: verdict})[0] == base_id("A")
    assert is_bound(subject, base_id("B"), history, {2: verdict})


def test_rows_are_still_learnt_on_the_base_after_an_import_that_was_given_up() -> None:
    subject = tried_on_b("RolledBack", imported_adapter(**WITH_ROWS)).adapter
    assert is_imported_on(subject, base_id("B")), "what was imported there is not trained instead"
    assert not is_imported_on(subject, base_id("C"))
