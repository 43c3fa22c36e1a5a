"""The folder for everything that the local cluster builds, stores or writes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cache:
    """The one folder outside the checkout this program writes to."""

    root: Path

    @classmethod
    def from_environment(cls) -> Cache:
        """Take GRAFT_CACHE, or the user's usual cache folder."""
        chosen = os.environ.get("GRAFT_CACHE")
        root = Path(chosen) if chosen else Path.home() / ".cache" / "graft"
        return cls(root.expanduser().absolute())

    def folder(self, *parts: str) -> Path:
        """A folder below the cache, made when it is missing."""
        path = self.root.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def binaries(self) -> Path:
        """Links to the current version of every built binary (put it on PATH)."""
        return self.folder("bin")

    def link_binary(self, program: Path) -> None:
        """Link a program into `binaries` under its own name, replacing what was there in one move."""
        link = self.binaries / program.name
        if link.is_symlink() and link.readlink() == program:
            return
        fresh = link.with_name(f".{link.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(program)
        fresh.rename(link)

    @property
    def kubeconfig(self) -> Path:
        """The admin kubeconfig of the local cluster."""
        return self.root / "kubeconfig"

    @property
    def cluster_env(self) -> Path:
        """Shell-sourceable facts for tests and demos."""
        return self.root / "cluster.env"

    @property
    def images_json(self) -> Path:
        """Which image reference each of Graft's programs has right now."""
        return self.root / "images.json"

    @property
    def volumes(self) -> Path:
        """Mounted on every node at /var/graft/volumes."""
        return self.folder("volumes")

    def log(self, name: str) -> Path:
        """The log file of one step."""
        return self.folder("logs") / f"{name}.log"
