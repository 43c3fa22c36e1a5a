"""Unmounts what a stopped Docker Engine has left mounted."""

from __future__ import annotations

import subprocess
from pathlib import Path


def mounts_below(folder: Path, mountinfo: str) -> list[Path]:
    """Mount points inside a folder, the deepest first."""
    points = [Path(line.split()[4].encode().decode("unicode_escape")) for line in mountinfo.splitlines() if line]
    inside = [point for point in points if folder in point.parents]
    return sorted(inside, key=lambda point: len(point.parts), reverse=True)


def unmount_below(folder: Path) -> None:
    """Unmount everything inside a folder."""
    for point in mounts_below(folder, Path("/proc/self/mountinfo").read_text()):
        subprocess.run(["umount", "--lazy", str(point)], check=False)
