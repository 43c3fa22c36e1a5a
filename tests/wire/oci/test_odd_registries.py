"""Registries that lie, fail, or are none: nothing comes out of them but an error that says so."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.registry.builders import CONFIG, WEIGHTS
from tests.wire.oci.odd_registry import Answer, OddRegistry
from tests.wire.oci.pushing import OCI_INDEX, Files, digest, tar, zipped
from tests.wire.registry.server_thread import serving

from graft_registry.errors import Corrupt, Forbidden, InvalidArtifact, NotFound, RegistryError, Unavailable
from graft_registry.oci import archives, connection, layers
from graft_registry.sources import adapter_sizes, oci_artifact
from graft_registry.sources.oci_artifact import pull, resolve


def reference(odd: OddRegistry) -> str:
    return f"oci://{odd.host}/team/adapter:v1"


def brought(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_breaks_off_is_brought_again(odd: OddRegistry, adapter: Files, tmp_path: Path) -> None:
    odd.artifact(adapter)
    weights = adapter[WEIGHTS]
    odd.blob(weights, Answer(weights[:50], length=len(weights)), Answer(b"", 503), Answer(weights))
    odd.manifest(Answer(b"", 429), *odd.answers["/v2/team/adapter/manifests/v1"])
    pull(reference(odd), tmp_path / "out")
    assert brought(tmp_path / "out") == adapter


def test_a_registry_that_is_away_is_worth_a_retry(odd: OddRegistry, adapter: Files, tmp_path: Path) -> None:
    document = odd.artifact(adapter)
    weights = adapter[WEIGHTS]
    odd.blob(weights, Answer(weights[:50], length=len(weights)))
    with pytest.raises(Unavailable):
        pull(reference(odd), tmp_path / "out")
    odd.manifest(Answer(b"<html>bad gateway</html>", 502))
    with pytest.raises(Unavailable):
        pull(reference(odd), tmp_path / "out")
    with pytest.raises(Unavailable):
        resolve("127.0.0.1:1/team/adapter:v1")
    assert brought(tmp_path / "out") == {}
    assert document


def test_content_that_is_not_what_it_is_called_is_refused(odd: OddRegistry, adapter: Files, tmp_path: Path) -> None:
    odd.artifact(adapter)
    weights = adapter[WEIGHTS]
    for other in (weights[:-1] + b"!", weights + b"!"):
        odd.blob(weights, Answer(other))
        with pytest.raises(Corrupt, match="blob"):
            pull(reference(odd), tmp_path / "out")
    odd.blob(weights)
    (right,) = odd.answers["/v2/team/adapter/manifests/v1"]
    odd.manifest(Answer(right.body.replace(b"octet", b"tetco"), headers=right.headers))
    with pytest.raises(Corrupt, match="corrupt"):
        pull(reference(odd), tmp_path / "out")
    odd.answers[f"/v2/team/adapter/manifests/{digest(right.body)}"] = [Answer(right.body + b" ")]
    with pytest.raises(Corrupt, match="corrupt"):
        pull(f"{odd.host}/team/adapter@{digest(right.body)}", tmp_path / "out")
    assert brought(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(b"<!doctype html><title>Log in</title>"), "not JSON, so it is not that of an OCI registry"),
        (Answer(b"[]"), "not a JSON object"),
        (Answer(b"[" * 200_000), "not JSON"),
        (Answer(b'{"schemaVersion": 2}'), "layers: Field required"),
        (Answer(b'{"schemaVersion": 1, "fsLayers": []}'), "Docker's first form"),
        (Answer(b'{"layers": [{"digest": "md5:0", "size": 1}]}'), "layers.0.digest"),
        (Answer(b'{"layers": [{"digest": "sha256:' + b"0" * 64 + b'", "size": -1}]}'), "layers.0.size"),
        (Answer(b'{"layers": "x" }'), "layers"),
        (Answer(b'{"manifests": []}'), "without entries"),
        (Answer(b" " * (5 << 20)), "more than 4194304 bytes"),
        (Answer(b"x", 400), "does not take this"),
    ],
    ids=lambda item: item if isinstance(item, str) else "",
)
def test_what_is_no_manifest_is_refused(answer: Answer, message: str, odd: OddRegistry, tmp_path: Path) -> None:
    odd.manifest(answer)
    with pytest.raises(InvalidArtifact, match=message):
        pull(reference(odd), tmp_path / "out")


def test_an_index_is_followed_three_steps_and_no_more(odd: OddRegistry, tmp_path: Path) -> None:
    loop = {"mediaType": OCI_INDEX, "manifests": [{"mediaType": OCI_INDEX, "digest": digest(b"x"), "size": 1}]}
    odd.serve(loop)
    with pytest.raises(NotFound):
        pull(reference(odd), tmp_path / "out")
    inner = json.dumps(loop).encode()
    for _ in range(4):
        odd.answers[f"/v2/team/adapter/manifests/{digest(inner)}"] = [Answer(inner)]
        outer = {"manifests": [{"digest": digest(inner), "size": len(inner)}]}
        inner = json.dumps(outer).encode()
    odd.manifest(Answer(inner))
    with pytest.raises(InvalidArtifact, match="index of indexes"):
        pull(reference(odd), tmp_path / "out")


def test_several_artifacts_without_platform_are_not_guessed_at(odd: OddRegistry, tmp_path: Path) -> None:
    odd.serve({"manifests": [{"digest": digest(name), "size": 1} for name in (b"a", b"b")]})
    with pytest.raises(InvalidArtifact, match=f"name one by its digest: {digest(b'a')}"):
        pull(reference(odd), tmp_path / "out")


def test_a_login_is_not_shown_to_whom_a_registry_sends_us(odd: OddRegistry, adapter: Files, tmp_path: Path) -> None:
    storage = OddRegistry()
    odd.artifact(adapter)
    for path in [path for path in odd.answers if "/blobs/" in path]:
        storage.answers[path] = odd.answers[path]
        url = f"http://localhost:{storage.server_port}{path}"
        odd.answers[path] = [Answer(b"", 307, {"Location": url})]
    challenge = Answer(b"", 401, {"WWW-Authenticate": 'Basic realm="x", charset="UTF-8"'})
    odd.manifest(challenge, *odd.answers["/v2/team/adapter/manifests/v1"])
    auths = {odd.host: {"auth": b64encode(b"ann:secret").decode()}}
    with serving(storage):
        pull(reference(odd), tmp_path / "out", {"DOCKER_AUTH_CONFIG": json.dumps({"auths": auths})})
    assert brought(tmp_path / "out") == adapter
    assert storage.seen
    assert all(login is None for _, _, login in storage.seen)
    assert all(login for method, path, login in odd.seen if "/blobs/" in path)


def test_a_login_is_not_sent_without_tls_to_a_service_for_tokens(
    odd: OddRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    challenge = {"WWW-Authenticate": f'Bearer realm="ftp://{odd.host}/token",service="x"'}
    odd.manifest(Answer(b"", 401, challenge))
    with pytest.raises(Forbidden, match="not HTTPS; no login is sent there"):
        resolve(reference(odd))


@pytest.mark.parametrize("token", [b"{}", b'{"token": ""}', b'{"token": "a\\r\\nX-Evil: 1"}', b'{"token": 5}'])
def test_a_service_that_gives_no_token(token: bytes, odd: OddRegistry) -> None:
    odd.answers["/token?service=x&scope=repository%3Ateam%2Fadapter%3Apull"] = [Answer(token)]
    odd.manifest(Answer(b"", 401, {"WWW-Authenticate": f'Bearer realm="http://{odd.host}/token",service="x"'}))
    with pytest.raises(Forbidden, match="gave no token"):
        resolve(reference(odd))


def test_other_hosts_are_asked_by_tls_unless_they_are_named(
    odd: OddRegistry, adapter: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_RETRIES", connection._RETRIES.new(total=0))
    odd.artifact(adapter)
    # Another name of this machine, which does not look like one.
    name = f"0.0.0.0:{odd.server_port}"
    with pytest.raises(Unavailable, match="GRAFT_OCI_PLAIN_HTTP to its host"):
        resolve(f"{name}/team/adapter:v1", {})
    assert resolve(f"{name}/team/adapter:v1", {"GRAFT_OCI_PLAIN_HTTP": f"x, {name}"})


def test_the_proxy_of_the_environment_is_asked(
    odd: OddRegistry, adapter: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd.artifact(adapter)
    odd.answers |= {f"http://registry.invalid{path}": answers for path, answers in odd.answers.items()}
    monkeypatch.setenv("http_proxy", f"http://{odd.host}")
    monkeypatch.setenv("no_proxy", "localhost,example.com")
    pull("registry.invalid/team/adapter:v1", tmp_path / "out", {"GRAFT_OCI_PLAIN_HTTP": "registry.invalid"})
    assert brought(tmp_path / "out") == adapter
    monkeypatch.setenv("no_proxy", "registry.invalid")
    monkeypatch.setattr(connection, "_RETRIES", connection._RETRIES.new(total=0))
    with pytest.raises(Unavailable):
        resolve("registry.invalid/team/adapter:v1", {"GRAFT_OCI_PLAIN_HTTP": "registry.invalid"})


def long_header() -> bytes:
    """An archive whose first header says that a name of 4 GB follows."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 4 << 30
    return header.tobuf(tarfile.GNU_FORMAT) + bytes(4096)


