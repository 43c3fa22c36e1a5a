"""How the figures of a concurrency test are judged, and how the test ends when its pod is deleted."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from graft_serving.concurrency import VARIABLE, Part, judge


def part(name: str, p95: float, failed: int = 0) -> Part:
    return Part(
        name=name,
        models=1,
        requests=100,
        failed=failed,
        seconds=1.0,
        requests_per_second=100.0,
        p50=p95 / 2,
        p95=p95,
        p99=p95,
        first_failure="topic: status 500" if failed else "",
    )


JUDGED = {
    "as fast as the base": ([part("base alone", 50), part("all mixed", 50)], "Passed", "100 %"),
    "slower, within the limit": ([part("base alone", 50), part("all mixed", 100)], "Passed", "200 %"),
    "slower than the limit": ([part("base alone", 50), part("all mixed", 101)], "TooSlow", "maxActiveAdapters"),
    "a failed request": ([part("base alone", 50), part("all mixed", 50, failed=1)], "RequestsFailed", "status 500"),
    "a failure of the base": ([part("base alone", 50, failed=2), part("all mixed", 50)], "RequestsFailed", "2 of 100"),
}


@pytest.mark.parametrize(("parts", "reason", "said"), JUDGED.values(), ids=JUDGED)
def test_judgement(parts: list[Part], reason: str, said: str) -> None:
    finding = judge(parts, adapters=1, max_latency_percent=200)
    assert finding.reason == reason
    assert said in finding.message


def test_a_test_that_is_told_to_end_does_so_at_once() -> None:
    """The engine has taken the connection and says nothing: a request may take ten minutes."""
    with socket.create_server(("127.0.0.1", 0)) as engine:
        engine.settimeout(60)
        request = {
            "namespace": "team-a",
            "base": "tiny",
            "url": f"http://127.0.0.1:{engine.getsockname()[1]}",
            "adapters": ["topic"],
            "digest": "sha256:0",
            "requests": 1,
            "concurrency": 1,
            "maxTokens": 1,
            "maxLatencyPercent": 200,
        }
        variables = {VARIABLE: json.dumps(request), "PYTHONPATH": ":".join(sys.path)}
        command = [sys.executable, "-m", "graft_serving.concurrency"]
        with subprocess.Popen(command, env=os.environ | variables, stderr=subprocess.DEVNULL) as process:
            connection, _ = engine.accept()
            with connection:
                process.terminate()
                assert process.wait(timeout=10) == 143
