"""A Docker Engine of our own inside the cache, for machines where none is running.

It has its own containerd, data, state, socket and pid files, so no other engine
of the machine is touched, and `down` leaves nothing of it behind but its data.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from graft_cluster.cache import Cache
from graft_cluster.docker import host, runtime_wrapper
from graft_cluster.docker.mounts import unmount_below
from graft_cluster.docker.processes import Daemon
from graft_cluster.steps import Steps

# Debian's own programs come first: the containerd built for the nodes is newer
# than what Debian's dockerd was made for.
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class DockerEngine:
    """containerd and dockerd, started from the cache."""

    def __init__(self, cache: Cache, steps: Steps) -> None:
        """Nothing is started yet."""
        self._cache = cache
        self._steps = steps
        self._containerd = Daemon("containerd", cache)
        self._dockerd = Daemon("dockerd", cache)

    @property
    def socket(self) -> Path:
        """The socket clients talk to."""
        return self._cache.root / "docker" / "docker.sock"

    @property
    def environment(self) -> dict[str, str]:
        """What a Docker client needs to reach this engine."""
        return {
            "DOCKER_HOST": f"unix://{self.socket}",
            "PATH": f"{self._cache.binaries}:{SYSTEM_PATH}:{os.environ['PATH']}",
            "DOCKER_BUILDKIT": "0",  # Debian ships no buildx plugin
        }

    def is_running(self) -> bool:
        """Whether our own dockerd lives."""
        return self._dockerd.running_pid() is not None

    def start(self) -> None:
        """Start both processes and wait until they answer."""
        if self.is_running() and host.docker_answers(self.environment):
            return
        host.ensure_engine_packages(self._steps)
        host.ensure_sysctl({"fs.inotify.max_user_instances": "1024"})
        with self._steps.step("start an own Docker Engine"):
            self._start_containerd()
            self._start_dockerd()

    def stop(self) -> None:
        """Stop both processes and release their mounts."""
        self._dockerd.stop(patience=60)
        self._containerd.stop()
        unmount_below(self._cache.root / "docker")

    def _start_containerd(self) -> None:
        folder = self._cache.folder("docker")
        address = folder / "containerd.sock"
        config = folder / "containerd.toml"
        config.write_text(
            f'version = 2\nroot = "{self._cache.folder("docker", "containerd")}"\n'
            f'state = "{self._cache.folder("docker", "state")}"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\n  address = "{address}"\n'
            f'[ttrpc]\n  address = "{address}.ttrpc"\n'
        )
        env = {**os.environ, "PATH": SYSTEM_PATH}
        if self._containerd.running_pid() is None:
            address.unlink(missing_ok=True)  # one left by a crash says nothing
        self._containerd.start(["/usr/bin/containerd", "--config", config], env)
        self._containerd.wait_until(address.exists)

    def _start_dockerd(self) -> None:
        folder = self._cache.folder("docker")
        command: list[str | Path] = [
            "/usr/sbin/dockerd",
            f"--containerd={folder / 'containerd.sock'}",
            f"--data-root={self._cache.folder('docker', 'data')}",
            f"--exec-root={self._cache.folder('docker', 'exec')}",
            f"--pidfile={folder / 'dockerd.pid'}",
            f"--host=unix://{self.socket}",
            f"--config-file={folder / 'daemon.json'}",
            "--bridge=none",
            "--storage-driver=overlay2",
            *self._runtime_options(),
        ]
        (folder / "daemon.json").write_text("{}\n")
        (folder / "dockerd.pid").unlink(missing_ok=True)
        self._dockerd.start(command, {**os.environ, "PATH": SYSTEM_PATH})
        self._dockerd.wait_until(lambda: self.socket.exists() and host.docker_answers(self.environment), 60)

    def _runtime_options(self) -> list[str]:
        """Put the wrapper before runc, only where runc alone would fail."""
        if not host.lacks_capabilities():
            return []
        wrapper = self._cache.folder("docker") / "runc-within-bounds"
        source = Path(runtime_wrapper.__file__).read_text()
        wrapper.write_text(f"#!{shutil.which(sys.executable)} -SE\n{source}")
        wrapper.chmod(0o755)
        return [f"--add-runtime=bounded={wrapper}", "--default-runtime=bounded"]
