"""Looks at a source: when they are due, what becomes of what they find, and of those that fail."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import jsonschema
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
    seen,
)

import generate_crds
from graft_operator.api.adapter_source import SourceStatus
from graft_operator.api.adapter_status import AdapterServingStatus, LoraAdapterStatus
from graft_operator.api.base_model import ReadaptationStatus
from graft_operator.api.conditions import find
from graft_operator.api.lora_adapter import LoraAdapter
from graft_operator.manifests.jobs.resolve_job import look_settings_digest
from graft_operator.plan.actions import CreateJob, DeleteObject, Plan
from graft_operator.plan.adapter.plan import plan_adapter
from graft_operator.plan.imports.looks import decide_look, seconds_to_wait, turn_after
from graft_operator.plan.imports.origin import source_digest
from graft_operator.plan.jobs import JobObserved, JobState
from graft_operator.plan.known import Known
from graft_operator.plan.rollout.plan import served
from graft_operator.plan.snapshot import AdapterSnapshot
from graft_operator.plan.training.versions import summary

HOUR = timedelta(hours=1)
STATUS = jsonschema.Draft202012Validator(generate_crds.status_schema(LoraAdapterStatus))


def looking(**fields: Any) -> LoraAdapter:
    """Return an adapter whose source is looked at every hour."""
    return imported_adapter(**{"source": {"interval": "1h"}} | fields)


def known(subject: LoraAdapter, content: str | None = "content", **fields: Any) -> LoraAdapter:
    """Return the adapter with what is known of its source, looked at just now."""
    found = {"digest": digest(content)} if content else {}
    source = SourceStatus(
        source_digest=source_digest(subject) or "", **found | {"checked_time": NOW, "job": "uid-before"} | fields
    )
    return subject.model_copy(update={"status": subject.status.model_copy(update={"source": source})})


def look(subject: LoraAdapter, state: JobState = "Active", **fields: Any) -> JobObserved:
    """Return the Job that looks at the adapter's source."""
    defaults: dict[str, Any] = {"name": "support-resolve-1", "uid": "uid-of-look", "recipe": source_digest(subject)}
    return JobObserved(state=state, ended_time=NOW, **defaults | fields)


def found(subject: LoraAdapter, content: str = "content") -> JobObserved:
    return look(subject, "Succeeded", outcome_digest=digest(content), outcome_revision="abc")


def settled(subject: LoraAdapter, **fields: Any) -> AdapterSnapshot:
    """Return what is seen of an adapter that serves what its source held when it was looked at."""
    subject = known(subject, base_digest=base_id("A"))
    stored = imported_version(subject, named="content")
    status = subject.status.model_copy(
        update={
            "versions": (summary(stored),),
            "serving": AdapterServingStatus(mode="MultiAdapter", target=served(stored)),
        }
    )
    fields = {
        "found": {stored.manifest.recipe: Known(stored)},
        "live": stored,
        "pods": (answering_pod(stored),),
    } | fields
    return seen(subject.model_copy(update={"status": status}), recipe=None, **fields)


def planned(snapshot: AdapterSnapshot, now: Any = NOW) -> Plan:
    return plan_adapter(snapshot, now, PLATFORM)


def status_of(plan: Plan) -> LoraAdapterStatus:
    """Return the status, which the API server must take."""
    assert isinstance(plan.status, LoraAdapterStatus)
    assert list(STATUS.iter_errors(plan.status.to_wire())) == []
    return plan.status


def told(plan: Plan, kind: str) -> tuple[str, str]:
    condition = find(status_of(plan).conditions, kind)
    assert condition is not None
    return condition.status, condition.reason


def created(plan: Plan) -> list[str]:
    names = [action.manifest["metadata"]["name"] for action in plan.extras if isinstance(action, CreateJob)]
    return [name.rpartition("-")[0] for name in names]


def test_a_source_is_looked_at_before_anything_is_imported() -> None:
    plan = planned(seen(looking(), recipe=None))
    assert created(plan) == ["support-resolve"]
    assert told(plan, "Ready") == ("False", "Importing")
    assert told(plan, "SourceChecked") == ("Unknown", "NotLookedYet")


def test_what_is_found_is_kept_before_anything_is_done_with_it() -> None:
    plan = planned(seen(looking(), recipe=None, resolve_job=found(looking())))
    source = status_of(plan).source
    assert source is not None
    assert (source.digest, source.revision, source.checked_time) == (digest("content"), "abc", NOW)
    assert created(plan) == []
    assert plan.actions == ()
    assert plan.requeue_after == 0


