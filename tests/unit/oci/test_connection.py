"""Where a login is sent: to the registry itself, and never in clear text because the registry says so."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import urllib3

from graft_registry.errors import InvalidArtifact
from graft_registry.oci import connection
from graft_registry.oci.connection import Connection, without_downgrade
from graft_registry.oci.references import Reference

ROOT = "https://registry.example.com/v2/team/adapter/"
WITH_PORT = "https://registry.example.com:5000/v2/team/adapter/"


@pytest.mark.parametrize(
    ("url", "root", "asked"),
    [
        ("http://registry.example.com/up?a=b", ROOT, "https://registry.example.com/up?a=b"),
        ("http://registry.example.com:80/up", ROOT, "https://registry.example.com/up"),
        ("http://REGISTRY.example.com/up", ROOT, "https://registry.example.com/up"),
        ("http://user:word@registry.example.com/up", ROOT, "https://registry.example.com/up"),
        ("http://registry.example.com:5000/up", WITH_PORT, "https://registry.example.com:5000/up"),
        ("http://registry.example.com:5000/up", ROOT, "http://registry.example.com:5000/up"),
        ("http://registry.example.com/up", WITH_PORT, "http://registry.example.com/up"),
        ("http://other.example.com/up", ROOT, "http://other.example.com/up"),
        ("https://registry.example.com/up", ROOT, "https://registry.example.com/up"),
        ("http://127.0.0.1:5000/up", "http://127.0.0.1:5000/v2/a/", "http://127.0.0.1:5000/up"),
    ],
)
def test_a_registry_with_tls_is_never_asked_without(url: str, root: str, asked: str) -> None:
    assert without_downgrade(url, root) == asked


@pytest.mark.parametrize(
    ("location", "asked", "has_login"),
    [
        ("/v2/team/adapter/blobs/uploads/1", f"{ROOT}blobs/uploads/1", True),
        (f"{ROOT}blobs/uploads/1", f"{ROOT}blobs/uploads/1", True),
        (f"http{ROOT[5:]}blobs/uploads/1", f"{ROOT}blobs/uploads/1", True),
        ("https://registry.example.com:443/up", "https://registry.example.com:443/up", True),
        ("http://registry.example.com:8080/up", "http://registry.example.com:8080/up", False),
        ("https://registry.example.com:8443/up", "https://registry.example.com:8443/up", False),
        ("https://storage.example.com/up", "https://storage.example.com/up", False),
        ("http://storage.example.com/up", "http://storage.example.com/up", False),
    ],
)
def test_only_the_registry_itself_gets_the_login(
    location: str, asked: str, has_login: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = base64.b64encode(b"user:word").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"registry.example.com": {"auth": login}}}))
    sent: list[tuple[str, Mapping[str, str]]] = []

    def request(method: str, url: str, headers: Mapping[str, str], body: Any, what: str) -> urllib3.HTTPResponse:
        sent.append((url, headers))
        challenge = {"WWW-Authenticate": "Basic realm=registry"} if len(sent) == 1 else {}
        return urllib3.HTTPResponse(body=b"", status=401 if challenge else 202, headers=challenge)

    monkeypatch.setattr(connection, "_request", request)
    reference = Reference.parse("registry.example.com/team/adapter:v1")
    registry = Connection(reference, {"DOCKER_CONFIG": str(tmp_path)}, "pull,push")
    registry.ask("POST", "blobs/uploads/", what="upload")
    registry.ask("PUT", location, what="upload", body=b"content")
    url, headers = sent[-1]
    assert url == asked
    assert headers.get("Authorization") == (f"Basic {login}" if has_login else None)


@pytest.mark.parametrize("location", ["http://registry.example.com:port/up", "https://[::1/up", "http://a:99999/up"])
def test_what_is_no_url_is_refused(location: str) -> None:
    registry = Connection(Reference.parse("registry.example.com/team/adapter:v1"), {})
    with pytest.raises(InvalidArtifact, match="no URL"):
        registry.ask("PUT", location, what="upload", body=b"content")
