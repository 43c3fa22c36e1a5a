"""An S3 server that a test can watch, and let down a client now and then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.server import MotoRequestHandler
from werkzeug.serving import make_server

SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)

Doorkeeper = Callable[[str, str], bool]
"""Is told of every request, by method and path, before it is served; answers whether to serve it or to say 503."""


def let_everybody_in(_method: str, _path: str) -> bool:
    return True


class S3Server:
    """Moto's server, with a doorkeeper."""

    def __init__(self) -> None:
        self.doorkeeper: Doorkeeper = let_everybody_in
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=MotoRequestHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self.doorkeeper(environ["REQUEST_METHOD"], environ["PATH_INFO"]):
            answer: Iterable[bytes] = self._moto(environ, start_response)
            return answer
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("503 Slow Down", [("Content-Type", "application/xml")])
        return [SLOW_DOWN]
