"""The health that the GitOps documents promise, by their own scripts."""

from __future__ import annotations

from typing import Any

import lupa  # type: ignore[import-untyped]
import pytest
import yaml
from tests.unit.crds.bad_specs import EXAMPLES

GITOPS = EXAMPLES.parent / "docs/gitops"
SCRIPTS: dict[str, str] = yaml.safe_load((GITOPS / "argocd-cm.yaml").read_text())["data"]


def adapter(*, observed: int = 2, suspend: bool = False, **conditions: str) -> dict[str, Any]:
    listed = [{"type": kind, "status": status, "message": f"about {kind}"} for kind, status in conditions.items()]
    return {
        "metadata": {"generation": 2},
        "spec": {"suspend": suspend},
        "status": {"observedGeneration": observed, "conditions": listed},
    }


def argo_health(script: str, obj: dict[str, Any]) -> dict[str, str]:
    runtime = lupa.LuaRuntime()
    evaluate = runtime.eval(f"function(obj) {script} end")
    return dict(evaluate(runtime.table_from(obj, recursive=True)))


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize(
    ("obj", "health"),
    [
        ({"metadata": {"generation": 1}, "spec": {}}, "Progressing"),
        (adapter(observed=-1), "Progressing"),
        (adapter(observed=1, Ready="True"), "Progressing"),
        (adapter(Ready="False", Reconciling="True"), "Progressing"),
        (adapter(Ready="True"), "Healthy"),
        (adapter(Ready="True", Reconciling="True"), "Progressing"),
        (adapter(Ready="True", Reconciling="True", suspend=True), "Suspended"),
        (adapter(Ready="True", Reconciling="False", Stalled="False"), "Healthy"),
        (adapter(Ready="True", suspend=True), "Healthy"),
        (adapter(Ready="False", suspend=True), "Suspended"),
        (adapter(Stalled="True", Ready="True"), "Degraded"),
        (adapter(Stalled="False", Ready="True"), "Healthy"),
    ],
)
def test_argo_cd_health(script: str, obj: dict[str, Any], health: str) -> None:
    assert argo_health(script, obj)["status"] == health


def test_argo_cd_takes_an_adapter_that_is_loaded_when_it_is_asked_for_suspended() -> None:
    absent = adapter(Ready="False", Reconciling="False", Stalled="False")
    absent["status"]["conditions"][0]["reason"] = "NotResident"
    assert argo_health(SCRIPTS["resource.customizations.health.graft.dev_LoraAdapter"], absent)["status"] == "Suspended"


def test_argo_cd_shows_what_an_update_waits_for() -> None:
    script = SCRIPTS["resource.customizations.health.graft.dev_LoraAdapter"]
    assert argo_health(script, adapter(Ready="True", Reconciling="True"))["message"] == "about Reconciling"


def test_argo_cd_shows_the_reason_of_a_stall() -> None:
    script = SCRIPTS["resource.customizations.health.graft.dev_LoraAdapter"]
    assert argo_health(script, adapter(Ready="False", Stalled="True"))["message"] == "about Stalled"
