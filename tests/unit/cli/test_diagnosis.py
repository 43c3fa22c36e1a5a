"""What doctor makes of what it has found, and whose logs are shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.builders import NOW
from tests.unit.cli.objects import adapter, base, failed, serving, training

from graft_cli.client import Base
from graft_cli.completion import candidates
from graft_cli.decisions.diagnosis import CRDS, Check, Facts, Lease, diagnose, is_healthy
from graft_cli.decisions.logs import log_source
from graft_cli.decisions.rights import RIGHTS
from graft_cli.errors import Refused
from graft_operator.api.conditions import Condition

HEALTHY = Facts(
    server_version="v1.35.0",
    namespace="team-a",
    crds=dict.fromkeys(CRDS, ("v1alpha1",)),
    lease=Lease("operator-1", NOW, 15),
    lease_name="graft-system/graft-operator",
    rights={right: True for rights in RIGHTS.values() for right in rights},
    gpus={"gpu-1": 4, "gpu-2": 4},
)


def failing(facts: Facts) -> list[Check]:
    return [check for check in diagnose(facts, NOW) if check.verdict == "failed"]


def test_all_is_well() -> None:
    checks = diagnose(HEALTHY, NOW)
    assert is_healthy(checks)
    assert {check.verdict for check in checks} == {"ok"}
    assert checks[-1].message == "8 on 2 nodes (gpu-1 4, gpu-2 4)"


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (replace(HEALTHY, problem="it does not answer"), "it does not answer"),
        (replace(HEALTHY, crds={CRDS[0]: ("v1alpha1",)}), "is not installed"),
        (replace(HEALTHY, crds=dict.fromkeys(CRDS, ("v1",))), "serves v1, and this program speaks v1alpha1"),
        (replace(HEALTHY, lease=None), "there is no such lease"),
        (replace(HEALTHY, lease=Lease("", NOW, 15)), "nobody holds it"),
        (replace(HEALTHY, lease=Lease("operator-1", NOW - timedelta(minutes=1), 15)), "not renewed it since"),
    ],
)
def test_what_is_broken_is_said_with_the_fix(facts: Facts, says: str) -> None:
    found = failing(facts)
    assert says in found[0].message
    assert all(check.fix for check in found)


@pytest.mark.parametrize(
    ("status", "reason", "verdict"),
    [
        ("True", "ConditionalWrites", "ok"),
        ("False", "ConditionalWritesIgnored", "warning"),
        ("False", "StoreUnfit", "failed"),
        ("Unknown", "NotProbed", "warning"),
    ],
)
def test_what_the_operator_has_found_of_the_registry_is_said(status: str, reason: str, verdict: str) -> None:
    told = Condition.model_validate(
        {"type": "RegistrySafe", "status": status, "reason": reason, "message": "so it is", "lastTransitionTime": NOW}
    )
    check = next(check for check in diagnose(replace(HEALTHY, registry=told), NOW) if check.name == "registry")
    assert (check.verdict, check.message) == (verdict, "so it is")
    assert "graft_registry doctor" in check.fix


def test_what_is_missing_of_rights_and_gpus_is_a_warning() -> None:
    checks = diagnose(replace(HEALTHY, rights={}, gpus={}), NOW)
    assert is_healthy(checks)
    assert sum(check.verdict == "warning" for check in checks) == len(RIGHTS) + 1


def test_logs_are_of_what_runs() -> None:
    runs = adapter(status={"training": training()})
    assert log_source(runs, base()).selector == "batch.kubernetes.io/job-name=topic-train-ab12cd34"
    broken = adapter(status={"failed_trainings": failed()})
    both = "graft.dev/owner-uid=uid-of-support,graft.dev/component in (training,preparation)"
    assert log_source(broken, base()).selector == both
    assert log_source(runs, base(), "serving").container == "agent"
    merged = adapter(status={"serving": serving(6).model_copy(update={"mode": "Merged"})})
    assert log_source(merged, base()).container == "engine"
    body = dict(base().raw)
    unresolved = Base.parse({**body, "status": {}})
    assert "component=import" in log_source(adapter(), unresolved).selector


def test_there_may_be_no_logs() -> None:
    idle = adapter(status={"serving": serving(None), "served_version": None})
    with pytest.raises(Refused, match="nothing runs for support"):
        log_source(idle, base())
    with pytest.raises(Refused, match="no BaseModel tiny"):
        log_source(adapter(), None)


def test_kubectl_s_completion_gets_verbs_options_and_files() -> None:
    names, directive = candidates(["hist"])
    assert [name.partition("\t")[0] for name in names] == ["history"]
    assert directive == ":4"
    assert "--watch" in [name.partition("\t")[0] for name in candidates(["status", "--w"])[0]]
    assert candidates(["lint", ""])[1] == ":0"


def test_the_page_lists_the_rights_of_every_verb() -> None:
    page = (Path(__file__).parents[3] / "docs/cli.md").read_text()
    for verb, rights in RIGHTS.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{verb}` |")]
        assert all(f"`{right}`" in row for right in rights), row
