"""What the status says when a pass can't be planned."""

from datetime import UTC, datetime

from graft_operator.api.conditions import Condition, find
from graft_operator.api.meta import ObjectMeta
from graft_operator.artifacts import Corrupt, RegistryUnavailable
from graft_operator.cluster.errors import Forbidden
from graft_operator.reconcilers.failure_conditions import object_refused, registry_trouble, with_problem

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OBJECT = ObjectMeta(name="support", namespace="team-a", uid="u", generation=3)


def ready(status: str) -> tuple[Condition, ...]:
    return (Condition(type="Ready", status=status, reason="Serving", last_transition_time=NOW),)


def told(old: tuple[Condition, ...], error: Exception, *, is_transient: bool) -> dict[str, tuple[str, str]]:
    conditions = with_problem(OBJECT, old, registry_trouble(error, is_transient=is_transient), NOW)
    return {item.type: (item.status, item.reason) for item in conditions}


def test_an_adapter_that_answers_stays_ready_while_the_registry_is_away() -> None:
    said = told(ready("True"), RegistryUnavailable("no route"), is_transient=True)
    assert said["Ready"] == ("True", "Serving")
    assert said["Reconciling"] == ("True", "RegistryUnavailable")
    assert said["Stalled"][0] == "False"


def test_one_that_does_not_answer_says_why() -> None:
    said = told(ready("False"), RegistryUnavailable("no route"), is_transient=True)
    assert said["Ready"] == ("False", "RegistryUnavailable")


def test_a_damaged_registry_needs_a_person() -> None:
    said = told((), Corrupt("key", "sha256 a", "sha256 b"), is_transient=False)
    assert said["Stalled"] == ("True", "RegistryCorrupt")
    assert said["Reconciling"][0] == "False"


def test_the_message_names_what_is_damaged() -> None:
    conditions = with_problem(OBJECT, (), registry_trouble(Corrupt("a/b", "x", "y"), is_transient=False), NOW)
    stalled = find(conditions, "Stalled")
    assert stalled is not None
    assert "a/b" in stalled.message


def test_what_a_pass_cannot_do_without_and_is_refused_needs_a_person() -> None:
    conditions = with_problem(OBJECT, (), object_refused(Forbidden("PATCH adapters: denied by policy")), NOW)
    said = {item.type: (item.status, item.reason) for item in conditions}
    assert said["Stalled"] == ("True", "ObjectRefused")
    assert said["Reconciling"][0] == "False"
    assert said["Ready"] == ("False", "ObjectRefused")
    stalled = find(conditions, "Stalled")
    assert stalled is not None
    assert "denied by policy" in stalled.message
