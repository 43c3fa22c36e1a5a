"""Requests that go on without anybody who holds a connection to their pod: while the API server is away, nobody can."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from demo.client import POD, SCRIPT
from demo.cluster import Cluster
from tests.e2e.serving import Serving

CONTROL, REPORTS, ERRORS = (f"/dev/shm/load-{name}" for name in ("control", "reports", "errors"))
"""Of the client's pod, whose root file system is read-only: a pipe for the plan and the end, and what is printed."""
START = f"""
import os, subprocess, sys
for path in ({CONTROL!r}, {REPORTS!r}, {ERRORS!r}):
    if os.path.lexists(path):
        os.remove(path)
os.mkfifo({CONTROL!r})
control = os.open({CONTROL!r}, os.O_RDWR)  # open for writing, too: the load's input has no end
os.write(control, sys.stdin.buffer.readline())
with open({REPORTS!r}, "wb") as reports, open({ERRORS!r}, "wb") as errors:
    command = [sys.executable, "-c", sys.argv[1]]
    subprocess.Popen(command, stdin=control, stdout=reports, stderr=errors, start_new_session=True)
"""
STOP = (
    f"import os; os.write(os.open({CONTROL!r}, os.O_RDWR), b'stop\\n')"  # does not wait for a reader, if there is none
)
LAST_REPORT = f"print(open({REPORTS!r}).read().rpartition('\\n')[0].rpartition('\\n')[2])"
COMPLAINTS = f"print(open({ERRORS!r}).read())"
FIRST_SECONDS, LAST_SECONDS = 30.0, 90.0
"""Patience for the first report, and for the last one after the end was asked for."""


@dataclass(frozen=True, slots=True)
class DetachedLoad:
    """Requests that are being sent. Whoever asks about them needs the API server."""

    cluster: Cluster
    namespace: str

    def latest(self) -> dict[str, Any]:
        """Return the newest report (see :meth:`demo.load.Tally.report`); empty before the first."""
        line = self.run(LAST_REPORT).strip()
        return dict(json.loads(line)) if line else {}

    def wait_for(self, key: str, timeout: float) -> dict[str, Any]:
        """Wait until the newest report has a true value under the key; return the report."""
        deadline = time.monotonic() + timeout
        while not (report := self.latest()).get(key):
            assert time.monotonic() < deadline, f"no report with {key} in {timeout:.0f} s: {self.run(COMPLAINTS)}"
            time.sleep(1)
        return report

    def finish(self) -> dict[str, Any]:
        """Stop sending and return the final report."""
        self.run(STOP)
        return self.wait_for("final", LAST_SECONDS)

    def run(self, program: str, *arguments: str, stdin: str | None = None) -> str:
        """Run a Python program in the pod; return what it printed. Raises CommandFailedError."""
        pod = ("-i", "-n", self.namespace, POD) if stdin is not None else ("-n", self.namespace, POD)
        return self.cluster.kubectl("exec", *pod, "--", "python3", "-c", program, *arguments, stdin=stdin)


@contextmanager
def detached_load(serving: Serving, plan: dict[str, Any]) -> Iterator[DetachedLoad]:
    """Send requests while the block runs; ``plan`` is that of :mod:`demo.load`, without ``url`` and ``once``."""
    load = DetachedLoad(serving.tenant.cluster, serving.tenant.namespace)
    whole = {"url": serving.url, "once": False, **plan}
    load.run(START, SCRIPT.read_text(encoding="utf-8"), stdin=json.dumps(whole) + "\n")
    try:
        load.wait_for("requests", FIRST_SECONDS)
        yield load
    finally:
        load.run(STOP)  # once more does no harm
