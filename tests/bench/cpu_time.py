"""What processes use of the processor."""

from __future__ import annotations

import os
from pathlib import Path


def cpu_seconds(process: int) -> float:
    """CPU time of a process and of its children, since they were started."""
    used = [_own_cpu_seconds(process)]
    for thread in Path(f"/proc/{process}/task").iterdir():
        used += [cpu_seconds(int(child)) for child in (thread / "children").read_text().split()]
    return sum(used)


def _own_cpu_seconds(process: int) -> float:
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
