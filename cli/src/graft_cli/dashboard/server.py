"""The HTTP server behind the page."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs

from graft_cli.dashboard.access import ADDRESS, HEADERS, PAGE_POLICY, refusal
from graft_cli.dashboard.answers import TEXT, Answer, Answers, problem_answer
from graft_cli.dashboard.board import Board, State
from graft_cli.dashboard.rows import changes
from graft_cli.errors import GraftError

NEWS_SECONDS: Final = 5.0
"""An event comes at least this often: by its absence the page knows that nobody is there any more."""
PATIENCE_SECONDS: Final = 30
"""Socket timeout, for clients that send a request or read an answer slowly."""


class DashboardServer(ThreadingHTTPServer):
    """Serves one board on the loopback interface."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, answers: Answers, board: Board, token: str, port: int = 0) -> None:
        self.answers, self.board, self.token = answers, board, token
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            fix = "give another --port, or none for any that is free"
            raise GraftError(f"can't listen on port {port}: {error.strerror}", fix=fix) from error

    @property
    def url(self) -> str:
        """The address of the page, with its secret."""
        return f"http://{ADDRESS}:{self.port}/{self.token}/"

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.socket.getsockname()[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a browser that has gone away is no news, and addresses hold the secret."""


@contextmanager
def running(server: DashboardServer) -> Iterator[DashboardServer]:
    """Serve from a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="serve", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answers one browser."""

    protocol_version = "HTTP/1.1"
    timeout = PATIENCE_SECONDS
    server: DashboardServer

    def do_GET(self) -> None:
        """Answer, if the request is the person's own."""
        path, _, question = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        refused = refusal(self.server.token, path, headers)
        if refused is not None:
            self._send(Answer(f"{refused.message}\n".encode(), TEXT, refused.status))
            return
        place = path.removeprefix(f"/{self.server.token}")
        if place == "/events":
            self._stream()
            return
        if not place:  # everything on the page is relative to the folder
            self._send(Answer(b"", TEXT, 308), {"Location": f"{path}/"})
            return
        query = {name: values[-1] for name, values in parse_qs(question).items()}
        try:
            answer = self.server.answers.answer(place, query)
        except GraftError as error:
            answer = problem_answer(error)
        except Exception as error:  # noqa: BLE001 -- one view fails, and says so; the others go on
            bug = GraftError(f"{type(error).__name__}: {error}", fix="this is a bug of kubectl graft dashboard")
            answer = problem_answer(bug)
        self._send(answer)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no request, or not to read."""
        self.close_connection = True
        only_reads = code == HTTPStatus.NOT_IMPLEMENTED  # what the base class makes of every other method
        words, status = (b"this server only reads\n", 405) if only_reads else (b"this is no request\n", code)
        self._send(Answer(words, TEXT, status), {"Connection": "close"} | ({"Allow": "GET"} if only_reads else {}))

    def _send(self, answer: Answer, more: Mapping[str, str] | None = None) -> None:
        self.send_response(answer.status)
        policy = {"Content-Security-Policy": answer.policy or PAGE_POLICY}
        described = {"Content-Type": answer.kind, "Content-Length": str(len(answer.body))}
        for name, value in {**HEADERS, **policy, **described, **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _stream(self) -> None:
        """Tell the state, and from then on what changes."""
        self.close_connection = True
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send_response(200)
        for name, value in {**HEADERS, "Content-Type": "text/event-stream", "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        board, known = self.server.board, State()
        with contextlib.suppress(OSError):  # the page was closed
            while not board.ended:
                state = board.wait(known.number, NEWS_SECONDS)
                self.wfile.write(f"event: news\ndata: {news(known, state)}\n\n".encode())
                self.wfile.flush()
                known = state

    def version_string(self) -> str:
        """Return the server's name."""
        return "graft"

    def log_message(self, *_: object) -> None:
        """Say nothing: addresses hold the secret."""


def news(known: State, now: State) -> str:
    """Return, as JSON of one line, what whoever knows an earlier state has to be told."""
    adapters, bases = changes(known.adapters, now.adapters), changes(known.bases, now.bases)
    problem = {"message": now.problem.message, "fix": now.problem.fix} if now.problem is not None else None
    told = {
        "whole": known.number == 0,
        "seen": now.seen.isoformat() if now.seen else None,
        "problem": problem,
        "removed": {"adapters": adapters.removed, "bases": bases.removed},
    }
    rows = f'"adapters":[{",".join(adapters.rows)}],"bases":[{",".join(bases.rows)}]'
    return f"{json.dumps(told)[:-1]},{rows}}}"
