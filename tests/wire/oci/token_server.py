"""The service that gives tokens for a registry (distribution's token authentication), really signed ones."""

from __future__ import annotations

import base64
import datetime
import http.server
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

ISSUER, SERVICE = "tests", "registry.tests"
USER, PASSWORD, REFRESH = "reader", "pass:word with spaces", "a-refresh-token"


class TokenServer(http.server.ThreadingHTTPServer):
    """Gives anonymous clients the right to pull from ``public/…``, and whoever logs in all rights."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), TokenHandler)
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.certificate = _certificate(self.key)
        self.bundle = folder / "root.pem"
        self.bundle.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        self.lifetime = 300
        self.asked: list[str] = []

    @property
    def auth(self) -> dict[str, Any]:
        """The registry's configuration."""
        url = f"http://127.0.0.1:{self.server_port}/token"
        return {"token": {"realm": url, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(self.bundle)}}

    def token(self, user: str, scope: str) -> str:
        kind, name, actions = scope.split(":", 2) if scope.count(":") >= 2 else ("", "", "")
        granted = actions.split(",") if user else (["pull"] if name.startswith("public/") else [])
        now = int(time.time())
        payload = {
            "iss": ISSUER, "sub": user, "aud": SERVICE, "iat": now, "nbf": now - 10, "exp": now + self.lifetime,
            "jti": str(time.monotonic_ns()), "access": [{"type": kind, "name": name, "actions": granted}],
        }  # fmt: skip
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        signed = f"{_encoded(header)}.{_encoded(payload)}"
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


class TokenHandler(http.server.BaseHTTPRequestHandler):
    server: TokenServer

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        login = self.headers.get("Authorization")
        if login is None:
            self._give("", query)
        elif login == "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode():
            self._give(USER, query)
        else:
            self._answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]})

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if form.get("refresh_token") == [REFRESH] and form.get("grant_type") == ["refresh_token"]:
            self._give(USER, form, "access_token")
        else:
            self._answer(401, {"details": "invalid refresh token"})

    def _give(self, user: str, query: dict[str, list[str]], field: str = "token") -> None:
        scope = query.get("scope", [""])[0]
        self.server.asked.append(scope)
        self._answer(200, {field: self.server.token(user, scope)})

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def _encoded(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(
        key, hashes.SHA256()
    )
