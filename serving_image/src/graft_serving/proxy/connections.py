"""The connections on which requests go to engines and to other pods, and what those of clients hold."""

import asyncio
import fcntl
import ipaddress
import socket
import sys
import termios

import aiohttp

CONNECT_SECONDS = 2.0
KEEP_ALIVE_SECONDS = 2.0
"""Shorter than the five seconds after which vLLM's server closes idle connections: no request meets a closing one."""
SILENT_SECONDS = 20
"""After which a machine that acknowledges nothing is gone. It may calculate for as long as it likes."""


def upstream_session() -> aiohttp.ClientSession:
    """A session for proxied requests: unbounded, since the engine queues by itself and each call has its own limit."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS, socket_factory=socket_that_notices_silence
        ),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def bytes_not_taken(transport: asyncio.Transport | None) -> int:
    """Of what was written: what is held here, and what is in the kernel, where a client that reads slowly leaves MiB.

    The kernel's part is what the client's has not acknowledged (tcp(7), SIOCOUTQ).
    """
    if transport is None:
        return 0
    try:
        in_kernel = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):
        # It is closed.
        in_kernel = bytes(4)
    return transport.get_write_buffer_size() + int.from_bytes(in_kernel, sys.byteorder)


def socket_that_notices_silence(address: aiohttp.AddrInfoType) -> socket.socket:
    """Without it, a client whose request another node had when it lost its power would wait for the whole timeout."""
    family, kind, protocol, _, (host, *_) = address
    connection = socket.socket(family, kind, protocol)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENT_SECONDS // 2)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, SILENT_SECONDS // 4)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
    if not ipaddress.ip_address(host).is_loopback:
        # Keep-alive asks nothing while what was sent is not acknowledged yet. This machine's own engine can't be gone
        # without a word; but it may be too busy to take a long request, which this limit is of, too.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * SILENT_SECONDS)
    return connection
