"""Ports of this machine that nobody listens on."""

from __future__ import annotations

import itertools
import os
import socket

FIRST, COUNT = 20_000, 12_000
"""Below the ports that the kernel gives to outgoing connections: one of those may be taken at any moment."""
_offsets = itertools.count(os.getpid() * 7417)


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on.

    A process gets none twice, and processes of neighbouring ids, which run at the same time, begin far from each other:
    the factor is the golden section of the range.
    """
    while True:
        port = FIRST + next(_offsets) % COUNT
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
