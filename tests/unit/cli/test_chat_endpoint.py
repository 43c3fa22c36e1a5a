"""chat with what answers oddly, or not at all: each fault is told of the one that has it; Ctrl-C ends it at once."""

from __future__ import annotations

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.unit.cli.api_server.scripted import api_server, settled

from graft_cli.asking import as_they_come
from graft_cli.cluster import inference
from graft_cli.cluster.inference import PodsClient
from graft_cli.cluster.workloads import Pod
from graft_cli.decisions.conversation import Reply, answer_of, of_base
from graft_cli.errors import ExitCode, NotFound

DEEP = b"[" * 200_000


@dataclass
class Model:
    """Answers every request with the same bytes."""

    body: bytes = b'{"choices": [{"message": {"content": "hello"}}]}'
    keys: list[str] = field(default_factory=list)


@contextmanager
def endpoint(model: Model) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            model.keys.append(self.headers.get("Authorization", ""))
            self.send_response(200)
            self.send_header("X-Graft-Version", "tiny@base")
            self.end_headers()
            self.wfile.write(model.body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("body", [DEEP, b"\xff\xfe", b"null", b'{"choices": {}}', b'{"choices": [{"text": 1e999}]}'])
def test_an_odd_answer_is_one_s_own_fault(body: bytes) -> None:
    found = answer_of(of_base("tiny"), Reply(status=200, version="tiny@base", body=body))
    assert found.problem or found.text == "inf"
    refused = answer_of(of_base("tiny"), Reply(status=500, version="none", body=body))
    assert refused.problem


def test_a_key_out_of_a_file_may_end_with_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model()
    monkeypatch.setenv("GRAFT_API_KEY", "secret\n")
    with endpoint(model) as url, api_server(settled, tmp_path) as server:
        code, out, _ = server.graft("chat", "tiny", "hi", "--endpoint", url)
        assert (code, "hello" in out, model.keys) == (0, True, ["Bearer secret"])
        code, _, err = server.graft("chat", "tiny", "hi", "--endpoint", url, "--key", "two\nlines")
        assert (code, "no header can hold" in err) == (ExitCode.USAGE, True)


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://x:port", "https://a:99999", "ftp://x", "x"])
def test_what_is_no_address_is_told(url: str, tmp_path: Path) -> None:
    with api_server(settled, tmp_path) as server:
        code, _, err = server.graft("chat", "tiny", "hi", "--endpoint", url)
    assert (code, "--endpoint is a URL" in err) == (ExitCode.USAGE, True)


@pytest.mark.parametrize("url", ["http://.", "http://a..b", f"http://{'x' * 70}.example", "http://127.0.0.1:1/a b"])
def test_an_address_of_nobody_is_told(url: str, tmp_path: Path) -> None:
    with api_server(settled, tmp_path) as server:
        code, out, err = server.graft("chat", "tiny", "hi", "--endpoint", url)
    assert code == ExitCode.FAILED
    assert "error: " in out
    assert "bug" not in err


def test_half_a_character_of_a_model_is_passed_on(tmp_path: Path) -> None:
    model = Model(b'{"choices": [{"message": {"content": "\\ud83d \\u001b[31m"}}]}')
    with endpoint(model) as url, api_server(settled, tmp_path) as server:
        code, out, err = server.graft("chat", "tiny", "hi", "--endpoint", url, "-o", "json")
        assert (code, err) == (0, "")
        assert '"\\ud83d \\u001b[31m"' in out
        assert "\x1b" not in server.graft("chat", "tiny", "hi", "--endpoint", url)[1]


def test_a_pod_that_has_gone_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def forwarded(_: object, pod: Pod, *__: object, **___: object) -> Iterator[str]:
        if pod.name == "gone":
            raise NotFound("pods gone not found")
        yield pod.name

    reply = Reply(status=200, version="tiny@base", body=b"{}")
    monkeypatch.setattr(inference, "forwarded", forwarded)
    monkeypatch.setattr(PodsClient, "_send", lambda *_: reply)
    pods = [Pod("team-a", name, "Running", ("agent",)) for name in ("gone", "there")]
    client = PodsClient(connection=None, pods=pods)  # type: ignore[arg-type]
    assert client.ask("/v1/chat/completions", b"{}") is reply


def test_each_is_asked_once_and_the_first_error_is_raised() -> None:
    assert dict(as_they_come(lambda n: n * n, range(20), 3)) == {n: n * n for n in range(20)}
    assert dict(as_they_come(lambda n: n, [], 3)) == {}
    with pytest.raises(ZeroDivisionError):
        list(as_they_come(lambda n: 1 // n, [1, 0], 1))


def hear_ctrl_c() -> None:
    """Undo what shells do to programs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_waits_for_no_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, api_server(settled, tmp_path) as server:
        paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path if path)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-m", "graft_cli", "chat", "tiny", "hi", "--endpoint", url]
        command += ["--kubeconfig", str(server.kubeconfig)]
        environment = {**os.environ, "PYTHONPATH": paths}
        chat = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, preexec_fn=hear_ctrl_c)
        silent.settimeout(300)
        asked, _ = silent.accept()
        chat.send_signal(signal.SIGINT)
        try:
            assert chat.wait(60) == ExitCode.INTERRUPTED, "well before the 120 seconds of --timeout"
            assert chat.communicate()[1].strip() == b""
        finally:
            chat.kill()
            asked.close()
