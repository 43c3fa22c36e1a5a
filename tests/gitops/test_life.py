"""Adapters and bases by commits: a tool waits for what waits, tells what fails, is done when the adapter answers."""

from __future__ import annotations

import json

import pytest
from demo.cluster import condition
from demo.goals import settled
from tests.e2e.tenant import ADAPTERS
from tests.gitops.repository import ADAPTER, BASE
from tests.gitops.team import Team

pytestmark = [pytest.mark.gitops, pytest.mark.timeout(1200)]
SMALL = {"rank": 8, "targetModules": ["all-linear"]}
LARGE = {"rank": 16, "targetModules": ["all-linear"]}
QUESTIONS = 10
"""A second or two each, by a program that is started in the client's pod."""
SMALLER = {"rank": 4, "targetModules": ["all-linear"]}


def test_base_and_adapter_are_done_when_they_answer(team: Team) -> None:
    team.repository.list_objects(BASE, ADAPTER)
    team.repository.set_spec(BASE, team.base_spec())
    team.repository.set_spec(ADAPTER, team.adapter_spec(lora=SMALL))
    team.wait_done(team.repository.commit("Add an adapter and its base"), 1)
    assert "Working" in team.states


def test_no_difference_is_seen_afterwards(team: Team) -> None:
    before = team.generations()
    assert team.tool.differences() == []
    assert team.generations() == before


def test_change_is_waited_for(team: Team) -> None:
    team.repository.set_spec(ADAPTER, team.adapter_spec(lora=LARGE))
    commit = team.repository.commit("Raise the rank")
    adapter = team.wait_done(commit, 2)
    assert "Working" in team.states
    assert condition(adapter, "UpToDate")["status"] == "True"


def test_change_that_can_not_be_done_fails(team: Team) -> None:
    missing = {"s3": {"uri": team.tenant.bucket.uri("e2e-sources/data/missing.jsonl")}}
    team.repository.set_spec(ADAPTER, team.adapter_spec(lora=LARGE, dataset=missing))
    report = team.wait_for(team.repository.commit("Train on rows that are not there"), "Failed")
    assert ADAPTER in report.message
    stalled = condition(team.adapter(), "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "BadDataset")
    if team.tool.name == "argocd":  # Flux names the object, whose condition says it
        assert stalled["message"] in report.message
    assert team.answers() == f"{ADAPTER}@v2"


def test_revert_is_done_without_training(team: Team) -> None:
    jobs = team.tenant.training_jobs(ADAPTER)
    team.wait_done(team.repository.revert(), 2)
    assert set(team.tenant.training_jobs(ADAPTER)) <= set(jobs)
    assert [manifest["number"] for manifest in team.tenant.versions(ADAPTER)] == [1, 2]


def test_edit_by_hand_is_healed(team: Team) -> None:
    patch = json.dumps({"spec": {"lora": SMALLER}})
    where = ("-n", team.tenant.namespace, ADAPTERS, ADAPTER)
    team.tenant.cluster.kubectl("patch", *where, "--type=merge", "-p", patch)
    team.wait_until(lambda: team.rank() == LARGE["rank"], "Git's rank is back")
    team.wait_until(lambda: settled(team.adapter() or {}), "settled again")
    assert team.answers() == f"{ADAPTER}@v2"


def test_base_bump_by_pull_request_is_done_when_the_adapter_is_on_the_new_base(team: Team) -> None:
    old = team.served_base()
    team.repository.set_spec(BASE, team.base_spec("base-v2"))
    commit = team.repository.merge("base-v2", "Bump the base")
    team.wait_for(commit, "Done")
    assert "Working" in team.states
    adapter = team.adapter()
    assert settled(adapter or {}), f"done before the adapter: {adapter}"
    assert team.served_base() not in (None, old)
    newest = team.tenant.versions(ADAPTER)[-1]
    assert newest["reason"] == "BaseModelChanged"
    assert team.answers() == f"{ADAPTER}@v{newest['number']}"


def test_commit_takes_over_from_one_that_is_waited_for(team: Team) -> None:
    served = team.answers()
    team.repository.set_spec(ADAPTER, team.adapter_spec(lora=LARGE, training={"maxSteps": 3000, "evalSteps": 3000}))
    commit = team.repository.commit("Train for long")
    team.wait_until(lambda: condition(team.adapter(), "Reconciling")["status"] == "True", "the long training")
    team.wait_for(commit, "Working")
    team.wait_for(team.repository.revert(), "Done", timeout=120)
    assert team.answers() == served


def test_base_is_pruned_before_its_adapter(team: Team) -> None:
    team.repository.list_objects(ADAPTER)
    team.repository.commit("Remove the base")
    team.wait_until(team.base_is_held, "the base says why it stays")
    for _ in range(QUESTIONS):  # Argo CD prunes in the foreground: what is taken away with the base goes by and by
        assert team.answers().startswith(f"{ADAPTER}@v")
    team.repository.list_objects()
    commit = team.repository.commit("Remove the adapter")
    team.wait_until(lambda: (team.adapter(), team.base()) == (None, None), "both are gone")
    team.wait_for(commit, "Done")


def test_both_come_back_without_training_and_go_again_adapter_first(team: Team) -> None:
    team.repository.list_objects(BASE, ADAPTER)
    commit = team.repository.commit("Bring both back")
    newest = team.tenant.versions(ADAPTER)[-1]["number"]
    team.wait_done(commit, newest)
    assert team.tenant.training_jobs(ADAPTER) == []
    team.repository.list_objects(BASE)
    team.wait_for(team.repository.commit("Remove the adapter"), "Done")
    team.wait_until(lambda: team.adapter() is None, "the adapter is gone")
    assert team.base() is not None
    team.repository.list_objects()
    team.wait_for(team.repository.commit("Remove the base"), "Done")
    team.wait_until(lambda: team.base() is None, "the base is gone")
