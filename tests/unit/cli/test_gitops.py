"""Objects that Argo CD or Flux apply from Git are not changed beside them."""

from __future__ import annotations

from typing import Any

import pytest

from graft_cli.decisions.gitops import GitOwner, git_owner, refusal, to_commit
from graft_cli.errors import ExitCode


def managed(manager: str, subresource: str = "") -> dict[str, Any]:
    entry = {"manager": manager} | ({"subresource": subresource} if subresource else {})
    return {"managedFields": [entry]}


FLUX = {"kustomize.toolkit.fluxcd.io/name": "adapters", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        ({"labels": FLUX}, GitOwner("Flux", "Kustomization flux-system/adapters")),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "a"}}, GitOwner("Flux", "HelmRelease /a")),
        (managed("kustomize-controller"), GitOwner("Flux")),
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "loras:graft.dev/LoraAdapter:team-a/support"}},
            GitOwner("Argo CD", "Application loras"),
        ),
        ({"labels": {"argocd.argoproj.io/instance": "loras"}}, GitOwner("Argo CD", "Application loras")),
        (
            managed("argocd-controller") | {"labels": {"app.kubernetes.io/instance": "loras"}},
            GitOwner("Argo CD", "Application loras"),
        ),
        # Helm's own label, a person's kubectl and the operator's status are nobody's Git.
        ({"labels": {"app.kubernetes.io/instance": "release"}}, None),
        (managed("kubectl-client-side-apply"), None),
        (managed("kustomize-controller", "status"), None),
        ({}, None),
    ],
)
def test_tools_are_told_by_what_they_leave(metadata: dict[str, Any], owner: GitOwner | None) -> None:
    assert git_owner({"metadata": metadata}) == owner


def test_what_to_commit_is_yaml_and_names_what_goes() -> None:
    patch = {"serving": {"rollout": {"promote": 7, "abort": None}}}
    assert to_commit(patch).splitlines() == [
        "  spec:",
        "    serving:",
        "      rollout:",
        "        promote: 7",
        "  # remove spec.serving.rollout.abort",
    ]
    assert to_commit({"version": None}) == "  # remove spec.version"


def test_the_refusal_names_the_tool_and_the_way_round_it() -> None:
    error = refusal(GitOwner("Flux", "Kustomization flux-system/adapters"), "LoraAdapter a/b", {"version": 6})
    assert "Flux (Kustomization flux-system/adapters)" in error.message
    assert "--force" in error.fix
    assert "version: 6" in error.fix
    assert error.exit_code == ExitCode.MANAGED_ELSEWHERE
