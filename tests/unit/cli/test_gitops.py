"""Objects that Argo CD or Flux apply from Git are not changed beside them."""

from __future__ import annotations

from typing import Any

import pytest

from graft_cli.cluster.git_sources import folder_of
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
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "apps_loras:graft.dev/LoraAdapter:team-a/support"}},
            GitOwner("Argo CD", "Application apps/loras"),
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


def test_what_to_commit_is_a_patch_and_names_what_goes() -> None:
    patch = {"serving": {"rollout": {"promote": 7, "abort": None}}}
    assert to_commit("support", patch).splitlines() == [
        "apiVersion: graft.dev/v1alpha1",
        "kind: LoraAdapter",
        "metadata:",
        "  name: support",
        "spec:",
        "  serving:",
        "    rollout:",
        "      promote: 7",
        "# remove spec.serving.rollout.abort",
    ]


OWNER = GitOwner("Flux", "Kustomization flux-system/models")


def test_the_refusal_says_what_to_commit_and_where() -> None:
    error = refusal(OWNER, "a", "b", {"version": 6}, folder="./models/staging", notes=("nothing is trained",))
    assert "LoraAdapter a/b is applied by Flux (Kustomization flux-system/models)" in error.message
    assert error.fix.splitlines()[:3] == [
        "put this into what Kustomization flux-system/models applies (folder ./models/staging), not into what stages"
        " share; or change it all the same with --force",
        "  note: nothing is trained",
        "",
    ]
    assert error.fix.endswith("spec:\n  version: 6")
    assert error.exit_code == ExitCode.MANAGED_ELSEWHERE


def test_the_refusal_of_a_removal_names_the_field() -> None:
    error = refusal(GitOwner("Argo CD"), "a", "b", {"version": None})
    assert error.fix == "take spec.version out of what Argo CD applies; if it is not there, use --force"


@pytest.mark.parametrize(
    ("source", "kind", "place"),
    [
        ("Kustomization flux-system/models", "Kustomization", ("flux-system", "models")),
        ("Application loras", "Application", ("", "loras")),
        ("Application team-a/loras", "Application", ("team-a", "loras")),
        ("HelmRelease /a", "HelmRelease", ("", "a")),
        ("", "", ("", "")),
    ],
)
def test_the_place_of_the_source_is_told(source: str, kind: str, place: tuple[str, str]) -> None:
    owner = GitOwner("Any", source)
    assert (owner.kind, owner.place) == (kind, place)


@pytest.mark.parametrize(
    ("body", "folder"),
    [
        ({"spec": {"path": "./models/staging", "sourceRef": {"kind": "GitRepository"}}}, "./models/staging"),
        ({"spec": {"source": {"path": "models/staging", "repoURL": "https://git"}}}, "models/staging"),
        ({"spec": {"source": {"chart": "models", "repoURL": "https://charts"}}}, ""),
        ({"spec": {"sources": [{"path": "one"}, {"path": "two"}]}}, ""),
        ({"spec": {"sourceRef": {"kind": "OCIRepository"}}}, ""),
        ({}, ""),
    ],
)
def test_the_folder_is_the_one_that_the_tool_is_told(body: dict[str, Any], folder: str) -> None:
    assert folder_of(body) == folder
