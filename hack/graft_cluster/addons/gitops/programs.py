"""Which programs of Flux and Argo CD are built, and at which versions."""

from __future__ import annotations

from graft_cluster import versions
from graft_cluster.programs.golang import GoBuild
from graft_cluster.programs.main_module import MainModule

_FLUX = "github.com/fluxcd"
_ARGO_CD = "github.com/argoproj/argo-cd/v3"


def _flux(name: str) -> MainModule:
    module = f"{_FLUX}/{name}"
    return MainModule(GoBuild(name, module, versions.FLUX_CONTROLLERS, (module,)), local_modules=(f"{module}/api",))


SOURCE_CONTROLLER = _flux("source-controller")
KUSTOMIZE_CONTROLLER = _flux("kustomize-controller")
#: One binary that is all of Argo CD's programs, by the name that it is called by. Its user interface is not built.
ARGO_CD = MainModule(
    GoBuild(
        "argocd",
        _ARGO_CD,
        versions.ARGO_CD,
        (f"{_ARGO_CD}/cmd",),
        ldflags=f"-X {_ARGO_CD}/common.version={versions.ARGO_CD}",
    ),
    generated=("ui/dist/app/gitkeep",),
)
#: What Argo CD's repo server renders overlays with.
KUSTOMIZE = GoBuild(
    "kustomize",
    "sigs.k8s.io/kustomize/kustomize/v5",
    versions.KUSTOMIZE,
    ("sigs.k8s.io/kustomize/kustomize/v5",),
)
