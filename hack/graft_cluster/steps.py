"""Steps: what is being done, how long it usually takes, where its log is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from graft_cluster.cache import Cache

TAIL_LINES = 30
Command = Sequence[str | Path]


class StepFailed(Exception):
    """A step did not succeed; the message is for a person."""


@dataclass
class Step:
    """One visible piece of work with a log of its own."""

    title: str
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(
        self,
        command: Command,
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> None:
        """Run a command, its output going to the step's log."""
        with self.log.open("a") as log:
            log.write("+ " + " ".join(str(word) for word in command) + "\n")
            log.flush()
            done = subprocess.run(
                [str(word) for word in command],
                cwd=cwd,
                env={**os.environ, **self.environment, **(env or {})},
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
        if done.returncode != 0:
            raise StepFailed(f"`{command[0]}` ended with status {done.returncode}")

    def read(self, command: Command, *, env: Mapping[str, str] | None = None) -> str:
        """Run a command and return what it printed."""
        done = subprocess.run(
            [str(word) for word in command],
            env={**os.environ, **self.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        self.note("+ " + " ".join(str(word) for word in command) + "\n" + done.stderr)
        if done.returncode != 0:
            raise StepFailed(f"`{command[0]}` ended with status {done.returncode}")
        return done.stdout

    def note(self, text: str) -> None:
        """Write a line to the log only."""
        with self.log.open("a") as log:
            log.write(text.rstrip("\n") + "\n")


class Steps:
    """Runs steps and remembers how long each of them took."""

    def __init__(self, cache: Cache) -> None:
        """Durations are kept in the cache, so the next run can announce them."""
        self._cache = cache
        self._file = cache.folder() / "durations.json"
        self._writing = threading.Lock()  # binaries are built beside images

    @contextmanager
    def step(self, title: str, **environment: str) -> Iterator[Step]:
        """Announce a step, time it, and on failure show the end of its log."""
        last = self._durations().get(title)
        usual = f" (took {format_seconds(last)} last time)" if last else ""
        say(f"… {title}{usual}")
        step = Step(title, self._cache.log(slug(title)), environment)
        step.log.write_text("")
        started = time.monotonic()
        try:
            yield step
        except (StepFailed, OSError) as error:
            raise StepFailed(describe_failure(step, error)) from error
        took = time.monotonic() - started
        self._remember(title, took)
        say(f"✓ {title}: {format_seconds(took)}")

    def _durations(self) -> dict[str, float]:
        try:
            return dict(json.loads(self._file.read_text()))
        except (OSError, ValueError):
            return {}

    def _remember(self, title: str, took: float) -> None:
        with self._writing:
            durations = self._durations() | {title: round(took, 1)}
            self._file.write_text(json.dumps(durations, indent=1, sort_keys=True))


def say(text: str) -> None:
    """Tell the person at the terminal something."""
    print(text, file=sys.stderr, flush=True)


def slug(title: str) -> str:
    """A file name made from a step's title."""
    return re.sub(r"[^a-z0-9.]+", "-", title.lower()).strip("-")


def format_seconds(seconds: float) -> str:
    """Seconds as a person reads them."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def describe_failure(step: Step, error: Exception) -> str:
    """The failed step, the reason, and the end of its log."""
    lines = step.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
    tail = "\n".join(f"    {line}" for line in lines)
    return f"{step.title}: {error}\n  log: {step.log}\n{tail}"
