"""Binaries built from Go modules, cached by version.

Go's module proxy serves the sources of everything a cluster consists of, which
makes it possible to have one where no container registry can be reached.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from graft_cluster import versions
from graft_cluster.cache import Cache
from graft_cluster.steps import StepFailed, Steps

# Builds run beside one another; two threads may want the same one.
_building: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
OWN_SOURCES = Path(__file__).resolve().parents[2] / "go"


@dataclass(frozen=True)
class GoBuild:
    """Some main packages of one module at one version.

    Without packages it is a program of our own, hack/go/<name>/main.go, which
    may use the module.
    """

    name: str
    module: str
    version: str
    packages: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    ldflags: str = ""

    @property
    def binaries(self) -> tuple[str, ...]:
        """What the build leaves behind, by file name."""
        return tuple(package.rsplit("/", 1)[-1] for package in self.packages)

    @property
    def source(self) -> Path | None:
        """Our own main.go, if that is what is built."""
        return None if self.packages else OWN_SOURCES / self.name / "main.go"

    @property
    def key(self) -> str:
        """The build's name in the cache: its version, and our source if any."""
        if self.source is None:
            return f"{self.name}-{self.version}"
        digest = hashlib.sha256(self.source.read_bytes()).hexdigest()[:8]
        return f"{self.name}-{self.version}-{digest}"


def _kubernetes() -> GoBuild:
    version = versions.KUBERNETES
    minor = version.split(".")[1]
    stamps = {
        "gitVersion": f"v{version}",
        "gitMajor": "1",
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": "local",
        "buildDate": "2026-01-01T00:00:00Z",
    }
    targets = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    commands = (
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
        "kubectl",
        "kubeadm",
    )
    return GoBuild(
        name="kubernetes",
        module="k8s.io/kubernetes",
        version=version,
        packages=tuple(f"k8s.io/kubernetes/cmd/{command}" for command in commands),
        replaces=tuple(
            f"k8s.io/{name}=k8s.io/{name}@v0.{version.split('.', 1)[1]}" for name in versions.KUBERNETES_STAGING
        ),
        ldflags=" ".join(f"-X {t}.{k}={v}" for t in targets for k, v in stamps.items()),
    )


KUBERNETES = _kubernetes()
KIND = GoBuild("kind", "sigs.k8s.io/kind", versions.KIND, ("sigs.k8s.io/kind",))
_CONTAINERD = "github.com/containerd/containerd/v2"
CONTAINERD = GoBuild(
    "containerd",
    _CONTAINERD,
    versions.CONTAINERD,
    tuple(f"{_CONTAINERD}/cmd/{command}" for command in ("containerd", "ctr", "containerd-shim-runc-v2")),
    ldflags=f"-X {_CONTAINERD}/version.Version=v{versions.CONTAINERD}",
)
ETCD = GoBuild("etcd", "go.etcd.io/etcd/server/v3", versions.ETCD, ("go.etcd.io/etcd/server/v3",))
COREDNS = GoBuild("coredns", "github.com/coredns/coredns", versions.COREDNS)
PAUSE = GoBuild("pause", "", versions.KUBEADM_PAUSE_TAG)
HELM = GoBuild(
    "helm",
    "helm.sh/helm/v3",
    versions.HELM,
    ("helm.sh/helm/v3/cmd/helm",),
    ldflags=f"-X helm.sh/helm/v3/internal/version.version=v{versions.HELM}",
)
VERSITYGW = GoBuild(
    "versitygw",
    "github.com/versity/versitygw",
    versions.VERSITYGW,
    ("github.com/versity/versitygw/cmd/versitygw",),
)
REGISTRY = GoBuild(
    "registry",
    "github.com/distribution/distribution/v3",
    versions.DISTRIBUTION,
    ("github.com/distribution/distribution/v3/cmd/registry",),
)
KUBECONFORM = GoBuild(
    "kubeconform",
    "github.com/yannh/kubeconform",
    versions.KUBECONFORM,
    ("github.com/yannh/kubeconform/cmd/kubeconform",),
)