def test_then_it_is_imported_by_its_digest_and_the_look_goes() -> None:
    subject = known(looking(), job="uid-of-look")
    plan = planned(seen(subject, recipe=None, resolve_job=found(subject)))
    assert created(plan) == ["support-import"]
    assert DeleteObject("Job", "support-resolve-1", "uid-of-look") in plan.actions
    assert status_of(plan).recipe == import_recipe_of(subject, content="content")


def test_the_same_content_again_changes_nothing() -> None:
    plan = planned(settled(looking(), resolve_job=found(looking())))
    source = status_of(plan).source
    assert source is not None
    assert (source.digest, source.base_digest) == (digest("content"), base_id("A"))
    assert status_of(plan).recipe == import_recipe_of(looking(), content="content")


def after(snapshot: AdapterSnapshot, content: str, later: timedelta) -> AdapterSnapshot:
    """Return what is seen after a look that has ended so much later and found that content."""
    subject, ended = snapshot.adapter, NOW + later
    job = replace(found(subject, content), uid=f"uid-{later}", ended_time=ended)
    status = status_of(planned(replace(snapshot, resolve_job=job), ended))
    return replace(snapshot, adapter=subject.model_copy(update={"status": status}), resolve_job=None)


def wanted(snapshot: AdapterSnapshot) -> str | None:
    source = snapshot.adapter.status.source
    assert source is not None
    return source.digest


MINUTE = timedelta(minutes=1)


def test_new_content_is_a_new_import_while_the_old_one_serves() -> None:
    once = after(settled(looking()), "newer", timedelta())
    assert told(planned(once), "SourceChecked") == ("True", "Changed")
    assert told(planned(once), "UpToDate")[0] == "True"
    assert created(planned(once)) == []
    plan = planned(after(once, "newer", MINUTE))
    assert created(plan) == ["support-import"]
    assert status_of(plan).recipe == import_recipe_of(looking(), content="newer")
    assert told(plan, "SourceChecked") == ("True", "Resolved")
    assert told(plan, "Ready") == ("True", "Serving")
    assert told(plan, "UpToDate")[0] == "False"


def test_the_second_look_comes_a_minute_later_whatever_the_interval() -> None:
    once = after(settled(looking()), "newer", timedelta())
    assert planned(once).requeue_after == 60
    assert created(planned(once, NOW + timedelta(seconds=59))) == []
    assert created(planned(once, NOW + MINUTE)) == ["support-resolve"]


def test_half_an_upload_is_never_imported() -> None:
    half = after(settled(looking()), "half", timedelta())
    more = after(half, "more", MINUTE)
    whole = after(more, "whole", 2 * MINUTE)
    assert [wanted(item) for item in (half, more, whole)] == [digest("content")] * 3
    assert wanted(after(whole, "whole", 3 * MINUTE)) == digest("whole")


def test_two_looks_within_a_minute_are_not_enough() -> None:
    once = after(settled(looking()), "newer", timedelta())
    twice = after(once, "newer", MINUTE / 2)
    assert wanted(twice) == digest("content")
    assert wanted(after(twice, "newer", MINUTE)) == digest("newer")


def test_what_was_there_before_is_no_change() -> None:
    back = after(after(settled(looking()), "half", timedelta()), "content", MINUTE)
    source = back.adapter.status.source
    assert source is not None
    assert (source.digest, source.pending_digest, source.base_digest) == (digest("content"), None, base_id("A"))
    assert wanted(after(back, "half", 2 * MINUTE)) == digest("content")


def test_a_look_that_fails_between_two_waits_for_its_turn() -> None:
    once = after(settled(looking()), "newer", timedelta())
    failed = look(looking(), "Failed", outcome_reason="SourceUnavailable", outcome_message="no route")
    status = status_of(planned(replace(once, resolve_job=failed)))
    away = replace(once, adapter=once.adapter.model_copy(update={"status": status}))
    assert created(planned(away, NOW + MINUTE)) == []
    assert wanted(after(away, "newer", HOUR)) == digest("newer")


def test_whoever_asks_for_a_look_says_that_the_upload_is_whole() -> None:
    asked = looking(meta={"annotations": {"graft.dev/retry": "1"}})
    first = after(settled(asked), "newer", timedelta())
    assert wanted(first) == digest("newer")
    assert wanted(after(first, "newest", MINUTE)) == digest("newer"), "the annotation asks once"


