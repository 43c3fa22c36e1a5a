"""An S3 server that a test can watch, and that lets its clients down now and then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.server import MotoRequestHandler
from werkzeug.serving import make_server

SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


class Service(Enum):
    """What becomes of a request."""

    SERVED = auto()
    REFUSED = auto()
    """Nothing is done, and 503 is the answer."""
    LOST = auto()
    """It is done, and 503 is the answer."""


Doorkeeper = Callable[[str, str], Service]
"""Is told of every request, by method and path, before it is served."""


def serve_everybody(_method: str, _path: str) -> Service:
    return Service.SERVED


def note_nothing(_method: str, _path: str) -> None:
    return None


class S3Server:
    """Moto's server, with a doorkeeper."""

    def __init__(self) -> None:
        self.doorkeeper: Doorkeeper = serve_everybody
        self._on_served: Callable[[str, str], None] = note_nothing
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
        service = self.doorkeeper(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if service is Service.SERVED:
            answer: Iterable[bytes] = self._moto(environ, start_response)
            self._on_served(environ["REQUEST_METHOD"], environ["PATH_INFO"])
            return answer
        if service is Service.LOST:
            list(self._moto(environ, lambda *_: None))
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("503 Slow Down", [("Content-Type", "application/xml")])
        return [SLOW_DOWN]

    @contextmanager
    def acting_after(self, stored: Callable[[str], bool], act: Callable[[], None]) -> Iterator[None]:
        """Act once something of such a path is stored: at the next request, which is refused, as all are from then on.

        So nothing can come after what is stored, however late the act has its effect. Who watches asks nothing
        meanwhile.
        """
        seen, acted = threading.Event(), threading.Event()

        def note(method: str, path: str) -> None:
            if method == "PUT" and stored(path):
                seen.set()

        def doorkeeper(_method: str, _path: str) -> Service:
            if not seen.is_set():
                return Service.SERVED
            if not acted.is_set():
                acted.set()
                act()
            return Service.REFUSED

        self.doorkeeper, self._on_served = doorkeeper, note
        try:
            yield
        finally:
            self.doorkeeper, self._on_served = serve_everybody, note_nothing
        assert acted.is_set(), "nothing of the kind was stored"


def is_checkpoint(path: str) -> bool:
    """Whether that is the manifest of a checkpoint, which comes last."""
    return "/checkpoints/" in path and path.endswith("manifest.json")
