"""The verbs that change a spec, by a person's own rights."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cli.conftest import Cluster, manifest
from tests.control_plane import ADAPTERS
from tests.unit.cli import objects

from graft_cli.client import connect
from graft_cli.cluster.edits import patch_adapter
from graft_cli.errors import Conflict, ExitCode, GraftError

EDITOR = ({"apiGroups": ["graft.dev"], "resources": ["loraadapters"], "verbs": ["get", "patch"]},)


def spec(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.adapter()["spec"]
    return found


def test_rollback_pins_and_unpin_lets_go(cluster: Cluster) -> None:
    done = cluster.graft("rollback", "support")
    assert (done.code, spec(cluster)["version"]) == (0, 5)
    assert "pinned to version 5" in done.err
    assert cluster.graft("rollback", "support", "--to", "v3").code == 0
    assert spec(cluster)["version"] == 3
    assert cluster.graft("pin", "support", "3").code == 1
    assert cluster.graft("pin", "support", "2").code == 0
    assert cluster.graft("unpin", "support").code == 0
    assert "version" not in spec(cluster)


def test_promote_and_abort_name_the_canary(cluster: Cluster) -> None:
    cluster.put(ADAPTERS, manifest("LoraAdapter", objects.canary().raw))
    assert cluster.graft("promote", "support").code == 0
    assert spec(cluster)["serving"]["rollout"]["promote"] == 7
    assert cluster.graft("abort", "support").code == 0
    rollout = spec(cluster)["serving"]["rollout"]
    assert (rollout["abort"], "promote" in rollout) == (7, False)


def test_suspend_resume_and_retrain(cluster: Cluster) -> None:
    assert cluster.graft("suspend", "support").code == 0
    assert spec(cluster)["suspend"] is True
    assert cluster.graft("resume", "support").code == 0
    assert spec(cluster)["suspend"] is False
    assert cluster.graft("retrain", "support").code == 1
    failed = objects.adapter(status={"failed_trainings": objects.failed()})
    cluster.put(ADAPTERS, manifest("LoraAdapter", failed.raw))
    assert cluster.graft("retrain", "support").code == 0
    assert "graft.dev/retry" in cluster.adapter()["metadata"]["annotations"]


def test_a_dry_run_changes_nothing(cluster: Cluster) -> None:
    done = cluster.graft("rollback", "support", "--dry-run")
    assert (done.code, "nothing was changed" in done.err) == (0, True)
    assert "version" not in spec(cluster)


@pytest.mark.parametrize("tool", ["Flux", "Argo CD"])
def test_what_git_owns_is_not_changed_beside_it_without_force(cluster: Cluster, tool: str) -> None:
    metadata = {
        "Flux": {"labels": {"kustomize.toolkit.fluxcd.io/name": "loras", "kustomize.toolkit.fluxcd.io/namespace": "f"}},
        "Argo CD": {"annotations": {"argocd.argoproj.io/tracking-id": "loras:graft.dev/LoraAdapter:team-a/support"}},
    }[tool]
    cluster.put(ADAPTERS, manifest("LoraAdapter", objects.adapter().raw, **metadata))
    refused = cluster.graft("rollback", "support")
    assert refused.code == 6
    assert tool in refused.err
    assert refused.err.endswith("metadata:\n  name: support\nspec:\n  version: 5\n")
    assert "not into what stages share" in refused.err
    assert "version" not in spec(cluster)
    forced = cluster.graft("rollback", "support", "--force")
    assert (forced.code, "undoes this" in forced.err) == (0, True)
    assert spec(cluster)["version"] == 5
    assert "until `spec.version` is taken out of Git" in forced.err
    let_go = cluster.graft("unpin", "support")
    assert (let_go.code, "take spec.version out of what" in let_go.err) == (6, True)
    assert cluster.graft("unpin", "support", "--force").code == 0
    again = cluster.graft("unpin", "support", "--force")
    assert (again.code, "nothing to do" in again.err) == (0, True)
    assert cluster.graft("unpin", "support").code == 1


def test_a_field_manager_alone_tells_of_argo_cd(cluster: Cluster) -> None:
    path = f"{ADAPTERS.path('team-a', 'support')}?fieldManager=argocd-controller&force=true"
    body = manifest("LoraAdapter", objects.adapter().raw)
    del body["status"]
    cluster.request("PATCH", path, body, "application/apply-patch+yaml")
    assert cluster.graft("suspend", "support").code == 6


def test_two_rights_are_enough_and_reading_is_not(cluster: Cluster) -> None:
    editor = cluster.person("editor", *EDITOR)
    assert cluster.graft("rollback", "support", kubeconfig=editor).code == 0
    reader = cluster.person("reader", {**EDITOR[0], "verbs": ["get"]})
    refused = cluster.graft("unpin", "support", kubeconfig=reader)
    assert (refused.code, "forbidden" in refused.err) == (4, True)


def test_the_api_server_s_own_words_reach_people(cluster: Cluster) -> None:
    graft = connect(kubeconfig=str(cluster.kubeconfig))
    read = graft.adapter("team-a", "support").metadata
    with pytest.raises(GraftError, match="version") as raised:
        patch_adapter(graft.connection, read, {"spec": {"version": 0}})
    assert raised.value.exit_code == ExitCode.FAILED
    assert cluster.graft("pin", "support", "0").code == ExitCode.USAGE


def test_only_the_object_that_was_read_is_changed(cluster: Cluster) -> None:
    graft = connect(kubeconfig=str(cluster.kubeconfig))
    read = graft.adapter("team-a", "support").metadata
    assert cluster.graft("suspend", "support").code == 0
    for dry_run in (True, False):
        with pytest.raises(Conflict, match=r"changed|modified"):
            patch_adapter(graft.connection, read, {"spec": {"version": 3}}, dry_run=dry_run)
    assert "version" not in cluster.adapter()["spec"]