def truncated() -> bytes:
    return zipped(tar({CONFIG: b"{}" * 5000, WEIGHTS: bytes(range(256)) * 400}))[:-40]


def many_files() -> bytes:
    return zipped(tar({f"f{number}": b"" for number in range(30)}))


def long_name() -> bytes:
    return tar({"a" * 5000: b""})


def sparse() -> bytes:
    """A file of 8 TiB that takes no room in its archive."""
    header = tarfile.TarInfo(WEIGHTS)
    header.type, header.size = tarfile.GNUTYPE_SPARSE, 0
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[483:495] = b"%011o\0" % (1 << 32)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + tar({CONFIG: b"{}"})


def bomb() -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as stream:
        header = tarfile.TarInfo(WEIGHTS)
        header.size = 3 << 20
        stream.write(header.tobuf())
        stream.write(bytes(3 << 20))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (long_header, "a header of 4294967296 bytes"),
        (truncated, "damaged"),
        (many_files, "more than 20 files"),
        (long_name, "a path of more than"),
        (sparse, "without adapter_model.safetensors"),
        (bomb, "all layers unpack to more than"),
    ],
    ids=lambda item: getattr(item, "__name__", ""),
)
def test_archives_are_read_within_bounds(
    make: Callable[[], bytes], message: str, odd: OddRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 20)
    monkeypatch.setattr(archives, "UNPACKED_BYTES", 2 << 20)
    odd.artifact({"layer.tar": make()})
    with pytest.raises(InvalidArtifact, match=message):
        pull(reference(odd), tmp_path / "out")
    assert brought(tmp_path / "out") == {}


