"""Images and manifests of Flux, Argo CD and the Git server, ready to be applied."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from graft_cluster import versions
from graft_cluster.addons.gitops import programs
from graft_cluster.cache import Cache
from graft_cluster.docker.build_context import BuildContext
from graft_cluster.docker.client import Docker
from graft_cluster.images.local_images import LocalImages
from graft_cluster.images.local_registry import ADDRESS
from graft_cluster.programs import golang, main_module
from graft_cluster.steps import Step, Steps

TOOLS = ("flux", "argocd")
REGISTRY = f"{ADDRESS}/graft"
GIT_SERVER = "hack/images/git-server"
ARGO_CD = "hack/images/argocd"
MANIFESTS = "hack/manifests/gitops"


class GitopsTools:
    """Makes what is missing of three tools, and leaves one file of manifests for each."""

    def __init__(self, cache: Cache, steps: Steps, docker: Docker, checkout: Path, debian: str) -> None:
        """``debian``: the image that the others begin with. Nothing is made yet."""
        self._cache = cache
        self._steps = steps
        self._docker = docker
        self._images = LocalImages(cache, steps, docker)
        self._checkout = checkout
        self._debian = debian

    def ensure(self, wanted: Collection[str]) -> Path:
        """Build and push; return the folder with `git-server.yaml`, and `flux.yaml` or `argocd.yaml` as wanted."""
        folder = self._cache.folder("gitops")
        server = self._git_server()
        manifest = (self._checkout / MANIFESTS / "git-server.yaml").read_text()
        (folder / "git-server.yaml").write_text(manifest.replace("$(GIT_SERVER)", server))
        for name, made in (("flux", self._flux), ("argocd", self._argo_cd)):
            if name in wanted:
                self._render(name, made())
        return folder

    def _git_server(self) -> str:
        files = (f"{GIT_SERVER}/lighttpd.conf", f"{GIT_SERVER}/serve.sh")
        context = BuildContext(f"{GIT_SERVER}/Dockerfile", self._checkout, files)
        reference = f"{REGISTRY}/git-server:{context.digest(self._debian)}"
        self._images.ensure_built(reference, context, {"BASE": self._debian})
        return reference

    def _flux(self) -> dict[str, Path]:
        """Make the images of Flux's controllers; return the manifests that come with them."""
        found = {}
        for name, program in (
            ("source", programs.SOURCE_CONTROLLER),
            ("kustomize", programs.KUSTOMIZE_CONTROLLER),
        ):
            built = main_module.ensure(self._cache, self._steps, program)
            self._images.ensure_program(f"{REGISTRY}/{program.build.name}:{program.build.version}", built)
            found[name] = golang.module_folder(self._cache, self._steps, program.build) / "config"
        return found

    def _argo_cd(self) -> dict[str, Path]:
        """Make the image of Argo CD; return the manifests that come with it, and the health of our objects."""
        argo = main_module.ensure(self._cache, self._steps, programs.ARGO_CD)
        kustomize = golang.ensure(self._cache, self._steps, programs.KUSTOMIZE) / "kustomize"
        context = BuildContext(f"{ARGO_CD}/Dockerfile", self._checkout, extra={"argocd": argo, "kustomize": kustomize})
        self._images.ensure_built(f"{REGISTRY}/argocd:{versions.ARGO_CD}", context, {"BASE": self._debian})
        module = golang.module_folder(self._cache, self._steps, programs.ARGO_CD.build)
        return {"module": module / "manifests", "argocd-cm.yaml": self._checkout / "docs/gitops/argocd-cm.yaml"}

    def _render(self, name: str, parts: dict[str, Path]) -> None:
        """Render a tool's manifests from its makers' and ours."""
        work = self._cache.folder("gitops", f".{name}")
        shutil.rmtree(work)
        shutil.copytree(self._checkout / MANIFESTS / name, work)
        for part, source in parts.items():
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, work / part)
        file = work / "kustomization.yaml"
        file.write_text(filled(file.read_text()))
        with self._steps.step(f"render the manifests of {name}") as step:
            self._write(step, work, self._cache.root / "gitops" / f"{name}.yaml")
            step.run(["chmod", "-R", "u+w", work])  # what Go's cache holds is read-only
        shutil.rmtree(work)

    def _write(self, step: Step, work: Path, file: Path) -> None:
        file.write_text(step.read(["kubectl", "kustomize", work], env=self._docker.environment))


def filled(text: str) -> str:
    """Return a kustomization with registry and versions in their places."""
    places = {"REGISTRY": REGISTRY, "FLUX_CONTROLLERS": versions.FLUX_CONTROLLERS, "ARGO_CD": versions.ARGO_CD}
    for name, value in places.items():
        text = text.replace(f"$({name})", value)
    return text
