"""Talks to Graft's Services from inside the cluster, so that kube-proxy is in the path as it is for users."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demo.cluster import Cluster, CommandFailedError, WaitTimedOutError
from demo.load import Answer
from demo.objects import client_pod

POD = "client"
SCRIPT = Path(__file__).with_name("load.py")
Questions = Mapping[str, Sequence[str]]


class Load:
    """Requests that are being sent; :meth:`latest` tells how it goes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._reports: queue.Queue[dict[str, Any]] = queue.Queue()
        self._latest: dict[str, Any] = {"requests": 0, "failed": 0}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def latest(self) -> dict[str, Any]:
        """Return the newest report (see :meth:`demo.load.Tally.report`)."""
        while not self._reports.empty():
            self._latest = self._reports.get_nowait()
        return self._latest

    def wait_for_requests(self, count: int, timeout: float) -> dict[str, Any]:
        """Wait until that many were sent. Raises WaitTimedOutError."""
        deadline = time.monotonic() + timeout
        while self._latest["requests"] < count:
            try:
                self._latest = self._reports.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                sent = self._latest["requests"]
                raise WaitTimedOutError(f"only {sent} of {count} requests were sent in {timeout:.0f} s") from None
        return self._latest

    def finish(self) -> dict[str, Any]:
        """Stop sending and return the final report. Raises CommandFailedError."""
        if self._process.stdin:
            # A line rather than the end of the input: not every connection to a pod passes half a close on.
            self._process.stdin.write("stop\n")
            self._process.stdin.flush()
        self._reader.join(timeout=90)
        report = self.latest()
        if not report.get("final"):
            raise CommandFailedError(
                "the requests broke off: " + (self._process.stderr.read() if self._process.stderr else "")
            )
        return report

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._reports.put(json.loads(line))


class Client:
    """A pod in a namespace from which questions are asked."""

    def __init__(self, cluster: Cluster, namespace: str, image: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._image = image

    def ensure(self) -> None:
        """Start the pod and wait until it runs."""
        present = self._cluster.get("pod", POD, self._namespace)
        if present and present["spec"]["containers"][0]["image"] != self._image:
            self._cluster.delete("pod", POD, self._namespace)
        self._cluster.apply(client_pod(self._namespace, POD, self._image))
        self._cluster.kubectl("wait", "-n", self._namespace, f"pod/{POD}", "--for=condition=Ready", "--timeout=90s")

    def ask(
        self, url: str, questions: Questions, *, concurrency: int = 8, body: Mapping[str, Any] | None = None
    ) -> dict[str, list[Answer]]:
        """Ask every model its questions once; return the answers in the same order. Raises CommandFailedError.

        ``body`` holds further members of every request's body.
        """
        plan = {"url": url, "questions": questions, "concurrency": concurrency, "once": True, "body": body or {}}
        text = self._cluster.run(*self._command(), stdin=json.dumps(plan) + "\n", timeout=300)
        return {model: [Answer(**answer) for answer in answers] for model, answers in json.loads(text).items()}

    @contextmanager
    def load(
        self,
        url: str,
        questions: Questions,
        *,
        rate: float,
        concurrency: int = 4,
        expected: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Iterator[Load]:
        """Send ``rate`` requests per second while the block runs.

        ``expected``: version → question → right answers; ``body``: further members of every request's body.
        """
        plan = {"url": url, "questions": questions, "concurrency": concurrency, "rate": rate, "once": False}
        plan |= {"expected": expected or {}, "body": body or {}}
        with subprocess.Popen(
            self._command(),
            env=self._cluster.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin is not None
            process.stdin.write(json.dumps(plan) + "\n")
            process.stdin.flush()
            try:
                yield Load(process)
            finally:
                process.terminate()

    def _command(self) -> list[str]:
        exec_in_pod = ["kubectl", "exec", "-i", "-n", self._namespace, POD, "--"]
        return [*exec_in_pod, "python3", "-c", SCRIPT.read_text(encoding="utf-8")]