def in_folder(files: Files) -> Files:
    return {"adapter.tgz": zipped(tar(files, prefix="adapter/"))}


@pytest.mark.parametrize("form", [in_folder, dict], ids=["archive", "files"])
@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        (CONFIG, 5 << 20, "adapter_config.json has 5242880 bytes, at most 1048576 are read"),
        (CONFIG, (1 << 20) + 1, "adapter_config.json has 1048577 bytes, at most 1048576 are read"),
        (WEIGHTS, 3 << 20, "adapter_model.safetensors has 3145728 bytes.* at most 2097152 are read"),
    ],
)
def test_files_beyond_their_bounds_are_not_written(
    form: Callable[[Files], Files],
    name: str,
    size: int,
    message: str,
    odd: OddRegistry,
    adapter: Files,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adapter_sizes, "LARGEST_WEIGHTS_BYTES", 2 << 20)
    monkeypatch.setattr(oci_artifact, "copy_members", lambda *_: pytest.fail("something was written"))
    odd.artifact(form({**adapter, name: b" " * size}))
    with pytest.raises(InvalidArtifact, match=message):
        pull(reference(odd), tmp_path / "out")
    assert brought(tmp_path / "out") == {}
    was_asked_for = any(path.endswith(digest(b" " * size)) for _, path, _ in odd.seen)
    assert not (was_asked_for and size == 5 << 20), "what can't be a configuration is not even downloaded"


