"""Logins, as docker, podman and Kubernetes keep them, at real registries: one with passwords, one with tokens."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.distribution import PROGRAM, distribution
from tests.unit.registry.builders import CONFIG, WEIGHTS, write_adapter
from tests.wire.oci.token_server import PASSWORD, REFRESH, USER, TokenServer
from tests.wire.registry.server_thread import serving

from graft_registry.config import RegistryConfig
from graft_registry.digests import sha256_digest
from graft_registry.documents import AdapterSource
from graft_registry.errors import Forbidden
from graft_registry.oci.manifests import OCI_MANIFEST
from graft_registry.oci.references import Reference
from graft_registry.oci.repository import Repository
from graft_registry.sources.adapter_origins import fetch_adapter, resolve_adapter
from graft_registry.sources.oci_artifact import pull, resolve
from graft_registry.sources.source_access import SourceAccess
from graft_registry.sources.source_files import SourceError, SourceProblem

# bcrypt of the password below.
HTPASSWD = "ann:$2b$05$abcdefghijklmnopqrstuu1qdcFaS0PtqFUPzaCxLQ8/0lspH0ZEW\n"
BASIC_LOGIN = ("ann", "s3cret pass")
TOKEN_LOGIN = (USER, PASSWORD)


@pytest.fixture(scope="module")
def basic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that wants a password."""
    if PROGRAM is None:
        pytest.skip("GRAFT_DISTRIBUTION names no registry (make test-oci)")
    folder = tmp_path_factory.mktemp("basic")
    (folder / "htpasswd").write_text(HTPASSWD)
    with distribution(folder, auth={"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}) as host:
        yield host


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    server = TokenServer(tmp_path_factory.mktemp("tokens"))
    with serving(server):
        yield server


@pytest.fixture(scope="module")
def bearer(tokens: TokenServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that wants a token."""
    if PROGRAM is None:
        pytest.skip("GRAFT_DISTRIBUTION names no registry (make test-oci)")
    with distribution(tmp_path_factory.mktemp("bearer"), auth=tokens.auth) as host:
        yield host


def entry(login: tuple[str, str]) -> dict[str, str]:
    return {"auth": b64encode(":".join(login).encode()).decode()}


def push_adapter(reference: str, login: tuple[str, str], folder: Path) -> None:
    """Push an adapter as `oras push` does, with a login."""
    parsed = Reference.parse(reference)
    environ = {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {parsed.host: entry(login)}})}
    repository = Repository(parsed, environ, "pull,push")
    layers = []
    for name in (CONFIG, WEIGHTS):
        data = (write_adapter(folder) / name).read_bytes()
        repository.upload(sha256_digest(data), len(data), data)
        title = {"org.opencontainers.image.title": name}
        kind = "application/octet-stream"
        layers.append({"mediaType": kind, "digest": sha256_digest(data), "size": len(data), "annotations": title})
    repository.upload(sha256_digest(b"{}"), 2, b"{}")
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256_digest(b"{}"), "size": 2}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
    repository.put_manifest(parsed.wanted, json.dumps(document).encode(), OCI_MANIFEST)


def docker_folder(tmp_path: Path, auths: dict[str, Any]) -> dict[str, str]:
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths, "credsStore": "desktop"}))
    return {"DOCKER_CONFIG": str(tmp_path)}


def mounted_secret(tmp_path: Path, auths: dict[str, Any]) -> dict[str, str]:
    (tmp_path / ".dockerconfigjson").write_text(json.dumps({"auths": auths}))
    return {"DOCKER_CONFIG": str(tmp_path)}


def of_the_source(tmp_path: Path, auths: dict[str, Any]) -> dict[str, str]:
    return {"SOURCE_DOCKER_AUTH_CONFIG": json.dumps({"auths": auths}), "DOCKER_AUTH_CONFIG": '{"auths": {}}'}


def podman_file(tmp_path: Path, auths: dict[str, Any]) -> dict[str, str]:
    (tmp_path / "auth.json").write_text(json.dumps({"auths": auths}))
    return {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}


def at_home(tmp_path: Path, auths: dict[str, Any]) -> dict[str, str]:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text(json.dumps({"auths": auths}))
    return {"HOME": str(tmp_path)}


def pull_secret(tmp_path: Path, auths: dict[str, Any]) -> dict[str, str]:
    """As the Secret that an adapter's source names is mounted."""
    (tmp_path / ".dockerconfigjson").write_text(json.dumps({"auths": auths}))
    return {"SOURCE_DOCKER_CONFIG": str(tmp_path), "DOCKER_AUTH_CONFIG": '{"auths": {}}'}


def old_pull_secret(tmp_path: Path, auths: dict[str, Any]) -> dict[str, str]:
    """The same of type ``kubernetes.io/dockercfg``."""
    (tmp_path / ".dockercfg").write_text(json.dumps(auths))
    return {"SOURCE_DOCKER_CONFIG": str(tmp_path)}


def old_secret(tmp_path: Path, auths: dict[str, Any]) -> dict[str, str]:
    return {"DOCKER_AUTH_CONFIG": json.dumps(auths)}


KEEPERS: list[Callable[[Path, dict[str, Any]], dict[str, str]]] = [
    docker_folder,
    mounted_secret,
    of_the_source,
    podman_file,
    at_home,
    pull_secret,
    old_pull_secret,
    old_secret,
]


@pytest.mark.parametrize("keep", KEEPERS, ids=lambda keep: keep.__name__)
@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_a_login_is_found_where_others_keep_it(
    keep: Callable[..., dict[str, str]], kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    host = request.getfixturevalue(kind)
    login = BASIC_LOGIN if kind == "basic" else TOKEN_LOGIN
    reference = f"{host}/private/adapter:v1"
    push_adapter(reference, login, tmp_path / "source")
    environ = keep(tmp_path, {host: entry(login)})
    assert pull(reference, tmp_path / "out", environ) == resolve(reference, environ)
    assert (tmp_path / "out" / WEIGHTS).is_file()


@pytest.mark.parametrize(
    "auths",
    [
        {"{host}/private": {"username": "{user}", "password": "{password}"}, "{host}": {"auth": "d3Jvbmc6bG9naW4="}},
        {"https://{host}/v2/": {"username": "{user}", "password": "{password}"}},
        {"http://{host}": {"auth": "{auth}", "email": "ann@example.com"}},
    ],
    ids=["closest path", "URL", "plain URL"],
)
def test_the_closest_entry_counts(auths: dict[str, Any], basic: str, tmp_path: Path) -> None:
    reference = f"{basic}/private/adapter:v1"
    push_adapter(reference, BASIC_LOGIN, tmp_path / "source")
    user, password = BASIC_LOGIN
    text = json.dumps(auths)
    for name, value in {"host": basic, "user": user, "password": password, **entry(BASIC_LOGIN)}.items():
        text = text.replace(f"{{{name}}}", value)
    assert resolve(reference, {"DOCKER_AUTH_CONFIG": json.dumps({"auths": json.loads(text)})})


HUB = "https://index.docker.io/v1/"
SEVERAL: dict[str, dict[str, str]] = {
    "among the logins of others": {HUB: "{wrong}", "ghcr.io": "{wrong}", "{host}": "{right}"},
    "as a URL, beside Docker Hub's": {HUB: "{wrong}", "https://{host}/v1/": "{right}"},
    "by name and password": {"ghcr.io": "{wrong}", "{host}": "{named}"},
    "twice, the closer one right": {"{host}": "{wrong}", "{host}/private": "{right}"},
    "with what Docker Desktop leaves behind": {"{host}": "{right}", "quay.io": "{empty}"},
}


@pytest.mark.parametrize("auths", SEVERAL.values(), ids=SEVERAL)
def test_a_secret_may_hold_the_logins_of_several_registries(
    auths: dict[str, str], basic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = f"{basic}/private/adapter:v1"
    push_adapter(reference, BASIC_LOGIN, tmp_path / "source")
    user, password = BASIC_LOGIN
    entries = {
        "{right}": entry(BASIC_LOGIN),
        "{wrong}": entry(("bob", "wrong")),
        "{empty}": {},
        "{named}": {"username": user, "password": password, "email": "ann@example.com"},
    }
    named = {key.replace("{host}", basic): entries[name] for key, name in auths.items()}
    (tmp_path / ".dockerconfigjson").write_text(json.dumps({"auths": named}))
    monkeypatch.setenv("SOURCE_DOCKER_CONFIG", str(tmp_path))
    source = AdapterSource.model_validate({"oci": {"image": reference}})
    found = resolve_adapter(source, SourceAccess(), RegistryConfig(bucket="none"), workspace=tmp_path / "look")
    assert found == fetch_adapter(source, SourceAccess(), RegistryConfig(bucket="none"), tmp_path / "fetched")


WITHOUT_LOGIN: dict[str, tuple[dict[str, str], str]] = {
    "only of another registry": (
        {".dockerconfigjson": '{"auths": {"ghcr.io": {"auth": "YTpi"}}}'},
        "no login for this",
    ),
    "only of Docker Hub": ({".dockerconfigjson": '{"auths": {"HUB": {"auth": "YTpi"}}}'}, "no login for this"),
    "a helper for the registry": (
        {".dockerconfigjson": '{"credHelpers": {"HOST": "ecr-login"}}'},
        "leaves it to docker-credential-ecr-login, and no such program is run; give one that may pull: kubectl create",
    ),
    "a helper for all": (
        {"config.json": '{"auths": {"HOST": {}}, "credsStore": "desktop"}'},
        "leaves it to docker-credential-desktop, and no such program is run",
    ),
    "a Secret of another kind": ({"password": "hunter2"}, "has none of the keys config.json, .dockerconfigjson"),
    "no JSON": ({".dockerconfigjson": "hunter2"}, "are not JSON such as docker login writes"),
    "a login that is wrong": (
        {".dockerconfigjson": '{"auths": {"HOST": {"username": "ann", "password": "hunter2"}}}'},
        "the login may not pull here",
    ),
}


@pytest.mark.parametrize(("files", "says"), WITHOUT_LOGIN.values(), ids=WITHOUT_LOGIN)
def test_a_secret_without_the_login_says_so_and_names_the_field(
    files: dict[str, str], says: str, basic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = f"{basic}/private/adapter:v1"
    push_adapter(reference, BASIC_LOGIN, tmp_path / "source")
    folder = tmp_path / "pull-secret"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text.replace("HOST", basic).replace("HUB", HUB))
    monkeypatch.setenv("SOURCE_DOCKER_CONFIG", str(folder))
    source = AdapterSource.model_validate({"oci": {"image": reference}})
    with pytest.raises(SourceError) as raised:
        resolve_adapter(source, SourceAccess(), RegistryConfig(bucket="none"), workspace=tmp_path / "look")
    assert raised.value.reason is SourceProblem.ADAPTER_FORBIDDEN
    assert raised.value.field == "spec.source.oci.pullSecretRef"
    assert says in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_public_artifact_needs_no_login_though_a_helper_is_named(bearer: str, tmp_path: Path) -> None:
    reference = f"{bearer}/public/adapter:v2"
    push_adapter(reference, TOKEN_LOGIN, tmp_path / "source")
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {bearer: "gcloud"}}))
    assert resolve(reference, {"SOURCE_DOCKER_CONFIG": str(tmp_path)})


def test_a_public_artifact_needs_no_login(bearer: str, tokens: TokenServer, tmp_path: Path) -> None:
    reference = f"{bearer}/public/adapter:v1"
    push_adapter(reference, TOKEN_LOGIN, tmp_path / "source")
    tokens.asked.clear()
    pull(reference, tmp_path / "out", {})
    assert tokens.asked == ["repository:public/adapter:pull"]


def test_a_refresh_token_is_a_login(bearer: str, tmp_path: Path) -> None:
    reference = f"{bearer}/private/adapter:v1"
    push_adapter(reference, TOKEN_LOGIN, tmp_path / "source")
    auths = {bearer: {"auth": b64encode(b"00000000-0000-0000-0000-000000000000:").decode(), "identitytoken": REFRESH}}
    assert resolve(reference, {"DOCKER_AUTH_CONFIG": json.dumps({"auths": auths})})


def test_a_token_that_expires_on_the_way_is_asked_for_again(
    bearer: str, tokens: TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The registry gives a minute of grace, so the first token is one that has been over for longer.
    monkeypatch.setattr(tokens, "lifetime", 300)
    reference = Reference.parse(f"{bearer}/private/adapter:v1")
    push_adapter(str(reference), TOKEN_LOGIN, tmp_path / "source")
    environ = {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {bearer: entry(TOKEN_LOGIN)}})}
    repository = Repository(reference, environ)
    assert repository.digest("v1")
    monkeypatch.setattr(repository._connection, "_authorization", "Bearer " + expired(tokens))
    assert repository.manifest("v1").digest == repository.digest("v1")


def expired(tokens: TokenServer) -> str:
    before, tokens.lifetime = tokens.lifetime, -3600
    try:
        return tokens.token(USER, "repository:private/adapter:pull")
    finally:
        tokens.lifetime = before


@pytest.mark.parametrize("kind", ["basic", "bearer"])
@pytest.mark.parametrize(
    ("login", "advice"),
    [
        (
            None,
            "no login for this registry was found; give one that may pull: config.json in the folder of DOCKER_CONFIG",
        ),
        (("ann", "wrong"), "the login may not pull here, has expired"),
    ],
    ids=["none", "wrong"],
)
def test_who_may_not_read_is_told_what_to_do(
    kind: str, login: tuple[str, str] | None, advice: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    host = request.getfixturevalue(kind)
    environ = {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {host: entry(login)} if login else {}})}
    with pytest.raises(Forbidden, match=advice) as caught:
        pull(f"{host}/private/adapter:v1", tmp_path / "out", environ)
    assert "wrong" not in str(caught.value)


def test_credentials_that_cannot_be_read_are_refused_without_being_told(tmp_path: Path) -> None:
    for text in ("hunter2", '["hunter2"]', '{"auths": {"localhost:1": {"auth": "hunter2"}}}', '{"auths": ["hunter2"]}'):
        with pytest.raises(Forbidden, match="DOCKER_AUTH_CONFIG") as caught:
            resolve("localhost:1/team/adapter:v1", {"DOCKER_AUTH_CONFIG": text})
        assert "hunter2" not in str(caught.value)
