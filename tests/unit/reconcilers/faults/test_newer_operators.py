"""A newer operator was here before this one, and has written words into statuses that this one does not know."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.reconcilers.moments import told
from tests.unit.reconcilers.simulation import Simulation


def status_body(run: Simulation, kind: str = "LoraAdapter", name: str = "support") -> dict[str, Any]:
    status: dict[str, Any] = run.world.cluster.objects[kind, name]["status"]
    return status


WORDS: dict[str, Any] = {
    "a reason": lambda status: status["versions"][0].update(reason="Distilled"),
    "a state": lambda status: status["versions"][0].update(state="Quarantined"),
    "a field": lambda status: status["versions"][0].update(signature="abc"),
    "a condition": lambda status: status["conditions"].append(
        {
            "type": "Signed",
            "status": "True",
            "reason": "Signed",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ),
    "a mode": lambda status: status["serving"].update(mode="Sharded"),
    "what can't be read at all": lambda status: status["versions"][0].update(number="one"),
}


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("write", WORDS.values(), ids=WORDS)
async def test_what_is_served_goes_on_being_served(write: Any, restarts: bool) -> None:
    run = Simulation("support", "sales")
    await run.settle()
    write(status_body(run))
    if restarts:
        run.world.restart_operator()
    for _ in range(6):
        await run.world_goes_on()
    assert run.answers() == {"v1@a"}
    run.write_adapter("sales", lora={"rank": 8})
    for _ in range(20):
        await run.world_goes_on()
    assert run.answers("sales") == {"v2@a"}, "its siblings are decided about as ever"
    assert run.answers() == {"v1@a"}


async def test_a_word_that_can_be_kept_is_kept() -> None:
    run = Simulation()
    await run.settle()
    status_body(run)["versions"][0]["reason"] = "Distilled"
    run.write_adapter(lora={"rank": 8})
    await run.settle()
    assert run.answers() == {"v2@a"}
    assert [item.reason for item in run.status().versions] == ["SpecChanged", "Distilled"]


async def test_a_status_that_can_not_be_read_is_told_and_left_as_it_is() -> None:
    run = Simulation()
    await run.settle()
    status_body(run)["versions"][0]["number"] = "one"
    before = {name: value for name, value in status_body(run).items() if name != "conditions"}
    for _ in range(3):
        await run.world_goes_on()
    assert {name: value for name, value in status_body(run).items() if name != "conditions"} == before
    stalled = next(item for item in status_body(run)["conditions"] if item["type"] == "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "UnreadableStatus")
    assert "versions.0.number" in stalled["message"]


async def test_a_base_whose_status_can_not_be_read_goes_on_answering() -> None:
    run = Simulation()
    await run.settle()
    status_body(run, "BaseModel", "tiny")["serving"][0]["replicas"] = "many"
    for _ in range(4):
        await run.world_goes_on()
    assert run.answers() == {"v1@a"}
    stalled = next(item for item in status_body(run, "BaseModel", "tiny")["conditions"] if item["type"] == "Stalled")
    assert stalled["reason"] == "UnreadableStatus"


async def test_an_operator_that_understands_it_goes_on_where_the_newer_one_was() -> None:
    run = Simulation()
    await run.settle()
    status_body(run)["versions"][0]["number"] = "one"
    for _ in range(3):
        await run.world_goes_on()
    status_body(run)["versions"][0]["number"] = 1
    await run.settle()
    assert told(run, "Stalled") == ("False", "Progressing")
    assert run.answers() == {"v1@a"}
