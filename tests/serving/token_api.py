"""The part of the Kubernetes API server that signs tokens of ServiceAccounts and shows the public keys to them."""

import base64
import functools
import hashlib
import json
import time
import uuid
from dataclasses import dataclass
from typing import Any, Final

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.ports import free_port

AUDIENCE: Final = "graft-peers.team-a.basemodel.tiny"
ACCOUNT: Final = "graft-tiny-serving"
SUBJECT: Final = f"system:serviceaccount:team-a:{ACCOUNT}"
MEDIA_TYPE: Final = "application/jwk-set+json"
OWN_TOKEN: Final = "the agent's own token for the Kubernetes API"


@dataclass(frozen=True)
class SigningKey:
    """A pair of keys; the API server names it by its public key."""

    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

    @property
    def algorithm(self) -> str:
        return "RS256" if isinstance(self.private, rsa.RSAPrivateKey) else "ES256"

    @property
    def public_bytes(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def name(self) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(self.public_bytes).digest()).decode().rstrip("=")

    @property
    def public(self) -> dict[str, Any]:
        """The public key as the API server shows it."""
        key: Any = self.private.public_key()
        kind = jwt.get_algorithm_by_name(self.algorithm)
        return {**kind.to_jwk(key, as_dict=True), "use": "sig", "kid": self.name, "alg": self.algorithm}

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        return jwt.encode(claims, self.private, self.algorithm, headers={"kid": self.name, **header})


@functools.cache
def rsa_key(number: int = 0) -> SigningKey:
    return SigningKey(rsa.generate_private_key(public_exponent=65537, key_size=2048))


@functools.cache
def elliptic_key(number: int = 0) -> SigningKey:
    return SigningKey(ec.generate_private_key(ec.SECP256R1()))


def claims(**changed: Any) -> dict[str, Any]:
    """What Kubernetes writes into the token of a pod; None takes something out."""
    now = int(time.time())
    written = {
        "aud": [AUDIENCE],
        "exp": now + 3600,
        "iat": now,
        "iss": "https://kubernetes.default.svc.cluster.local",
        "jti": str(uuid.uuid4()),
        "kubernetes.io": {
            "namespace": "team-a",
            "node": {"name": "node-1", "uid": "4d6f7a0e-6d41-4c31-9a3e-0d5f1f8f4a55"},
            "pod": {"name": "graft-tiny-1a2b3c4d-5f6d7-abcde", "uid": "0b0c4c7e-7a53-4d3c-8f0e-5d0f6c1f5a11"},
            "serviceaccount": {"name": ACCOUNT, "uid": "a7e0e9a2-9c0f-4f2c-bb2c-2f9a3f3d8f10"},
        },
        "nbf": now,
        "sub": SUBJECT,
    }
    return {name: value for name, value in {**written, **changed}.items() if value is not None}


class TokenApi:
    """Answers on `/openid/v1/jwks` as an API server does."""

    def __init__(self) -> None:
        self.port = free_port()
        self.keys = [rsa_key()]
        self.fetches = 0
        self.status = 200
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/openid/v1/jwks", self._show)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    def token(self, **changed: Any) -> str:
        """A token that the newest key has signed."""
        return self.keys[-1].sign(claims(**changed))

    async def _show(self, request: web.Request) -> web.Response:
        self.fetches += 1
        if request.headers.get("Authorization") != f"Bearer {OWN_TOKEN}":
            return web.json_response({"message": "Unauthorized"}, status=401)
        if MEDIA_TYPE not in request.headers.get("Accept", "*/*"):
            return web.Response(status=406)
        if self.status != 200:
            return web.json_response({"message": "Forbidden"}, status=self.status)
        document = json.dumps({"keys": [key.public for key in self.keys]})
        return web.Response(body=document.encode(), content_type=MEDIA_TYPE)
