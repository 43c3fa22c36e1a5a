"""Prometheus and promtool, which the tests of rules and dashboards run: the user's own, or Debian's in the cache.

Nothing is installed: the package would start a service. From source they take ten minutes to build.
"""

from __future__ import annotations

import shutil

from graft_cluster.cache import Cache
from graft_cluster.steps import StepFailed, Steps

PROGRAMS = ("prometheus", "promtool")


def ensure_prometheus(cache: Cache, steps: Steps) -> None:
    """Have both programs on the path, or in the cache's folder of programs."""
    if all(shutil.which(name) or (cache.binaries / name).exists() for name in PROGRAMS):
        return
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise StepFailed(
            "the tests of rules and dashboards need prometheus and promtool; install Prometheus 2.42 or later"
        )
    folder = cache.folder("prometheus")
    with steps.step("fetch Debian's Prometheus") as step:
        try:
            step.run(["apt-get", "download", "-qq", "prometheus"], cwd=folder)
        except StepFailed:  # the lists of packages are missing, or old
            step.run(["apt-get", "update", "-qq"])
            step.run(["apt-get", "download", "-qq", "prometheus"], cwd=folder)
        package = max(folder.glob("prometheus_*.deb"), key=lambda path: path.stat().st_mtime)
        step.run(["dpkg-deb", "-x", package, folder])
        package.unlink()
    for name in PROGRAMS:
        cache.link_binary(folder / "usr/bin" / name)