def test_what_lies_beside_the_adapter_is_not_written(
    odd: OddRegistry, adapter: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def copy(layer: Path, wanted: dict[int, Path]) -> None:
        archives.copy_members(layer, wanted)
        written.extend(path.stat().st_size for path in wanted.values())

    monkeypatch.setattr(oci_artifact, "copy_members", copy)
    odd.artifact(in_folder({**adapter, **{f"junk{number}.json": bytes(5 << 20) for number in range(4)}}))
    pull(reference(odd), tmp_path / "out")
    assert brought(tmp_path / "out") == adapter
    assert sorted(written) == sorted(map(len, adapter.values()))


def test_layers_are_bounded_together(
    odd: OddRegistry, adapter: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    junk = {f"{number}.tgz": zipped(tar({f"{number}.json": bytes(3 << 19)})) for number in range(3)}
    odd.artifact({**adapter, **junk})
    with monkeypatch.context() as patch:
        patch.setattr(archives, "UNPACKED_BYTES", 4 << 20)
        with pytest.raises(InvalidArtifact, match="all layers unpack to more than"):
            pull(reference(odd), tmp_path / "out")
    odd.artifact(in_folder({**adapter, WEIGHTS: bytes(1 << 20)}))
    monkeypatch.setattr(oci_artifact, "LARGEST_ARTIFACT_BYTES", 1 << 20)
    with pytest.raises(InvalidArtifact, match=r"the layers, and the adapter in them, take .* push the adapter's files"):
        pull(reference(odd), tmp_path / "out")


def test_more_than_an_adapter_can_have_is_not_downloaded(
    odd: OddRegistry, adapter: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "LARGEST_ARTIFACT_BYTES", 100)
    odd.artifact(adapter)
    with pytest.raises(InvalidArtifact, match="push the adapter's files alone"):
        pull(reference(odd), tmp_path / "out")
    assert not [path for _, path, _ in odd.seen if "/blobs/" in path]


def test_the_artifact_manifest_of_before_oci_1_1_is_read(odd: OddRegistry, adapter: Files, tmp_path: Path) -> None:
    document = odd.artifact(adapter)
    kind = "application/vnd.oci.artifact.manifest.v1+json"
    odd.serve({"mediaType": kind, "artifactType": "application/x", "blobs": document["layers"]})
    pull(reference(odd), tmp_path / "out")
    assert brought(tmp_path / "out") == adapter


def test_a_registry_that_names_no_digest_is_asked_for_the_manifest(odd: OddRegistry, adapter: Files) -> None:
    odd.artifact(adapter)
    (right,) = odd.answers["/v2/team/adapter/manifests/v1"]
    odd.manifest(Answer(right.body))
    assert resolve(reference(odd)) == digest(right.body)


def test_every_error_is_one_of_the_registry_s_own(odd: OddRegistry, tmp_path: Path) -> None:
    for status in (301, 302, 307, 400, 401, 403, 404, 405, 406, 409, 410, 418, 429, 500, 503):
        odd.manifest(Answer(b"\xff\xfe", status))
        with pytest.raises(RegistryError):
            pull(reference(odd), tmp_path / "out")
