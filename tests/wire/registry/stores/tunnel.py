"""An HTTP proxy as companies have one: it only opens tunnels, and knows who asked for which."""

from __future__ import annotations

import http.server
import select
import socket


class TunnelProxy(http.server.ThreadingHTTPServer):
    """Answers CONNECT."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        """What HTTPS_PROXY is set to."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: TunnelProxy

    def do_CONNECT(self) -> None:
        self.server.asked.append(self.path)
        port = int(self.path.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as behind:
            self.send_response(200)
            self.end_headers()
            self._relay(behind)
        self.close_connection = True

    def _relay(self, behind: socket.socket) -> None:
        ends = {self.connection: behind, behind: self.connection}
        while True:
            ready, _, _ = select.select(list(ends), [], [], 30)
            for end in ready:
                data = end.recv(1 << 16)
                if not data:
                    return
                ends[end].sendall(data)
            if not ready:
                return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
