"""Who else owns an object's spec: a change beside Argo CD or Flux is undone at their next sync.

Told by what they leave on every object that they apply: labels, annotations and field managers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from graft_cli.decisions.manifests import as_yaml
from graft_cli.errors import ManagedElsewhere

FLUX_LABELS: Final = {"kustomize.toolkit.fluxcd.io": "Kustomization", "helm.toolkit.fluxcd.io": "HelmRelease"}
FLUX_MANAGERS: Final = ("kustomize-controller", "helm-controller")
ARGO_TRACKING: Final = "argocd.argoproj.io/tracking-id"
ARGO_LABEL: Final = "argocd.argoproj.io/instance"
SHARED_LABEL: Final = "app.kubernetes.io/instance"
"""Argo CD's label in its oldest way of tracking, but also Helm's: it counts with Argo CD's field manager only."""
ARGO_MANAGERS: Final = ("argocd-controller", "argocd-application-controller")


@dataclass(frozen=True, slots=True)
class GitOwner:
    """The tool that applies the object from Git, and what it calls the source."""

    tool: str
    source: str = ""

    def __str__(self) -> str:
        return f"{self.tool} ({self.source})" if self.source else self.tool


def git_owner(raw: Mapping[str, Any]) -> GitOwner | None:
    """Return the tool that applies the object from Git; None where none does."""
    metadata = raw.get("metadata") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    managers = set(_managers(metadata))
    for prefix, kind in FLUX_LABELS.items():
        if name := labels.get(f"{prefix}/name"):
            return GitOwner("Flux", f"{kind} {labels.get(f'{prefix}/namespace', '')}/{name}")
    if tracking := annotations.get(ARGO_TRACKING):
        return GitOwner("Argo CD", f"Application {tracking.partition(':')[0]}")
    if name := labels.get(ARGO_LABEL):
        return GitOwner("Argo CD", f"Application {name}")
    if not managers.isdisjoint(ARGO_MANAGERS):
        name = labels.get(SHARED_LABEL)
        return GitOwner("Argo CD", f"Application {name}" if name else "")
    return GitOwner("Flux") if not managers.isdisjoint(FLUX_MANAGERS) else None


def refusal(owner: GitOwner, what: str, spec: Mapping[str, Any]) -> ManagedElsewhere:
    """Return the error that says what to commit instead of a change by hand."""
    message = f"{what} is applied by {owner} from Git, which would undo this at its next sync"
    fix = f"commit this instead, or change it all the same with --force:\n\n{to_commit(spec)}"
    return ManagedElsewhere(message, fix=fix)


def to_commit(spec: Mapping[str, Any]) -> str:
    """Return a change of the spec as lines for a manifest; what is taken out is named below them."""
    kept = _without_nulls(spec)
    lines = as_yaml({"spec": kept}).rstrip().splitlines() if kept else []
    lines += [f"# remove spec.{path}" for path in _nulls(spec)]
    return "\n".join(f"  {line}" for line in lines)


def _managers(metadata: Mapping[str, Any]) -> Iterator[str]:
    """Yield the managers of spec fields: one that wrote the status alone does not own the spec."""
    for entry in metadata.get("managedFields") or ():
        if not entry.get("subresource"):
            yield str(entry.get("manager", ""))


def _without_nulls(value: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: _without_nulls(item) if isinstance(item, Mapping) else item for name, item in value.items()}
    return {name: item for name, item in kept.items() if item is not None and item != {}}


def _nulls(value: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, item in value.items():
        if item is None:
            yield path + name
        elif isinstance(item, Mapping):
            yield from _nulls(item, f"{path}{name}.")