KUBE_NETWORK_POLICIES = GoBuild(
    "kube-network-policies",
    "sigs.k8s.io/kube-network-policies",
    versions.KUBE_NETWORK_POLICIES,
    ("sigs.k8s.io/kube-network-policies/cmd",),
)

KUEUE = GoBuild("kueue", "sigs.k8s.io/kueue", versions.KUEUE, ("sigs.k8s.io/kueue/cmd/kueue",))

KUBECTL = replace(KUBERNETES, name="kubectl", packages=("k8s.io/kubernetes/cmd/kubectl",))

#: The compiler spends much of its time collecting its own garbage: etcd took 111 s of CPU to build, and 76 s with this.
COMPILER_GOGC = "400"

#: What nodes and control plane consist of.
NODE_PARTS = (KUBERNETES, CONTAINERD, ETCD, COREDNS, PAUSE, KIND)
#: What is needed or useful beside public images.
TOOLS = (VERSITYGW, KIND, KUBECTL, HELM, KUBECONFORM)
#: Those of them without which there is no cluster; the rest is for tests.
CLUSTER_TOOLS = (KIND, KUBECTL, HELM)
#: Everything, where nothing can be pulled; what images wait for comes first.
ALL = (REGISTRY, VERSITYGW, *NODE_PARTS, HELM, KUBECONFORM, KUBE_NETWORK_POLICIES)


def ensure(cache: Cache, steps: Steps, build: GoBuild) -> Path:
    """Return the folder with the build's binaries, building them at most once."""
    folder = cache.root / "go" / build.key
    with _building[build.key]:
        if not folder.is_dir():
            _build(cache, steps, build, folder)
        for path in folder.iterdir():
            cache.link_binary(path)
    return folder


def is_on_path(cache: Cache, build: GoBuild) -> bool:
    """Whether these programs are on the PATH already, from elsewhere than the cache."""
    found = [shutil.which(name) for name in build.binaries]
    return all(path and Path(path).parent != cache.binaries for path in found)


def _build(cache: Cache, steps: Steps, build: GoBuild, folder: Path) -> None:
    if shutil.which("go") is None:
        other = f", or put {' and '.join(build.binaries)} on the path" if build in CLUSTER_TOOLS else ""
        raise StepFailed(f"{build.name} has to be built, but Go is not installed: install it{other}")
    work = cache.folder("go", f".{build.key}")
    output = work / "out"
    shutil.rmtree(work)
    output.mkdir(parents=True)
    env = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false", "GOGC": COMPILER_GOGC, **go_folders(cache)}
    with steps.step(f"build {build.name} {build.version} from source") as step:
        step.run(["go", "mod", "init", build.name], cwd=work, env=env)
        for replacement in build.replaces:
            step.run(["go", "mod", "edit", f"-replace={replacement}"], cwd=work, env=env)
        if build.module:
            get = f"{build.module}@v{build.version}"
            step.run(["go", "get", get], cwd=work, env=env)
        if build.source is not None:
            shutil.copy(build.source, work)
        ldflags = f"-s -w {build.ldflags}".strip()
        # Linked without debug information, so the compiler need not make it.
        flags = ["-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", ldflags, "-o", f"{output}/"]
        step.run(["go", "build", *flags, *(build.packages or ["."])], cwd=work, env=env)
    for path in output.iterdir():
        if path.name in ("server", "cmd"):  # named after a folder that says nothing
            path.rename(output / build.name)
    output.rename(folder)
    shutil.rmtree(work)


def go_folders(cache: Cache) -> dict[str, str]:
    """Go's environment, so that what it downloads and compiles stays in our cache."""
    return {
        "GOMODCACHE": str(cache.folder("go-modules")),
        "GOCACHE": str(cache.folder("go-build")),
    }


def module_folder(cache: Cache, steps: Steps, build: GoBuild) -> Path:
    """Where Go keeps the unpacked sources of a module."""
    env = go_folders(cache)
    with steps.step(f"find the sources of {build.name} {build.version}") as step:
        step.run(["go", "mod", "download", f"{build.module}@v{build.version}"], env=env)
    return Path(env["GOMODCACHE"]) / f"{build.module}@v{build.version}"
