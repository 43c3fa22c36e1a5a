"""A proxy before a real S3 server that answers as another maker's store does: it refuses, ignores and hides.

It ends TLS, undoes the SDK's ``aws-chunked`` bodies, and signs anew what it sends on, as it may have changed it.
"""

from __future__ import annotations

import http.server
import ssl
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5
from typing import Final

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.wire.registry.stores.store_kinds import Answer, Request, StoreKind

_OWN: Final = frozenset(
    {
        "authorization",
        "x-amz-date",
        "x-amz-content-sha256",
        "host",
        "user-agent",
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "transfer-encoding",
        "amz-sdk-invocation-id",
        "amz-sdk-request",
    }
)
_HOPS: Final = frozenset({"connection", "transfer-encoding", "keep-alive", "date", "server", "content-length"})
DOMAIN: Final = "s3.test"


@dataclass(frozen=True, slots=True)
class Upstream:
    """The real server, and the keys that it knows."""

    url: str
    access_key: str
    secret_key: str


class StoreProxy(http.server.ThreadingHTTPServer):
    """Serves one kind of store over TLS at ``s3.test`` and, for buckets in the host, below it."""

    daemon_threads = True

    def __init__(self, upstream: Upstream, kind: StoreKind, tls: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.upstream = upstream
        self.kind = kind
        self.pool = urllib3.PoolManager(maxsize=16)

    @property
    def url(self) -> str:
        """The endpoint for clients."""
        return f"https://{DOMAIN}:{self.server_port}"

    def pass_on(self, request: Request) -> Answer:
        """Send a request to the real server, signed with its keys."""
        url = f"{self.upstream.url}{request.path_with_bucket}"
        headers = {name: value for name, value in request.headers.items() if name not in _OWN}
        if request.deletes_together:  # of which the server behind wants some checksum
            headers["content-md5"] = b64encode(md5(request.body, usedforsecurity=False).digest()).decode()
        signed = AWSRequest(method=request.method, url=url, headers=headers, data=request.body)
        keys = Credentials(self.upstream.access_key, self.upstream.secret_key)
        S3SigV4Auth(keys, "s3", "us-east-1").add_auth(signed)
        answer = self.pool.request(
            request.method, url, body=request.body, headers=dict(signed.headers.items()), redirect=False, retries=False
        )
        return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.data)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: StoreProxy
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        body = self._chunks() if chunked else self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body, _bucket_in(headers.get("host", "")))
        kind = self.server.kind
        self._send(kind.answer(request, lambda ready: self.server.pass_on(kind.understood(_plain(ready)))))

    def _chunks(self) -> bytes:
        pieces = []
        while size := int(self.rfile.readline().strip(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer  # noqa: N815

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        self.send_header("Date", answer.headers.get("date") or self.date_time_string())
        for name, value in answer.headers.items():
            if name not in _HOPS:
                self.send_header(name, value)
        length = answer.headers.get("content-length", "0") if self.command == "HEAD" else str(len(answer.body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def _bucket_in(host: str) -> str:
    name = host.rpartition(":")[0] or host
    return name.removesuffix(DOMAIN).removesuffix(".")


def _plain(request: Request) -> Request:
    """Undo ``aws-chunked``: the body as it is, and its checksum in a header instead of behind it."""
    if request.headers.get("content-encoding") != "aws-chunked":
        return request
    body, trailer = unchunked(request.body)
    headers = {
        name: value
        for name, value in request.headers.items()
        if name not in ("content-encoding", "x-amz-trailer", "x-amz-decoded-content-length")
    }
    return request.with_body(body, {**headers, **trailer})


def unchunked(body: bytes) -> tuple[bytes, Mapping[str, str]]:
    """Return what an ``aws-chunked`` body holds, and its trailer."""
    pieces: list[bytes] = []
    while True:
        head, _, body = body.partition(b"\r\n")
        size = int(head.partition(b";")[0], 16)
        if not size:
            break
        pieces.append(body[:size])
        body = body[size + 2 :]
    lines: Sequence[str] = body.decode().split("\r\n")
    pairs = (line.partition(":") for line in lines if ":" in line)
    return b"".join(pieces), {name.strip().lower(): value.strip() for name, _, value in pairs}
