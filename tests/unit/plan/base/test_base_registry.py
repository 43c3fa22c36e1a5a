"""What a base does while the registry can't be asked, or lacks what it should hold: it goes on serving, and says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.builders import (
    NOW,
    adapter_of_base,
    base_id,
    base_model,
    base_seen,
    deployment,
    pod,
    resolved_base,
    served_version,
    serving_revision,
    source_of,
)
from tests.unit.plan.base.base_plan import (
    FINALIZER,
    ON_A,
    applied,
    bumped_to,
    condition,
    deleted,
    name_of,
    plan,
    revisions,
    status_of,
)

from graft_operator.api.conditions import Condition
from graft_operator.plan.actions import ApplyObject, CreateJob
from graft_operator.plan.known import Known, Unknown
from graft_operator.plan.snapshot import BaseSnapshot
from graft_registry.documents import BaseDrift, Finding, StoreReport

AWAY = Unknown(reason="RegistryUnavailable", message="http://s3:9000: connection refused")
LOOKING = Unknown()
DAMAGED = Unknown(reason="RegistryCorrupt", message="team-a/bases/tiny/1/manifest.json is not JSON", is_transient=False)
SERVING = base_model(meta=FINALIZER, replicas=1)
CLAIM: dict[str, Any] = {"claim_name": "models", "claim_path": "tiny"}


def unasked(manifest: Unknown, subject: Any = SERVING, **fields: Any) -> BaseSnapshot:
    """A base of which the registry says nothing: no manifest is known."""
    fields = {"deployments": (deployment(),)} | fields
    return base_seen(subject, manifest=manifest, drift=Unknown(), manifests={}, **fields)


@pytest.mark.parametrize("manifest", [AWAY, LOOKING, DAMAGED], ids=["away", "not asked yet", "damaged"])
def test_what_is_served_is_decided_without_the_registry(manifest: Unknown) -> None:
    scaled = base_model(
        meta=FINALIZER,
        replicas=3,
        status={"resolved": resolved_base("A", **CLAIM), "serving": (serving_revision("A", revision="rev", **CLAIM),)},
    )
    rolled_back = adapter_of_base(target=served_version(1))
    given = unasked(manifest, scaled, adapters=(rolled_back,))
    manifests = {
        action.manifest["kind"]: action.manifest for action in plan(given).actions if isinstance(action, ApplyObject)
    }
    assert manifests["Deployment"]["spec"]["replicas"] == 3
    (entry,) = json.loads(manifests["ConfigMap"]["data"]["wanted.json"])["adapters"]
    assert entry["route"] == [{"number": 1, "weight": 100}]
    (revision,) = status_of(given).serving
    assert (revision.digest, revision.revision) == (base_id("A"), "rev")
    assert (revision.claim_name, revision.claim_path) == ("models", "tiny")
    assert status_of(given).resolved == scaled.status.resolved


@pytest.mark.parametrize(
    ("manifest", "reconciling", "stalled"),
    [
        pytest.param(AWAY, "RegistryUnavailable", "Progressing", id="away"),
        pytest.param(LOOKING, "Settled", "Progressing", id="not asked yet"),
        pytest.param(DAMAGED, "Stalled", "RegistryCorrupt", id="damaged"),
    ],
)
def test_that_the_registry_says_nothing_is_told_and_starts_no_import(
    manifest: Unknown, reconciling: str, stalled: str
) -> None:
    given = unasked(manifest)
    status = status_of(given)
    assert condition(status, "Resolved").status == "True"
    assert condition(status, "Ready").status == "True"
    assert condition(status, "Reconciling").reason == reconciling
    assert condition(status, "Stalled").reason == stalled
    assert not any(isinstance(action, CreateJob) for action in plan(given).actions)


def test_a_damaged_manifest_says_what_to_do() -> None:
    message = condition(status_of(unasked(DAMAGED)), "Stalled").message
    for part in ("team-a/bases/tiny/1/manifest.json is not JSON", "restore", "delete it"):
        assert part in message


def test_a_changed_source_waits_for_the_registry_and_does_not_count_as_resolved() -> None:
    for manifest, reason in ((AWAY, "RegistryUnavailable"), (LOOKING, "Resolving")):
        given = unasked(manifest, bumped_to("B"))
        status = status_of(given)
        assert condition(status, "Resolved").reason == reason
        assert condition(status, "Resolved").status != "True"
        assert revisions(given) == "A"
        assert not any(isinstance(action, CreateJob) for action in plan(given).actions)


def test_a_restart_does_not_take_back_what_was_told_of_a_source() -> None:
    told = tuple(
        Condition(type=kind, status=status, reason="SourceNotFound", message="no such bucket", last_transition_time=NOW)
        for kind, status in (("Stalled", "True"), ("Resolved", "False"))
    )
    given = unasked(LOOKING, bumped_to("B", status={"conditions": told, "resolved": resolved_base("A")}))
    status = status_of(given)
    assert condition(status, "Resolved").reason == "SourceNotFound"
    assert condition(status, "Stalled").status == "True"


def test_what_the_bucket_promises_stays_told_while_it_can_not_be_tried() -> None:
    safe = Condition(type="RegistrySafe", status="True", reason="ConditionalWrites", last_transition_time=NOW)
    known = base_model(meta=FINALIZER, status={"conditions": (safe,)})
    assert condition(status_of(base_seen(known, store_report=AWAY)), "RegistrySafe").status == "True"
    assert condition(status_of(base_seen(SERVING, store_report=LOOKING)), "RegistrySafe").reason == "NotProbed"


def test_a_new_base_is_taken_up_once_it_is_known_how_far_it_is_from_the_one_before() -> None:
    given = base_seen(bumped_to("B"), bases="AB", deployments=(deployment(),), drift=Unknown())
    assert status_of(given).resolved == resolved_base("A")
    told: tuple[Known[BaseDrift] | Unknown, ...] = (Known(None), Unknown(reason="RegistryCorrupt", is_transient=False))
    for drift in told:
        found = status_of(base_seen(bumped_to("B"), bases="AB", drift=drift)).resolved
        assert found is not None
        assert found.digest == base_id("B")


def test_an_old_revision_goes_without_the_registry_once_nobody_needs_it() -> None:
    both = base_model(resolved="B", serves=("B", "A"), meta=FINALIZER)
    given = unasked(AWAY, both, deployments=(deployment("A"), deployment("B")), pods=(pod("pod-a"),))
    assert revisions(given) == "B"
    assert ("Deployment", name_of("A")) in deleted(given)


def test_a_base_that_is_lost_holds_up_only_who_needs_it_and_says_what_to_do() -> None:
    needs_c = adapter_of_base("needy", target=served_version(1, "C"))
    why = "its manifest is not in the registry"
    given = base_seen(SERVING, adapters=(ON_A, needs_c), deployments=(deployment(),), lost_bases={base_id("C"): why})
    assert revisions(given) == "A"
    status = status_of(given)
    told = condition(status, "ServingReady")
    assert told.reason == "BaseMissing"
    for part in (base_id("C"), why, "needy", "restore"):
        assert part in told.message
    assert condition(status, "Ready").status == "True"


LETTERS = "abcdefghijklmnopqrst"


def pinned(letters: str) -> tuple[Any, ...]:
    return tuple(adapter_of_base(f"on-{letter}", target=served_version(1, letter)) for letter in letters)


def test_nine_bases_are_served_side_by_side() -> None:
    given = base_seen(
        base_model(resolved="a", serves=(), meta=FINALIZER), bases=LETTERS[:9], adapters=pinned(LETTERS[:9])
    )
    assert len(status_of(given).serving) == 9


def test_with_too_many_bases_those_go_on_that_are_served_and_the_others_are_told() -> None:
    served = LETTERS[2:17]
    subject = base_model(resolved="t", serves=tuple(served), source=source_of("t"), meta=FINALIZER)
    given = base_seen(subject, bases=LETTERS, adapters=pinned(LETTERS))
    status = status_of(given)
    assert status.serving[0].digest == base_id("t")
    assert {item.digest for item in status.serving} == {base_id(letter) for letter in served + "t"}
    told = condition(status, "ServingReady")
    assert told.reason == "TooManyRevisions"
    assert "on-a" in told.message
    assert not any(kind == "Deployment" for kind, _ in deleted(given))


def test_all_of_a_base_is_applied_while_the_registry_is_away() -> None:
    assert applied(unasked(AWAY)) == applied(base_seen(SERVING, deployments=(deployment(),)))


FINDINGS = (
    Finding(check="clock", found="90 s apart", verdict="Warning", follows="beyond 15 minutes …", fix="NTP"),
    Finding(check="right s3:DeleteObject", found="no", verdict="Failed", follows="nothing goes", fix="allow it"),
    Finding(check="reach", found="answers"),
)


@pytest.mark.parametrize(
    ("conditional", "findings", "status", "reason", "says"),
    [
        (True, FINDINGS[2:], "True", "ConditionalWrites", "the bucket honours If-None-Match"),
        (True, FINDINGS[:1], "True", "ConditionalWrites", "clock: 90 s apart; beyond 15 minutes …; NTP"),
        (True, FINDINGS, "False", "StoreUnfit", "right s3:DeleteObject: no; nothing goes; allow it. clock: 90 s apart"),
        (False, FINDINGS, "False", "ConditionalWritesIgnored", "right s3:DeleteObject: no"),
        (None, FINDINGS[1:], "Unknown", "NotProbed", "right s3:DeleteObject: no"),
    ],
)
def test_what_the_store_lacks_is_named_with_what_follows(
    conditional: bool | None, findings: tuple[Finding, ...], status: str, reason: str, says: str
) -> None:
    report = StoreReport(bucket="graft", conditional_writes=conditional, findings=findings)
    said = condition(status_of(base_seen(store_report=Known(report))), "RegistrySafe")
    assert (said.status, said.reason) == (status, reason)
    assert says in said.message
    assert "answers" not in said.message