@pytest.mark.parametrize("reason", ["SourceNotFound", "Forbidden", "SourceUnavailable", "RegistryUnavailable"])
def test_a_look_that_fails_keeps_what_is_served(reason: str) -> None:
    failed = look(looking(), "Failed", outcome_reason=reason, outcome_message="spec.source.s3.uri: gone")
    plan = planned(settled(looking(), resolve_job=failed))
    assert told(plan, "SourceChecked") == ("False", reason)
    assert told(plan, "UpToDate")[0] == told(plan, "Ready")[0] == told(plan, "Trained")[0] == "True"
    assert told(plan, "Stalled") == ("False", "Progressing")
    source = status_of(plan).source
    assert source is not None
    assert source.digest == digest("content")
    assert "spec.source.s3.uri: gone" in source.message


def test_a_first_look_that_finds_nothing_stalls_with_its_words() -> None:
    subject = known(looking(), None, reason="SourceNotFound", message="spec.source.s3.uri: it is empty")
    plan = planned(seen(subject, recipe=None))
    assert told(plan, "Stalled") == ("True", "SourceNotFound")
    assert created(plan) == []


def test_a_first_look_at_a_source_that_is_away_waits() -> None:
    subject = known(looking(), None, reason="SourceUnavailable", message="no route")
    plan = planned(seen(subject, recipe=None))
    assert told(plan, "Reconciling") == ("True", "SourceUnavailable")
    assert created(planned(seen(subject, recipe=None), NOW + timedelta(minutes=5))) == ["support-resolve"]


def test_a_job_that_says_nothing_is_no_find() -> None:
    plan = planned(settled(looking(), resolve_job=look(looking(), "Succeeded")))
    assert told(plan, "SourceChecked") == ("False", "SourceUnavailable")


def test_the_next_look_comes_after_the_interval_though_nothing_else_happens() -> None:
    snapshot = settled(looking())
    first = planned(snapshot)
    assert created(first) == []
    assert first.requeue_after is not None
    assert HOUR / 2 <= timedelta(seconds=first.requeue_after) <= HOUR * 3 / 2
    due = NOW + timedelta(seconds=first.requeue_after)
    assert created(planned(snapshot, due - timedelta(seconds=1))) == []
    assert created(planned(snapshot, due)) == ["support-resolve"]


@pytest.mark.parametrize("spec", [{"suspend": True}, {"version": 1}], ids=str)
def test_nobody_looks_for_what_may_not_change(spec: dict[str, Any]) -> None:
    decided = decide_look(settled(looking(**spec)), NOW + 9 * HOUR, PLATFORM)
    assert decided.creations == ()
    assert decided.requeue_after is None


def test_a_person_has_the_source_looked_at_at_once() -> None:
    asked = looking(meta={"annotations": {"graft.dev/retry": "1"}})
    assert created(planned(settled(asked))) == ["support-resolve"]
    again = planned(settled(asked, resolve_job=found(asked)))
    source = status_of(again).source
    assert source is not None
    assert source.retry == "1"


