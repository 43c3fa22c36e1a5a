"""Background processes that later runs of this program find again by a pid file, and stop by that pid only."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from graft_cluster.cache import Cache
from graft_cluster.steps import StepFailed


@dataclass(frozen=True)
class Daemon:
    """One process of ours, remembered by pid and start time."""

    name: str
    cache: Cache

    @property
    def pid_file(self) -> Path:
        """Where pid and start time are kept."""
        return self.cache.folder("run") / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.cache.log(self.name)

    def running_pid(self) -> int | None:
        """The pid, if that very process still runs (pids are used again)."""
        try:
            pid, started = self.pid_file.read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid) if start_time(int(pid)) == started else None

    def start(self, command: Sequence[str | Path], env: Mapping[str, str]) -> None:
        """Start the process in a session of its own, unless it runs already."""
        if self.running_pid() is not None:
            return
        with self.log.open("w") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid_file.write_text(f"{process.pid} {start_time(process.pid)}\n")

    def stop(self, patience: float = 20.0) -> bool:
        """End the process; say whether there was one."""
        pid = self.running_pid()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + patience
            while self.running_pid() is not None and time.monotonic() < deadline:
                time.sleep(0.1)
            if self.running_pid() is not None:
                os.kill(pid, signal.SIGKILL)
        self.pid_file.unlink(missing_ok=True)
        return pid is not None

    def wait_until(self, ready: Callable[[], bool], patience: float = 30.0) -> None:
        """Wait until it answers; fail with the end of its log if it never does."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and self.running_pid() is not None:
            if ready():
                return
            time.sleep(0.1)
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        raise StepFailed(f"{self.name} did not come up, see {self.log}\n{tail}")


def start_time(pid: int) -> str | None:
    """The kernel's start time of a living process (field 22 of its stat file)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return parse_start_time(stat)


def parse_start_time(stat: str) -> str | None:
    """Read state and start time; a zombie counts as gone."""
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else fields[19]
