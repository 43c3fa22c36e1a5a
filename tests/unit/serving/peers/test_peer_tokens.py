"""Which tokens say that their bearer is a pod of the base: real signatures, and what somebody might try."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from tests.serving.token_api import AUDIENCE, SUBJECT, SigningKey, claims, elliptic_key, rsa_key

from graft_serving.peers.tokens import PeerGroup, PublicKeys, TokenRefusedError, UnknownKeyError, public_keys, verify

GROUP = PeerGroup(audience=AUDIENCE, subject=SUBJECT)
NOW = int(time.time())


def shown(*keys: SigningKey) -> bytes:
    return json.dumps({"keys": [key.public for key in keys]}).encode()


KEYS: PublicKeys = public_keys(shown(rsa_key(), elliptic_key()))


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_with_the_public_key() -> str:
    """HS256, with what everybody may read for the secret."""
    body = f"{part({'alg': 'HS256', 'kid': rsa_key().name})}.{part(claims())}"
    return f"{body}.{part(hmac.digest(rsa_key().public_bytes, body.encode(), hashlib.sha256))}"


def with_other_claims() -> str:
    header, _, signature = rsa_key().sign(claims(sub="system:serviceaccount:team-b:x")).split(".")
    return f"{header}.{part(claims())}.{signature}"


HOSTILE: dict[str, Callable[[], str]] = {
    "alg none": lambda: jwt.encode(claims(), "", "none", headers={"kid": rsa_key().name}),
    "alg none, spelt otherwise": lambda: f"{part({'alg': 'nOnE', 'kid': rsa_key().name})}.{part(claims())}.",
    "HS256 with the public key": signed_with_the_public_key,
    "another algorithm than the key's": lambda: jwt.encode(
        claims(), rsa_key().private, "PS256", headers={"kid": rsa_key().name}
    ),
    "the name of a key of the other kind": lambda: elliptic_key().sign(claims(), kid=rsa_key().name),
    "claims that were put in later": with_other_claims,
    "another audience": lambda: rsa_key().sign(claims(aud=["graft-peers.team-a.basemodel.other"])),
    "the API server's audience": lambda: rsa_key().sign(claims(aud=["https://kubernetes.default.svc.cluster.local"])),
    "an audience that begins alike": lambda: rsa_key().sign(claims(aud=[AUDIENCE + "-2"])),
    "two audiences": lambda: rsa_key().sign(claims(aud=[AUDIENCE, "https://vault.example.com"])),
    "no audience": lambda: rsa_key().sign(claims(aud=None)),
    "another namespace": lambda: rsa_key().sign(claims(sub="system:serviceaccount:team-b:graft-tiny-serving")),
    "another account": lambda: rsa_key().sign(claims(sub="system:serviceaccount:team-a:default")),
    "no subject": lambda: rsa_key().sign(claims(sub=None)),
    "expired": lambda: rsa_key().sign(claims(exp=NOW - 3600)),
    "without an end": lambda: rsa_key().sign(claims(exp=None)),
    "an end that is no number": lambda: rsa_key().sign(claims(exp={"never": True})),
    "an end beyond all numbers": lambda: rsa_key().sign(claims(exp=float("inf"))),
    "from the future": lambda: rsa_key().sign(claims(nbf=NOW + 3600)),
    "issued in the future": lambda: rsa_key().sign(claims(iat=NOW + 3600)),
    "a list for claims": lambda: jwt.api_jws.encode(b"[]", rsa_key().private, "RS256", headers={"kid": rsa_key().name}),
    "garbage": lambda: "not.a.token",
    "one word": lambda: "token",
    "five parts, as if encrypted": lambda: ".".join([part({"alg": "RSA-OAEP", "kid": rsa_key().name})] * 5),
    "no ASCII": lambda: "\u0661." * 3,
    "what no text can hold": lambda: "\udcff.\udcff.\udcff",
    "a header of brackets": lambda: f"{part(b'[' * 6000)}.e30.e30",
    "a header that needs what nobody knows": lambda: rsa_key().sign(claims(), crit=["exp-of-mine"]),
    "huge": lambda: rsa_key().sign(claims(more="x" * 100_000)),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_hostile_tokens_are_refused_with_a_reason(make: Callable[[], str]) -> None:
    with pytest.raises(TokenRefusedError, match=r"\w") as refused:
        verify(make(), GROUP, KEYS, leeway_seconds=60)
    assert not isinstance(refused.value, UnknownKeyError), "no fetch of newer keys would help"


UNKNOWN: dict[str, Callable[[], str]] = {
    "another cluster": lambda: rsa_key(9).sign(claims()),
    "a name that is none": lambda: rsa_key().sign(claims(), kid=""),
    "no name": lambda: jwt.encode(claims(), rsa_key().private, "RS256"),
}


@pytest.mark.parametrize("make", UNKNOWN.values(), ids=UNKNOWN)
def test_a_token_of_an_unknown_key_is_refused_for_now(make: Callable[[], str]) -> None:
    with pytest.raises(UnknownKeyError):
        verify(make(), GROUP, KEYS, leeway_seconds=60)


@pytest.mark.parametrize("key", [rsa_key, elliptic_key], ids=["RSA", "ECDSA"])
def test_a_token_of_a_pod_of_the_base_is_taken(key: Callable[[], SigningKey]) -> None:
    ways = (claims(), claims(aud=AUDIENCE), claims(iss="https://oidc.eks.eu-west-1.amazonaws.com/id/ABC"))
    for written in ways:
        assert verify(key().sign(written), GROUP, KEYS, leeway_seconds=60) == written["exp"]


def test_clocks_may_differ_by_the_leeway() -> None:
    now = int(time.time())  # the tests before may have taken long
    late, early = rsa_key().sign(claims(exp=now - 40)), rsa_key().sign(claims(nbf=now + 40, iat=now + 40))
    for token in (late, early):
        verify(token, GROUP, KEYS, leeway_seconds=60)
        with pytest.raises(TokenRefusedError):
            verify(token, GROUP, KEYS, leeway_seconds=10)


SETS = {
    "nonsense": b"<html>",
    "no object": b"[]",
    "no keys": b"{}",
    "empty": b'{"keys": []}',
    "keys that are none": b'{"keys": "all"}',
    "null": b"null",
    "brackets": b"[" * 100_000,
    "a shared secret": b'{"keys": [{"kty": "oct", "kid": "a", "k": "c2VjcmV0", "alg": "HS256"}]}',
    "no name": json.dumps({"keys": [{**rsa_key().public, "kid": None}]}).encode(),
}


@pytest.mark.parametrize("document", SETS.values(), ids=SETS)
def test_a_set_without_keys_of_the_api_server_is_none(document: bytes) -> None:
    with pytest.raises(ValueError, match="JWK set"):
        public_keys(document)


def test_keys_that_are_no_use_leave_the_others() -> None:
    odd = [
        {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
        {"kty": "XX", "kid": "new"},
        "text",
        {"kty": "RSA", "kid": "half", "n": "AQAB"},
    ]
    document = json.dumps({"keys": [*odd, rsa_key().public]}).encode()
    assert set(public_keys(document)) == {rsa_key().name}
