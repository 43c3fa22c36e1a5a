"""Logs as streams of bytes: in whatever pieces they come, and of whatever length."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.api_server.scripted import Answer, api_server

from graft_cli.client import connect
from graft_cli.cluster.workloads import LINE_BYTES, Pod, lines_of
from graft_cli.dashboard.workloads import BYTES_READ, ClusterWorkloads


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"a\nb\n"], [b"a", b"b"]),
        ([b"a", b"b\n", b"c"], [b"ab", b"c"]),
        ([b"\n\n"], [b"", b""]),
        ([b"\xe2\x86", b"\x92\n"], ["→".encode()]),
        ([], []),
        ([b"", b"a", b""], [b"a"]),
    ],
)
def test_lines_come_whole(chunks: list[bytes], lines: list[bytes]) -> None:
    assert list(lines_of(chunks)) == lines


def test_a_line_without_an_end_is_kept_in_no_memory() -> None:
    sizes = [len(line) for line in lines_of(b"x" * 65_536 for _ in range(100))]
    assert max(sizes) <= LINE_BYTES + 65_536
    assert sum(sizes) == 100 * 65_536


def test_a_long_line_takes_no_square_of_its_length() -> None:
    began = time.process_time()
    for _ in lines_of(b"x" * 1000 for _ in range(LINE_BYTES // 1000 * 20)):
        pass
    assert time.process_time() - began < 5


def test_the_dashboard_asks_for_no_more_than_it_reads(tmp_path: Path) -> None:
    def script(_: str, path: str, __: Any) -> Answer:
        return Answer(200, "step 1/2: loss 1.0\n", "text/plain")

    with api_server(script, tmp_path) as server:
        pods = ClusterWorkloads(connect(kubeconfig=str(server.kubeconfig)).connection)
        assert list(pods.log(Pod("team-a", "p", "Running", ("trainer",)), "trainer")) == ["step 1/2: loss 1.0"]
    assert f"limitBytes={BYTES_READ}" in server.seen[0][1]
