"""What this machine offers to a local cluster, and what it lacks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from graft_cluster import ways
from graft_cluster.cache import Cache
from graft_cluster.docker import host
from graft_cluster.docker.runtime_wrapper import missing_capabilities


def report(cache: Cache) -> None:
    """Print one line per finding."""
    print(f"cache      {cache.root}")
    used = ways.remembered(cache)
    print(f"way        {used.value if used else 'not chosen yet'}")
    answers = "answers" if host.docker_answers({}) else "does not answer"
    print(f"docker     the machine's own daemon {answers}")
    print(f"go         {shutil.which('go') or 'missing: needed to build binaries'}")
    missing = [p for p, at in host.ENGINE_PACKAGES.items() if not Path(at).exists()]
    print(f"packages   {', '.join(missing) + ' would be installed' if missing else 'there'}")
    lacks = missing_capabilities(Path("/proc/self/status").read_text())
    print(f"lacks      {', '.join(sorted(lacks)) or 'no capability'}")
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    print(f"cgroups    version {2 if unified else 1}")
    print(f"root       {'yes' if os.geteuid() == 0 else 'no: an own engine needs it'}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    free = shutil.disk_usage(cache.folder()).free / 2**30
    print(f"memory     {memory:.0f} GiB (the cluster at rest takes about 2)")
    print(f"disk       {free:.0f} GiB free (40 are wanted for a full build)")
