"""What each verb patches, and when it refuses."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.builders import digest
from tests.unit.cli.objects import adapter, canary, condition, failed, serving, version, with_conditions

from graft_cli.client import Adapter
from graft_cli.decisions import changes
from graft_cli.decisions.findings import findings_of_adapter
from graft_cli.errors import Refused
from graft_operator.api.adapter_source import ImportedVersion
from graft_operator.api.evaluation import ComparedVersion

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_rollback_takes_the_newest_good_version_before() -> None:
    versions = (version(6), version(5, "RolledBack"), version(4, "Rejected"), version(3), version(2))
    change = changes.rollback(adapter(status={"versions": versions}), None)
    assert change.patch == {"spec": {"version": 3}}


def test_rollback_takes_the_version_that_is_named() -> None:
    assert changes.rollback(adapter(), 2).patch == {"spec": {"version": 2}}


def test_rollback_tells_what_the_named_version_is_worth() -> None:
    change = changes.rollback(adapter(status={"versions": (version(6), version(5, "Refused", message="rank"))}), 5)
    assert any("version 5 is Refused: rank" in note for note in change.notes)


def test_rollback_does_not_guess_during_a_canary() -> None:
    with pytest.raises(Refused, match="version 7 of support is a canary") as caught:
        changes.rollback(canary(), None)
    assert "graft abort support" in caught.value.fix


def test_rollback_needs_a_good_version_before() -> None:
    with pytest.raises(Refused, match="no good version of support before version 6"):
        changes.rollback(adapter(status={"versions": (version(6), version(5, "Rejected"))}), None)


def test_rollback_needs_something_that_is_served() -> None:
    with pytest.raises(Refused, match="nothing of support is served"):
        changes.rollback(adapter(status={"served_version": None, "serving": serving(None)}), None)


def test_a_version_that_does_not_exist_is_refused_and_an_old_one_looked_up() -> None:
    with pytest.raises(Refused, match="no version 9") as caught:
        changes.pin(adapter(), 9)
    assert "6, 5, 4" in caught.value.fix
    old = changes.pin(adapter(status={"versions": (version(16), version(15))}), 2)
    assert any("registry" in note for note in old.notes)


def test_a_pin_to_another_base_says_what_it_costs() -> None:
    change = changes.pin(adapter(status={"versions": (version(6), version(5, base_digest=digest("B")))}), 5)
    assert any("another base" in note for note in change.notes)


def test_pin_and_unpin_refuse_what_is_so_already() -> None:
    with pytest.raises(Refused, match="pins version 3 already"):
        changes.pin(adapter(version=3), 3)
    with pytest.raises(Refused, match="not pinned"):
        changes.unpin(adapter())
    assert changes.unpin(adapter(version=3)).patch == {"spec": {"version": None}}


def pinned(newest: dict[str, Any], *, asks_for: int = 6, **metadata: Any) -> Adapter:
    """Return an adapter that is pinned to version 5, and whose spec asks for another."""
    versions = (version(6, **newest), version(5))
    status = {"versions": versions, "recipe": digest(f"recipe {asks_for}"), "observed_generation": 1}
    return adapter(version=5, status=status, **metadata)


WORSE = ComparedVersion(number=5, loss_change="5.1900")
BETTER = ComparedVersion(number=5, loss_change="-0.1000")
FOLLOWS: dict[str, tuple[Adapter, str]] = {
    "worse": (
        pinned({"compared_with": WORSE}),
        "the spec asks for version 6, which is served next; it is 519% worse than version 5 on the same rows",
    ),
    "better": (pinned({"compared_with": BETTER}), "10% better than version 5"),
    "not compared": (pinned({"message": "evaluation loss 1.4"}), "served next; its gate said: evaluation loss 1.4"),
    "nothing is known of it": (pinned({}), "the spec asks for version 6, which is served next"),
    "the pinned one itself": (pinned({}, asks_for=5), "the spec asks for version 5, too: it goes on serving"),
    "rejected": (pinned({"state": "Rejected", "message": "worse"}), "which its gate has rejected (worse)"),
    "rolled back": (pinned({"state": "RolledBack", "message": "errors"}), "is RolledBack (errors) and is tried again"),
    "one that status does not list": (pinned({}, asks_for=9), "and trained if there is none"),
    "a spec that nobody has looked at": (pinned({}, meta={"generation": 2}), "and trained if there is none"),
}


@pytest.mark.parametrize(("subject", "told"), FOLLOWS.values(), ids=FOLLOWS)
def test_unpin_says_what_is_served_next(subject: Adapter, told: str) -> None:
    (note,) = changes.unpin(subject).notes
    assert told in note


def test_unpin_can_do_nothing() -> None:
    change = changes.unpin(adapter(), lenient=True)
    assert (change.patch, change.says) == ({}, "support is not pinned: nothing to do")


def test_notes_on_what_lies_in_git_name_no_verb() -> None:
    flux = {"labels": {"kustomize.toolkit.fluxcd.io/name": "models", "kustomize.toolkit.fluxcd.io/namespace": "flux"}}
    change = changes.rollback(adapter(raw=flux), None)
    assert change.notes[0] == "nothing is trained until `spec.version` is taken out of Git"
    assert changes.rollback(adapter(), None).notes[0] == "nothing is trained until `kubectl graft unpin support`"
    assert "taken out of Git" in changes.promote(adapter(version=5, raw=flux), 6).notes[0]
    found = findings_of_adapter(adapter(version=5, suspend=True, raw=flux))
    assert [item.message.rpartition("until ")[2] for item in found] == [
        "`spec.version` is taken out of Git",
        "`spec.suspend` is taken out of Git",
    ]


def test_promote_means_the_canary() -> None:
    assert changes.promote(canary(), None).patch == {"spec": {"serving": {"rollout": {"promote": 7}}}}
    with pytest.raises(Refused, match="no canary"):
        changes.promote(adapter(), None)
    assert changes.promote(adapter(), 5).patch == {"spec": {"serving": {"rollout": {"promote": 5}}}}


SCORES = "evaluation loss 2.0 improves the base's 2.1 by 5.0%, below evaluation.minImprovementOverBase 99.0%"


@pytest.mark.parametrize(
    ("message", "fix"),
    [
        (SCORES, "lower evaluation.minImprovementOverBase, which trains nothing again; or `kubectl graft pin"),
        ("x, above evaluation.maxRegression 5.0%", "raise evaluation.maxRegression, which"),
        ("the manifest holds no evaluation loss: train again", "`kubectl graft pin support 1`"),
    ],
)
def test_what_the_gate_has_rejected_is_not_promoted(message: str, fix: str) -> None:
    status = {"versions": (version(1, "Rejected", message=message),), "served_version": None, "serving": serving(None)}
    with pytest.raises(Refused, match="version 1 of support was rejected by its gate, and promote is for") as caught:
        changes.promote(adapter(status=status), 1)
    assert caught.value.fix.startswith(fix)
    assert "kubectl graft pin support 1" in caught.value.fix


def test_no_pin_is_advised_for_what_no_engine_can_load() -> None:
    message = "the adapter was trained with method DoRA, which no engine applies beside others; use serving.mode Merged"
    imported = ImportedVersion(source_digest=digest("source"), digest=digest("content"))
    rejected = version(1, "Rejected", message=f"{message} or None", imported=imported)
    status = {"versions": (rejected,), "served_version": None, "serving": serving(None)}
    with pytest.raises(Refused, match="was rejected by its gate") as caught:
        changes.promote(adapter(status=status), 1)
    assert "use serving.mode Merged" in caught.value.fix
    assert "kubectl graft pin" not in caught.value.fix


def test_only_what_the_spec_asks_for_is_promoted() -> None:
    gone, back = version(4, "RolledBack"), version(7, "RolledBack")
    subject = adapter(status={"versions": (back, version(6), gone), "recipe": back.recipe})
    assert changes.promote(subject, 7).patch == {"spec": {"serving": {"rollout": {"promote": 7}}}}
    assert changes.promote(subject, 6).patch, "it takes over, and its limits are watched"
    with pytest.raises(Refused, match="version 4 of support is not what its spec asks for") as caught:
        changes.promote(subject, 4)
    assert "kubectl graft pin support 4" in caught.value.fix


def test_abort_means_the_canary_alone() -> None:
    assert changes.abort(canary(), None).patch == {"spec": {"serving": {"rollout": {"abort": 7}}}}
    for number, subject in ((5, canary()), (None, adapter()), (6, adapter())):
        with pytest.raises(Refused, match="roll out now") as caught:
            changes.abort(subject, number)
        assert "rollback" in caught.value.fix


def test_promote_and_abort_never_name_the_same_version() -> None:
    aborted = canary(serving={"rollout": {"abort": 7}})
    assert changes.promote(aborted, None).patch["spec"]["serving"]["rollout"] == {"promote": 7, "abort": None}
    promoted = canary(serving={"rollout": {"promote": 7}})
    assert changes.abort(promoted, None).patch["spec"]["serving"]["rollout"] == {"abort": 7, "promote": None}


def test_a_pin_outlasts_a_promotion_and_says_so() -> None:
    assert "spec.version pins version 6" in changes.promote(canary(version=6), None).notes[0]


def test_suspend_and_resume_refuse_what_is_so_already() -> None:
    assert changes.suspend(adapter()).patch == {"spec": {"suspend": True}}
    assert changes.resume(adapter(suspend=True)).patch == {"spec": {"suspend": False}}
    with pytest.raises(Refused):
        changes.suspend(adapter(suspend=True))
    with pytest.raises(Refused):
        changes.resume(adapter())


def test_retrain_is_for_what_has_failed() -> None:
    change = changes.retrain(adapter(status={"failed_trainings": failed()}), NOW)
    assert change.patch == {"metadata": {"annotations": {"graft.dev/retry": "2026-01-01T12:00:00Z"}}}
    assert change.spec == {}
    with pytest.raises(Refused, match="has failed for good") as caught:
        changes.retrain(adapter(), NOW)
    assert "seed" in caught.value.fix


def test_retrain_tells_of_another_obstacle() -> None:
    stalled = with_conditions(condition("Stalled", "True", "GateFailed", "evalLoss 4.4 is above 4.0"))
    with pytest.raises(Refused) as caught:
        changes.retrain(adapter(status={"conditions": stalled}), NOW)
    assert caught.value.fix == "evalLoss 4.4 is above 4.0"
