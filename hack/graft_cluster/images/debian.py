"""A Debian base image made by debootstrap, where none can be pulled."""

from __future__ import annotations

import hashlib
import shutil

from graft_cluster import versions
from graft_cluster.cache import Cache
from graft_cluster.docker import host
from graft_cluster.docker.client import Docker
from graft_cluster.steps import Steps

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def ensure_debian(cache: Cache, steps: Steps, docker: Docker) -> str:
    """Return the reference of a minimal Debian image, building it at most once."""
    authorities = host.private_authorities()
    key = hashlib.sha256(authorities.encode()).hexdigest()[:12]
    tag = f"graft/debian:{versions.DEBIAN_SUITE}-{key}"
    if docker.has_image(tag):
        return tag
    with steps.step("make a Debian base image") as step:
        root = cache.folder("debian")
        shutil.rmtree(root)
        include = "--include=ca-certificates"
        suite = versions.DEBIAN_SUITE
        debootstrap = ["/usr/sbin/debootstrap", "--variant=minbase", include]
        step.run([*debootstrap, suite, root])
        if authorities:
            added = root / "usr/local/share/ca-certificates/machine.crt"
            added.write_text(authorities)
            step.run(["chroot", root, "update-ca-certificates"])
        for folder in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / folder, ignore_errors=True)
        archive = cache.root / "debian.tar"
        step.run(["tar", "-C", root, "-cf", archive, "."])
        docker.run(step, "import", "-c", f"ENV {PATH}", "-c", 'CMD ["bash"]', archive, tag)
        archive.unlink()
        shutil.rmtree(root)
    return tag