def test_two_hundred_adapters_do_not_look_together() -> None:
    subjects = [looking(meta={"uid": f"uid-{number}"}) for number in range(200)]
    waits = []
    for subject in subjects:
        source = known(subject).status.source
        assert subject.spec.source is not None
        waits.append(seconds_to_wait(subject, subject.spec.source, source, NOW))
    assert all(1800 <= seconds <= 5400 for seconds in waits)
    minutes = [int(seconds // 60) for seconds in waits]
    assert max(minutes.count(minute) for minute in set(minutes)) <= 12


def test_nor_after_the_operator_was_away() -> None:
    due = 0
    for number in range(200):
        subject = looking(meta={"uid": f"uid-{number}"})
        assert subject.spec.source is not None
        due += seconds_to_wait(subject, subject.spec.source, known(subject).status.source, NOW + 50 * HOUR) == 0
    assert 0 < due < 45


def test_turns_are_an_interval_apart() -> None:
    first = turn_after(NOW, HOUR, "uid")
    assert NOW <= first < NOW + HOUR
    assert turn_after(first, HOUR, "uid") == first
    assert turn_after(first + timedelta(seconds=1), HOUR, "uid") == first + HOUR


def test_a_look_at_another_source_ends() -> None:
    stale = look(looking(), recipe=digest("another source"))
    plan = planned(settled(looking(), resolve_job=stale))
    assert DeleteObject("Job", stale.name, stale.uid) in plan.actions
    assert created(plan) == []


def test_without_an_interval_nobody_looks() -> None:
    plan = planned(seen(imported_adapter(), recipe=None, resolve_job=look(imported_adapter())))
    assert DeleteObject("Job", "support-resolve-1", "uid-of-look") in plan.actions
    assert find(status_of(plan).conditions, "SourceChecked") is None


def test_what_stands_in_the_way_of_a_look_is_told() -> None:
    waits = look(looking(), waiting="ImagePullBackOff: container resolve: not found")
    plan = planned(settled(looking(), resolve_job=waits))
    assert told(plan, "SourceChecked") == ("False", "ImagePullFailed")


def test_another_source_is_not_taken_for_the_one_before() -> None:
    before = settled(looking())
    other = looking(source={"s3": {"uri": "s3://models/other/"}, "interval": "1h"})
    plan = planned(replace(before, adapter=before.adapter.model_copy(update={"spec": other.spec})))
    assert created(plan) == ["support-resolve"]
    assert told(plan, "Ready") == ("True", "Serving")
    assert told(plan, "UpToDate") == ("False", "Importing")


def test_new_content_on_a_changed_base_is_imported_there() -> None:
    """Whoever has trained it for the new base puts it where the old one was."""
    snapshot = settled(looking())
    source = snapshot.adapter.status.source
    assert source is not None
    newer = source.model_copy(update={"digest": digest("newer"), "base_digest": None})
    base = base_model(
        resolved="B",
        serves=("A", "B"),
        status={"readaptation": ReadaptationStatus(granted=("support",))},
    )
    status = snapshot.adapter.status.model_copy(update={"source": newer})
    moved = replace(snapshot, base=base, adapter=snapshot.adapter.model_copy(update={"status": status}))
    plan = planned(moved)
    assert created(plan) == ["support-import"]
    assert status_of(plan).recipe == import_recipe_of(looking(), "B", content="newer")


def test_an_adapter_that_is_only_trained_has_no_word_of_sources() -> None:
    plan = planned(seen(adapter()))
    assert status_of(plan).source is None
    assert find(status_of(plan).conditions, "SourceChecked") is None


def behind_login(secret: str = "pull", **fields: Any) -> LoraAdapter:
    oci = {"image": "ghcr.io/team/support:v3", "pullSecretRef": {"name": secret}}
    return looking(source={"s3": None, "oci": oci, "interval": "1h"}, **fields)


def test_another_login_is_tried_at_once_after_one_that_was_refused() -> None:
    refused = look(behind_login("wrong"), "Failed", outcome_reason="SourceForbidden", outcome_message="401")
    status = status_of(planned(seen(behind_login("wrong"), recipe=None, resolve_job=refused)))
    same = behind_login("wrong").model_copy(update={"status": status})
    assert created(planned(seen(same, recipe=None))) == []
    other = behind_login("right").model_copy(update={"status": status})
    assert created(planned(seen(other, recipe=None))) == ["support-resolve"]


def test_another_login_for_what_was_found_is_no_reason_to_look_or_to_import() -> None:
    subject = known(behind_login(), pull_secret="pull")
    other = behind_login("other").model_copy(update={"status": subject.status})
    assert created(planned(seen(other, recipe=import_recipe_of(other, content="content")))) == created(
        planned(seen(subject, recipe=import_recipe_of(subject, content="content")))
    )
    assert import_recipe_of(other, content="content") == import_recipe_of(subject, content="content")


def test_a_look_that_waits_for_a_missing_secret_ends_when_another_is_named() -> None:
    event = 'FailedMount: MountVolume.SetUp failed for volume "pull-secret" : secret "wrong" not found'
    source = behind_login("wrong").spec.source
    assert source is not None
    settings = look_settings_digest(behind_login("wrong"), source, PLATFORM)
    waits = look(behind_login("wrong"), waiting=event, pod_settings=settings)
    plan = planned(seen(behind_login("wrong"), recipe=None, resolve_job=waits))
    assert told(plan, "SourceChecked") == ("False", "MountFailed")
    [fact] = [item for item in status_of(plan).conditions if item.type == "SourceChecked"]
    assert "apply the Secret wrong of type kubernetes.io/dockerconfigjson" in fact.message
    assert DeleteObject("Job", waits.name, waits.uid) not in plan.actions
    plan = planned(seen(behind_login("right"), recipe=None, resolve_job=waits))
    assert DeleteObject("Job", waits.name, waits.uid) in plan.actions
