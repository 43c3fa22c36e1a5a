"""The agent's state: what the agent writes is what the operator reads (docs/contracts.md §7)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import get_args

import pytest

from graft_cli.dashboard.holdings import holding
from graft_operator.agents.state import AgentState as Read
from graft_operator.agents.state import EngineStatus, LoadStatus, ProbeScore
from graft_operator.agents.state_parser import read_state
from graft_operator.plan.rollout.measured import Measured
from graft_serving.status.documents import (
    AdapterStatus,
    BaseState,
    EngineState,
    MeasuredState,
    ProbeScoreState,
    ShareState,
    VersionStatus,
)
from graft_serving.status.documents import AgentState as Written
from graft_serving.telemetry.traffic import latency_bucket
from graft_serving.versions import VersionState

DIGEST, OTHER_DIGEST = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


def written(state: str = "Proven", engine: str = "Ready", wanted_digest: str | None = DIGEST) -> Written:
    version = VersionStatus(
        number=7,
        manifest_digest=DIGEST,
        engine_name="support--v7-aaaaaaaa",
        state=state,
        reason="RankTooHigh",
        message="rank 128 is above 64",
        inflight=1,
        requests=2,
        errors=3,
        load_seconds=0.5,
        measured=MeasuredState(requests=4, errors=1, latency={-27: 2, 0: 1}),
        probes=ProbeScoreState(of=OTHER_DIGEST, total=32, asked=12, right=11),
    )
    return Written(
        pod="pod-1",
        revision="1f2e3d4c-5",
        wanted_digest=wanted_digest,
        message="",
        base=BaseState(name="tiny", digest=DIGEST),
        engine=EngineState.model_validate({"state": engine, "starts": 1, "message": ""}),
        ready=True,
        adapters=(
            AdapterStatus(
                name="support",
                active=(ShareState(number=7, weight=100),),
                versions=(version,),
                last_asked="2026-01-01T00:00:05Z",
            ),
        ),
    )


def read(document: Written) -> Read:
    return read_state(document.to_bytes())


def test_the_operator_reads_every_field_that_it_decides_by() -> None:
    state = read(written())
    adapter = state.adapters[0]
    assert (state.pod, state.wanted_digest, state.ready) == ("pod-1", DIGEST, True)
    assert state.revision == "1f2e3d4c-5"
    assert state.base is not None
    assert state.base.digest == DIGEST
    assert [(share.number, share.weight) for share in adapter.active] == [(7, 100)]
    assert adapter.last_asked == datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)
    version = adapter.versions[0]
    assert (version.number, version.manifest_digest, version.state) == (7, DIGEST, "Proven")
    assert (version.reason, version.message) == ("RankTooHigh", "rank 128 is above 64")
    measured = version.measured
    assert (measured.requests, measured.errors, measured.latency) == (4, 1, {-27: 2, 0: 1})
    assert version.probes == ProbeScore(of=OTHER_DIGEST, total=32, asked=12, right=11)


@pytest.mark.parametrize("seconds", [0.0001, 0.09, 1.0, 1.01, 75.0])
def test_both_sides_mean_the_same_time_by_a_bucket(seconds: float) -> None:
    bucket = latency_bucket(seconds)
    upper_end = Measured(requests=1, latency={bucket: 1}).slow_seconds()
    assert seconds <= upper_end < seconds * 1.0906


def test_an_agent_without_a_wanted_set_is_read() -> None:
    assert read(written(wanted_digest=None)).wanted_digest is None


@pytest.mark.parametrize("state", VersionState)
def test_the_operator_knows_every_state_of_a_version(state: VersionState) -> None:
    assert read(written(state=state)).adapters[0].versions[0].state == state


def test_no_state_is_known_to_one_side_only() -> None:
    assert set(get_args(LoadStatus)) == set(VersionState)
    assert set(get_args(EngineStatus)) == set(get_args(EngineState.model_fields["state"].annotation))


def test_the_plugin_shows_what_a_pod_holds() -> None:
    found = holding("pod-1", "node-1", "Running", json.loads(written().to_bytes()))
    assert (found.problem, found.ready, found.engine, found.base_digest) == ("", True, "Ready", DIGEST)
    (adapter,) = found.adapters
    (version,) = adapter.versions
    assert (adapter.name, adapter.last_asked) == ("support", "2026-01-01T00:00:05Z")
    assert (version.number, version.state, version.weight, version.inflight) == (7, "Proven", 100, 1)
    assert (version.requests, version.errors, version.message) == (2, 3, "rank 128 is above 64")
