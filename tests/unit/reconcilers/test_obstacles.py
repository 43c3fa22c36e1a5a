"""What the status says when a pass can't be planned."""

from datetime import UTC, datetime

from tests.unit.reconcilers.simulation import Simulation

from graft_operator.api.base_model import BaseModelStatus
from graft_operator.api.conditions import Condition, find
from graft_operator.api.meta import ObjectMeta
from graft_operator.artifacts import Corrupt, RegistryUnavailable
from graft_operator.reconcilers.obstacles import obstructed, registry_trouble

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OBJECT = ObjectMeta(name="support", namespace="team-a", uid="u", generation=3)


def ready(status: str) -> tuple[Condition, ...]:
    return (Condition(type="Ready", status=status, reason="Serving", last_transition_time=NOW),)


def told(old: tuple[Condition, ...], error: Exception, *, passes: bool) -> dict[str, tuple[str, str]]:
    conditions = obstructed(OBJECT, old, registry_trouble(error, passes=passes), NOW)
    return {item.type: (item.status, item.reason) for item in conditions}


def test_an_adapter_that_answers_stays_ready_while_the_registry_is_away() -> None:
    said = told(ready("True"), RegistryUnavailable("no route"), passes=True)
    assert said["Ready"] == ("True", "Serving")
    assert said["Reconciling"] == ("True", "RegistryUnavailable")
    assert said["Stalled"][0] == "False"


def test_one_that_does_not_answer_says_why() -> None:
    said = told(ready("False"), RegistryUnavailable("no route"), passes=True)
    assert said["Ready"] == ("False", "RegistryUnavailable")


def test_a_damaged_registry_needs_a_person() -> None:
    said = told((), Corrupt("key", "sha256 a", "sha256 b"), passes=False)
    assert said["Stalled"] == ("True", "RegistryCorrupt")
    assert said["Reconciling"][0] == "False"


def test_the_message_names_what_is_damaged() -> None:
    conditions = obstructed(OBJECT, (), registry_trouble(Corrupt("a/b", "x", "y"), passes=False), NOW)
    stalled = find(conditions, "Stalled")
    assert stalled is not None
    assert "a/b" in stalled.message


async def test_what_the_api_server_refuses_is_told_and_tried_again() -> None:
    run = Simulation()
    run.world.cluster.refused_kinds.add("Deployment")
    await run.rounds(10)
    status = BaseModelStatus.model_validate(run.world.cluster.objects["BaseModel", "tiny"]["status"])
    stalled = find(status.conditions, "Stalled")
    assert stalled is not None
    assert (stalled.status, stalled.reason) == ("True", "ObjectRefused")
    assert "admission webhook denied the request: Deployment" in stalled.message
    assert run.health("BaseModel", "tiny") == "Failed"
    run.world.cluster.refused_kinds.clear()
    await run.settle()
    assert run.answers() == {"v1@a"}
    assert run.health("BaseModel", "tiny") == "Current"
