"""A server that answers what a function says: for hubs and stores that answer what no real one does on request."""

from __future__ import annotations

import http.server
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass
class Answer:
    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class OddServer(http.server.ThreadingHTTPServer):
    """``answers`` gives the answer to a path; what it has given before is not kept."""

    def __init__(self, answers: Callable[[str], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), OddHandler)
        self.answers = answers

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class OddHandler(http.server.BaseHTTPRequestHandler):
    server: OddServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        answer = self.server.answers(self.path)
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET" and answer.status != 304:
            self.wfile.write(answer.body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
