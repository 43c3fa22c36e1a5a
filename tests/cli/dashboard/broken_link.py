"""A connection to a server that can be cut and mended."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Link:
    """Passes bytes on; while it is cut, every connection is closed at once."""

    target: tuple[str, int]
    listener: socket.socket
    is_cut: bool = False
    _open: list[socket.socket] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def cut(self) -> None:
        self.is_cut = True
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def serve(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                near, _ = self.listener.accept()
                if self.is_cut:
                    near.close()
                    continue
                far = socket.create_connection(self.target)
                self._open += (near, far)
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=pass_on, args=(source, sink), daemon=True).start()


def pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(65536):
            sink.sendall(content)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def link(host: str, port: int) -> Iterator[Link]:
    """Listen on a port of this machine, and lead to another."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Link((host, port), listener)
        threading.Thread(target=made.serve, daemon=True).start()
        try:
            yield made
        finally:
            made.cut()
