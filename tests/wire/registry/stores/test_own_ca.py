"""A store behind a company's own CA, and behind its proxy: what works, and what is said where a setting is missing."""

from __future__ import annotations

import json
import ssl
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import close_session
from tests.ports import free_port
from tests.versitygw import PROGRAM, versitygw
from tests.wire.registry.conftest import ACCESS_KEY, SECRET_KEY
from tests.wire.registry.hub import HubServer, Repository
from tests.wire.registry.server_thread import serving
from tests.wire.registry.stores.certificates import Certificates
from tests.wire.registry.stores.scenario import live
from tests.wire.registry.stores.store_proxy import DOMAIN
from tests.wire.registry.stores.tunnel import TunnelProxy

from graft_registry.__main__ import main
from graft_registry.config import RegistryConfig
from graft_registry.documents import HuggingFaceSource
from graft_registry.errors import Unavailable
from graft_registry.s3.store import ObjectStore, Patience
from graft_registry.sources.hub import download_snapshot
from graft_registry.sources.source_files import SourceError

ONCE = Patience(connect_seconds=30, read_seconds=60, attempts=1)


@pytest.fixture(scope="module")
def own_store(tmp_path_factory: pytest.TempPathFactory, authority: Certificates) -> Iterator[str]:
    """A real store that speaks TLS with a certificate of a CA that nobody knows."""
    if PROGRAM is None:
        pytest.skip("GRAFT_VERSITYGW names no server")
    folder = tmp_path_factory.mktemp("own-ca")
    tls = authority.certificate, authority.key
    with versitygw(folder, access_key=ACCESS_KEY, secret_key=SECRET_KEY, tls=tls) as url:
        yield url


@pytest.fixture
def config(own_store: str, authority: Certificates) -> RegistryConfig:
    """A fresh bucket of it."""
    config = RegistryConfig(endpoint=own_store, bucket=f"graft-{uuid.uuid4().hex[:12]}", prefix="registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
        ObjectStore(config)._client.create_bucket(Bucket=config.bucket)
    return config


@pytest.mark.usefixtures("_small_parts")
def test_a_store_of_ones_own_ca_keeps_a_registry_with_the_bundle(
    config: RegistryConfig, authority: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    store = ObjectStore(config)
    assert store.examine(thoroughly=True).is_fit
    live(store, tmp_path)


def test_without_the_bundle_it_is_said_what_to_set(
    config: RegistryConfig, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(Unavailable, match="AWS_CA_BUNDLE"):
        ObjectStore(config, patience=ONCE).get("key")
    environ = {"GRAFT_REGISTRY": config.model_dump_json(), "GRAFT_TERMINATION_LOG": str(tmp_path / "log")}
    assert main(["doctor"], environ) == 69
    assert "fix: the store's certificate is signed by a CA that is not known here" in capsys.readouterr().out
    assert json.loads((tmp_path / "log").read_text())["reason"] == "StoreUnfit"


def not_there(folder: Path) -> Path:
    return folder / "not-there.pem"


def no_certificate(folder: Path) -> Path:
    file = folder / "no.pem"
    file.write_text("this is no certificate\n")
    return file


@pytest.mark.parametrize("bundle", [not_there, no_certificate])
def test_a_bundle_that_is_none_is_named(
    config: RegistryConfig, bundle: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(bundle)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle(tmp_path)))
    with pytest.raises(Unavailable, match="AWS_CA_BUNDLE names a file that is not there, or holds no certificate"):
        ObjectStore(config, patience=ONCE).get("key")


def test_tls_with_a_store_that_speaks_none_is_told_apart(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    if PROGRAM is None:
        pytest.skip("GRAFT_VERSITYGW names no server")
    with versitygw(tmp_path_factory.mktemp("plain"), access_key=ACCESS_KEY, secret_key=SECRET_KEY) as url:
        config = RegistryConfig(endpoint=url.replace("http://", "https://"), bucket="graft")
        with pytest.raises(Unavailable, match="speaks no TLS at this port"):
            ObjectStore(config, patience=ONCE).get("key")


def test_a_name_that_nobody_knows_is_told_apart() -> None:
    config = RegistryConfig(endpoint="https://store.invalid", bucket="graft")
    with pytest.raises(Unavailable, match="name can't be resolved"):
        ObjectStore(config, patience=ONCE).get("key")


@pytest.mark.usefixtures("_names", "_small_parts")
def test_a_store_is_reached_through_a_proxy(
    config: RegistryConfig, authority: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    named = config.model_copy(update={"endpoint": str(config.endpoint).replace("127.0.0.1", DOMAIN)})
    proxy = TunnelProxy()
    with serving(proxy):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        live(ObjectStore(named), tmp_path)
        assert proxy.asked
        proxy.asked.clear()
        monkeypatch.setenv("NO_PROXY", f".{DOMAIN},{DOMAIN}")
        assert ObjectStore(named).examine(thoroughly=True).is_fit
        assert proxy.asked == [], "what NO_PROXY names is reached without it"


def test_a_proxy_that_does_not_answer_is_named(config: RegistryConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable, match="the proxy of HTTPS_PROXY or HTTP_PROXY does not answer"):
        ObjectStore(config, patience=ONCE).get("key")


@pytest.fixture
def own_hub(authority: Certificates) -> Iterator[HubServer]:
    """A mirror of the hub behind the same CA."""
    hub = HubServer()
    hub.socket = authority.server().wrap_socket(hub.socket, server_side=True)
    hub.repositories["org/model"] = Repository({"config.json": b"{}", "model.safetensors": bytes(16)})
    close_session()  # of earlier tests, which has read the environment
    with serving(hub):
        yield hub
    close_session()


def test_a_hub_of_ones_own_ca_says_what_to_set(own_hub: HubServer, tmp_path: Path) -> None:
    source, url = HuggingFaceSource(repo="org/model"), own_hub.url.replace("http://", "https://")
    with pytest.raises(SourceError, match="SSL_CERT_FILE"):
        download_snapshot(source, tmp_path, endpoint=url, token=None)


def test_a_hub_of_ones_own_ca_is_trusted_with_the_bundle(
    own_hub: HubServer, authority: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    assert ssl.get_default_verify_paths().cafile == str(authority.bundle)
    source, url = HuggingFaceSource(repo="org/model"), own_hub.url.replace("http://", "https://")
    download_snapshot(source, tmp_path, endpoint=url, token=None)
    assert (tmp_path / "model.safetensors").read_bytes() == bytes(16)
