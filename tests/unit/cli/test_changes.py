"""What each verb patches, and when it refuses."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.unit.cli.objects import adapter, canary, condition, failed, serving, version, with_conditions

from graft_cli.decisions import changes
from graft_cli.errors import Refused

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
    from tests.builders import digest

    change = changes.pin(adapter(status={"versions": (version(6), version(5, base_digest=digest("B")))}), 5)
    assert any("another base" in note for note in change.notes)


def test_pin_and_unpin_refuse_what_is_so_already() -> None:
    with pytest.raises(Refused, match="pins version 3 already"):
        changes.pin(adapter(version=3), 3)
    with pytest.raises(Refused, match="not pinned"):
        changes.unpin(adapter())
    assert changes.unpin(adapter(version=3)).patch == {"spec": {"version": None}}


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
