"""Who else owns an object's spec: a change beside Argo CD or Flux is undone at their next sync.

Told by what they leave on every object that they apply: labels, annotations and field managers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from graft_cli.decisions.yaml_dialect.scalars import as_yaml
from graft_cli.errors import ManagedElsewhere
from graft_operator.api.meta import API_VERSION

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

    @property
    def kind(self) -> str:
        """Kind of the object that names the repository and its folder; empty where that is not told."""
        return self.source.partition(" ")[0]

    @property
    def place(self) -> tuple[str, str]:
        """Namespace and name of that object; no namespace where that is not told."""
        namespace, _, name = self.source.partition(" ")[2].rpartition("/")
        return namespace, name


def git_owner(raw: Mapping[str, Any]) -> GitOwner | None:
    """Return the tool that applies the object from Git; None where none does."""
    metadata = raw.get("metadata") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    managers = set(_managers(metadata))
    for prefix, kind in FLUX_LABELS.items():
        if name := labels.get(f"{prefix}/name"):
            return GitOwner("Flux", f"{kind} {labels.get(f'{prefix}/namespace', '')}/{name}")
    if tracking := annotations.get(ARGO_TRACKING):
        # Applications outside Argo CD's own namespace are told as <namespace>_<name>.
        return GitOwner("Argo CD", f"Application {tracking.partition(':')[0].replace('_', '/', 1)}")
    if name := labels.get(ARGO_LABEL):
        return GitOwner("Argo CD", f"Application {name}")
    if not managers.isdisjoint(ARGO_MANAGERS):
        name = labels.get(SHARED_LABEL)
        return GitOwner("Argo CD", f"Application {name}" if name else "")
    return GitOwner("Flux") if not managers.isdisjoint(FLUX_MANAGERS) else None


def how_to_unset(raw: Mapping[str, Any], field: str, verb: str) -> str:
    """Say how a field of the spec is unset: by a verb, or by a commit where a tool applies the object from Git."""
    return f"`{field}` is taken out of Git" if git_owner(raw) else f"`kubectl graft {verb}`"


def refusal(
    owner: GitOwner, namespace: str, name: str, spec: Mapping[str, Any], *, folder: str = "", notes: Iterable[str] = ()
) -> ManagedElsewhere:
    """Return the error that says what to commit, and where, instead of a change by hand.

    ``folder`` is the one that the tool applies, where that is known; ``notes`` say what follows.
    """
    message = f"LoraAdapter {namespace}/{name} is applied by {owner} from Git, which would undo this at its next sync"
    where = f"what {owner.source or owner.tool} applies{f' (folder {folder})' if folder else ''}"
    if _without_nulls(spec):
        way = f"put this into {where}, not into what stages share; or change it all the same with --force"
    else:
        fields = " and ".join(f"spec.{path}" for path in _nulls(spec))
        way = f"take {fields} out of {where}; if it is not there, use --force"
    told = "".join(f"\n  note: {note}" for note in notes)
    patch = f"\n\n{to_commit(name, spec)}" if _without_nulls(spec) else ""
    return ManagedElsewhere(message, fix=f"{way}{told}{patch}")


def to_commit(name: str, spec: Mapping[str, Any]) -> str:
    """Return a change of the spec as a patch, which kustomize merges by kind and name; below it, what is taken out."""
    about = {"apiVersion": API_VERSION, "kind": "LoraAdapter", "metadata": {"name": name}}
    removed = [f"# remove spec.{path}" for path in _nulls(spec)]
    return "\n".join([as_yaml(about | {"spec": _without_nulls(spec)}).rstrip(), *removed])


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
