"""The dashboard beside a real API server: watches, rights, and pods through the API server."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from tests.cli.conftest import NAMESPACE, Cluster, manifest
from tests.cli.dashboard.broken_link import link
from tests.cli.dashboard.scene import agent, held
from tests.control_plane import ADAPTERS, BASES, PODS
from tests.unit.cli import objects
from tests.unit.cli.test_chat_endpoint import hear_ctrl_c

from graft_cli.client import WatchedGraft, connect
from graft_cli.client import watching as watching_module
from graft_cli.cluster.workloads import STATE_BYTES, pods
from graft_cli.dashboard.board import Board
from graft_cli.dashboard.workloads import ClusterWorkloads, holdings_of_base
from graft_cli.decisions.logs import owned_by
from graft_cli.errors import Forbidden, GraftError, NotFound, Unreachable
from graft_operator.manifests.workloads.serving import SERVING

PATIENCE = 30


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def watched(cluster: Cluster, **options: Any) -> WatchedGraft:
    return WatchedGraft(connect(kubeconfig=str(options.get("kubeconfig", cluster.kubeconfig))), NAMESPACE)


def candidate(graft: WatchedGraft, name: str = "support") -> int | None:
    """Return the version that is rolled out; an adapter that is replaced is away for a moment."""
    return next((item.status.candidate_version for item in graft.adapters() if item.metadata.name == name), None)


def test_what_is_watched_is_what_is_there(cluster: Cluster) -> None:
    with watched(cluster) as graft:
        (before,) = graft.adapters()
        assert graft.adapters()[0] is before, "what has not changed is the same object"
        cluster.put(ADAPTERS, manifest("LoraAdapter", objects.canary().raw))
        cluster.put(ADAPTERS, manifest("LoraAdapter", objects.adapter("topic").raw))
        eventually(lambda: len(graft.adapters()) == 2 and candidate(graft) == 7)
        assert [item.metadata.name for item in graft.bases()] == ["tiny"]
        assert graft.adapters("elsewhere") == []
        cluster.request("DELETE", ADAPTERS.path(NAMESPACE, "topic"))
        eventually(lambda: len(graft.adapters()) == 1)
        with pytest.raises(NotFound):
            graft.adapter(NAMESPACE, "topic")


def test_a_watch_that_ends_goes_on(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching_module, "WATCH_SECONDS", 1)
    with watched(cluster) as graft:
        time.sleep(2.5)
        cluster.put(ADAPTERS, manifest("LoraAdapter", objects.canary().raw))
        eventually(lambda: candidate(graft) == 7)


def test_an_api_server_that_is_away_is_told_and_what_it_tells_later_is_new(cluster: Cluster, tmp_path: Path) -> None:
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    server = urlsplit(config["clusters"][0]["cluster"]["server"])
    with link(str(server.hostname), int(server.port or 443)) as way:
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{way.port}"
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        with watched(cluster, kubeconfig=tmp_path / "kubeconfig") as graft, Board(graft, NAMESPACE) as board:
            before = board.wait(0, 0)
            assert list(before.adapters) == [f"{NAMESPACE}/support"]
            way.cut()
            eventually(lambda: isinstance(board.wait(0, 0).problem, Unreachable))
            away = board.wait(0, 0)
            assert (away.adapters, away.seen is not None) == (before.adapters, True)
            with pytest.raises(Unreachable):
                graft.adapters()
            cluster.put(ADAPTERS, manifest("LoraAdapter", objects.adapter("topic").raw))
            way.is_cut = False
            eventually(lambda: len(board.wait(0, 0).adapters) == 2)
            assert board.wait(0, 0).problem is None


def test_who_may_list_and_not_watch_sees_all_a_little_later(cluster: Cluster) -> None:
    rule = {"apiGroups": ["graft.dev"], "resources": ["loraadapters", "basemodels"], "verbs": ["list"]}
    lister = cluster.person("lister", rule)
    with watched(cluster, kubeconfig=lister) as graft:
        cluster.put(ADAPTERS, manifest("LoraAdapter", objects.canary().raw))
        eventually(lambda: candidate(graft) == 7)


def test_who_may_not_list_is_told_so(cluster: Cluster) -> None:
    nobody = cluster.person("nobody")
    with pytest.raises(Forbidden), watched(cluster, kubeconfig=nobody):
        pass
    refused = cluster.graft("dashboard", "--no-browser", kubeconfig=nobody)
    assert (refused.code, "forbidden" in refused.err) == (4, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = cluster.graft("dashboard", "--no-browser", "--port", port)
    assert (refused.code, f"can't listen on port {port}" in refused.err) == (1, True)


def test_the_page_s_rows_come_from_the_cluster_until_ctrl_c(cluster: Cluster) -> None:
    environment = {"KUBECONFIG": str(cluster.kubeconfig), "PYTHONPATH": ":".join(sys.path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "graft_cli", "dashboard", "--no-browser"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c
    ) as running:
        try:
            assert running.stdout is not None
            url = running.stdout.readline().strip()
            with urllib.request.urlopen(f"{url}place", timeout=PATIENCE) as answer:
                assert json.load(answer) == {"context": "test", "namespace": NAMESPACE, "reports": False}
            with urllib.request.urlopen(f"{url}events", timeout=PATIENCE) as events:
                told = (json.loads(line[6:]) for line in events if line.startswith(b"data: "))
                assert [row["key"] for row in next(told)["adapters"]] == [f"{NAMESPACE}/support"]
                cluster.put(ADAPTERS, manifest("LoraAdapter", objects.canary().raw))
                while not any(row["node"]["canary"] for row in next(told)["adapters"]):
                    pass
        finally:
            running.send_signal(signal.SIGINT)
        assert running.wait(PATIENCE) == 130


ANSWERS: dict[str, bytes] = {"state": json.dumps(agent(held("support", (6, 100)))).encode()}


@contextmanager
def answering() -> Iterator[tuple[str, int]]:
    """Answer as an agent on an address of this machine that the API server may proxy to, so not on loopback."""

    class Agent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = ANSWERS[self.path.partition("?")[0].strip("/")]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; tells which address packets would have
        address = probe.getsockname()[0]
    server = ThreadingHTTPServer((address, 0), Agent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield address, server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def run_pod(cluster: Cluster, address: str) -> None:
    uid = cluster.request("GET", BASES.path(NAMESPACE, "tiny"))["metadata"]["uid"]
    labels = {"graft.dev/owner-uid": uid, "graft.dev/component": "serving"}
    spec = {"containers": [{"name": "agent", "image": "none"}]}
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    cluster.put(
        PODS, {"metadata": {"name": "pod-1", "namespace": NAMESPACE, "labels": labels}, "spec": spec, "status": status}
    )


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (json.dumps(agent(held("support", (6, 100)))).encode(), ""),
        (b"<html>", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"\xff\xfe", "is no JSON"),
        (b" " * (STATE_BYTES + 1), "more than"),
        (b"{}", "something else than graft.dev/agent/v1"),
    ],
    ids=["agent", "html", "nested", "bytes", "large", "other"],
)
def test_a_pod_tells_through_the_api_server_what_it_holds(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, answer: bytes, problem: str
) -> None:
    monkeypatch.setitem(ANSWERS, "state", answer)
    reader = connect(kubeconfig=str(cluster.kubeconfig))
    with answering() as (address, port):
        run_pod(cluster, address)
        (found,) = holdings_of_base(ClusterWorkloads(reader.connection, port=port), reader.base(NAMESPACE, "tiny"))
    assert found.pod == "pod-1"
    if problem:
        assert problem in found.problem
    else:
        assert [(item.name, item.versions[0].number) for item in found.adapters] == [("support", 6)]


def test_a_pod_that_is_not_reached_or_not_allowed_says_so(cluster: Cluster) -> None:
    run_pod(cluster, "192.0.2.7")
    rules: tuple[dict[str, Any], ...] = (
        {"apiGroups": ["graft.dev"], "resources": ["basemodels"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    )
    stranger = connect(kubeconfig=str(cluster.person("onlooker", *rules)))
    (found,) = holdings_of_base(ClusterWorkloads(stranger.connection), stranger.base(NAMESPACE, "tiny"))
    assert "pods/proxy" in found.problem
    person = connect(kubeconfig=str(cluster.person("passer-by", rules[0])))
    base = person.base(NAMESPACE, "tiny")
    with pytest.raises(GraftError, match="list pods"):
        pods(person.connection, NAMESPACE, owned_by(base.metadata.uid, SERVING))
