"""What odd registries hold and answer, as the source of an import: brought, or refused with the field and a reason."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from tests.unit.registry.builders import CONFIG, WEIGHTS
from tests.wire.oci.odd_registry import Answer, OddRegistry
from tests.wire.oci.pushing import OCI_INDEX, TITLE, Files, digest, tar, zipped
from tests.wire.registry.server_thread import serving

from graft_registry.config import RegistryConfig
from graft_registry.documents import AdapterSource
from graft_registry.sources.adapter_origins import AdapterContent, resolve_adapter
from graft_registry.sources.oci_artifact import pull
from graft_registry.sources.source_access import SourceAccess
from graft_registry.sources.source_files import SourceError, SourceProblem

IMAGE, LOGIN = "spec.source.oci.image", "spec.source.oci.pullSecretRef"
SHARDS = [f"adapter_model-0000{number}-of-00002.safetensors" for number in (1, 2)]
SIGNED = "?X-Amz-Signature=c0ffee"


def resolved(odd: OddRegistry, workspace: Path) -> AdapterContent:
    source = AdapterSource.model_validate({"oci": {"image": f"{odd.host}/team/adapter:v1"}})
    return resolve_adapter(source, SourceAccess(), RegistryConfig(bucket="none"), workspace=workspace)


def problem(odd: OddRegistry, workspace: Path) -> tuple[SourceProblem, str, str]:
    with pytest.raises(SourceError) as raised:
        resolved(odd, workspace)
    return raised.value.reason, raised.value.field, str(raised.value)


def weights_of(odd: OddRegistry, adapter: Files) -> str:
    return f"/v2/team/adapter/blobs/{digest(adapter[WEIGHTS])}"


INVALID = (SourceProblem.INVALID, IMAGE)
REFUSALS: list[tuple[int, tuple[SourceProblem, str]]] = [
    *((status, INVALID) for status in (300, 304, 400, 402, 405, 406, 409, 416, 418, 451)),
    (401, (SourceProblem.ADAPTER_FORBIDDEN, LOGIN)),
    (403, (SourceProblem.ADAPTER_FORBIDDEN, LOGIN)),
    (404, (SourceProblem.NOT_FOUND, IMAGE)),
    (410, (SourceProblem.NOT_FOUND, IMAGE)),
    *((status, (SourceProblem.ADAPTER_UNAVAILABLE, IMAGE)) for status in (408, 425, 429, 500, 503)),
]


@pytest.mark.parametrize(("status", "said"), REFUSALS, ids=[str(status) for status, _ in REFUSALS])
@pytest.mark.parametrize("of", ["the manifest", "a blob"])
def test_every_refusal_is_told_of_the_source(
    status: int, said: tuple[SourceProblem, str], of: str, odd: OddRegistry, adapter: Files, tmp_path: Path
) -> None:
    odd.artifact(adapter)
    refusal = Answer(b'{"errors": [{"code": "DENIED", "message": "pull quota used up"}]}', status)
    if of == "a blob":
        odd.blob(adapter[WEIGHTS], refusal)
    else:
        odd.manifest(refusal)
    reason, field, message = problem(odd, tmp_path)
    assert (reason, field) == said
    assert (f"HTTP {status}" in message) or ("pull quota used up" in message) or status == 304


@pytest.mark.parametrize(
    "address", ["http://[::1/token", "https://[bad/x", "http://a:99999/x", "http://a:port/x", "https://a b:x/"]
)
@pytest.mark.parametrize("of", ["a token", "a blob"])
def test_addresses_that_are_none_are_told(
    address: str, of: str, odd: OddRegistry, adapter: Files, tmp_path: Path
) -> None:
    odd.artifact(adapter)
    if of == "a token":
        odd.manifest(Answer(b"", 401, {"WWW-Authenticate": f'Bearer realm="{address}",service="s"'}))
    else:
        odd.blob(adapter[WEIGHTS], Answer(b"", 307, {"Location": address + SIGNED}))
    reason, field, message = problem(odd, tmp_path)
    assert (reason, field) == INVALID
    assert "no URL" in message
    assert "c0ffee" not in message


def test_an_address_of_another_kind_is_told(odd: OddRegistry, adapter: Files, tmp_path: Path) -> None:
    odd.artifact(adapter)
    odd.blob(adapter[WEIGHTS], Answer(b"", 307, {"Location": "file:///etc/passwd"}))
    assert problem(odd, tmp_path)[:2] == INVALID


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("same_host", [True, False], ids=["a path of its own", "another host"])
def test_a_store_of_blobs_that_refuses_is_not_taken_for_the_registry(
    status: int, same_host: bool, odd: OddRegistry, adapter: Files, tmp_path: Path
) -> None:
    odd.artifact(adapter)
    storage = OddRegistry()
    # Whoever is sent on must not be asked for a login there.
    asking = {"WWW-Authenticate": f'Bearer realm="http://127.0.0.1:{storage.server_port}/token"'}
    with serving(storage):
        place = odd if same_host else storage
        place.answers[f"/cdn{SIGNED}"] = [Answer(b"<Error><Code>AccessDenied</Code></Error>", status, asking)]
        odd.blob(adapter[WEIGHTS], Answer(b"", 307, {"Location": f"http://{place.host}/cdn{SIGNED}"}))
        reason, field, message = problem(odd, tmp_path)
    assert (reason, field) == (SourceProblem.ADAPTER_UNAVAILABLE, IMAGE)
    assert "127.0.0.1, to which the registry sends for it, refuses" in message
    assert "no login" not in message
    assert "c0ffee" not in message
    assert all(path != "/token" for _, path, _ in storage.seen)


def test_a_registry_that_sends_on_to_itself_and_refuses_may_lack_a_login(
    odd: OddRegistry, adapter: Files, tmp_path: Path
) -> None:
    odd.artifact(adapter)
    odd.answers["/v2/team/adapter/blobs/elsewhere"] = [Answer(b"", 403)]
    odd.blob(adapter[WEIGHTS], Answer(b"", 307, {"Location": "/v2/team/adapter/blobs/elsewhere"}))
    assert problem(odd, tmp_path)[:2] == (SourceProblem.ADAPTER_FORBIDDEN, LOGIN)


def titled(files: Files) -> Files:
    return files


def in_a_folder(files: Files) -> Files:
    return {f"out/{name}": data for name, data in files.items()}


def archived(files: Files) -> Files:
    return {"adapter.tgz": zipped(tar(files, prefix="adapter/"))}


def in_archives_of_their_own(files: Files) -> Files:
    return {f"{number}.tar": tar({name: data}) for number, (name, data) in enumerate(files.items())}


def beside_checkpoints(files: Files) -> Files:
    return {**files, f"checkpoint-1/{CONFIG}": b"{}", f"checkpoint-1/{WEIGHTS}": b"older"}


def with_an_index(files: Files) -> Files:
    return {**files, f"{WEIGHTS}.index.json": b"{}"}


SHARDED = [titled, in_a_folder, archived, in_archives_of_their_own, beside_checkpoints, with_an_index]


@pytest.mark.parametrize("form", SHARDED, ids=lambda form: form.__name__)
def test_weights_in_several_files_are_brought(
    form: Callable[[Files], Files], odd: OddRegistry, adapter: Files, tmp_path: Path
) -> None:
    files = {CONFIG: adapter[CONFIG], SHARDS[0]: adapter[WEIGHTS], SHARDS[1]: adapter[WEIGHTS] + b" "}
    odd.artifact(form(files))
    pull(f"{odd.host}/team/adapter:v1", tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files
    assert resolved(odd, tmp_path).files == (CONFIG, *SHARDS)


def test_parts_beside_an_adapter_in_one_file_are_left_alone(odd: OddRegistry, adapter: Files, tmp_path: Path) -> None:
    parts = {f"b/{CONFIG}": adapter[CONFIG], f"b/{SHARDS[0]}": adapter[WEIGHTS]}
    odd.artifact(in_a_folder(adapter) | parts)
    assert resolved(odd, tmp_path).files == (CONFIG, WEIGHTS)


def test_of_weights_in_several_files_all_have_to_be_there(odd: OddRegistry, adapter: Files, tmp_path: Path) -> None:
    odd.artifact({CONFIG: adapter[CONFIG], SHARDS[1]: adapter[WEIGHTS]})
    reason, field, message = problem(odd, tmp_path)
    assert (reason, field) == INVALID
    assert "1 of the 2 parts" in message


def skippable(content: bytes, magic: int = 0x184D2A50) -> bytes:
    return struct.pack("<II", magic, len(content)) + content


def pzstd(data: bytes) -> bytes:
    """Frames of a part each, every one behind a frame that is passed over and tells its length."""
    frames = [zstandard.compress(part) for part in (data[:700], data[700:])]
    return b"".join(skippable(struct.pack("<I", len(frame))) + frame for frame in frames)


ZSTANDARD: dict[str, Callable[[bytes], bytes]] = {
    "pzstd": pzstd,
    "another magic number": lambda data: skippable(b"abcd", 0x184D2A5F) + zstandard.compress(data),
    "an empty frame first": lambda data: skippable(b"") + zstandard.compress(data),
    "two frames first": lambda data: skippable(b"a") + skippable(b"bb") + zstandard.compress(data),
    "a frame last": lambda data: zstandard.compress(data) + skippable(b"seek table", 0x184D2A5E),
}


@pytest.mark.parametrize("compress", ZSTANDARD.values(), ids=ZSTANDARD)
def test_frames_that_are_passed_over_hide_no_archive(
    compress: Callable[[bytes], bytes], odd: OddRegistry, adapter: Files, tmp_path: Path
) -> None:
    odd.artifact({"adapter.tar.zst": compress(tar(adapter, prefix="adapter/"))})
    pull(f"{odd.host}/team/adapter:v1", tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == adapter


def test_an_annotation_without_a_value_refuses_nothing(odd: OddRegistry, adapter: Files, tmp_path: Path) -> None:
    document = odd.artifact(adapter)
    layers = [{**layer, "annotations": {TITLE: layer["annotations"][TITLE], "x": None}} for layer in document["layers"]]
    odd.serve({**document, "layers": layers, "annotations": {"created": None}})
    assert resolved(odd, tmp_path).files == (CONFIG, WEIGHTS)


def test_of_the_variants_of_a_platform_one_is_brought(odd: OddRegistry, adapter: Files, tmp_path: Path) -> None:
    entries = []
    for variant, fill in (("v3", b"3"), (None, b"")):
        odd.artifact({**adapter, "notes.txt": b"notes" + fill})
        (answer,) = odd.answers["/v2/team/adapter/manifests/v1"]
        odd.answers[f"/v2/team/adapter/manifests/{digest(answer.body)}"] = [answer]
        platform = {"os": "linux", "architecture": "amd64"} | ({"variant": variant} if variant else {})
        entries.append({"digest": digest(answer.body), "size": len(answer.body), "platform": platform})
    odd.serve({"mediaType": OCI_INDEX, "manifests": entries})
    assert resolved(odd, tmp_path).files == (CONFIG, WEIGHTS)
    asked = [path for _, path, _ in odd.seen if "/manifests/sha256:" in path]
    assert asked == [f"/v2/team/adapter/manifests/{entries[1]['digest']}"]


def test_what_is_no_proxy_is_told_as_such(
    odd: OddRegistry, adapter: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd.artifact(adapter)
    monkeypatch.setenv("http_proxy", "socks5://user:secret@proxy:1080")
    monkeypatch.setenv("no_proxy", "")
    reason, field, message = problem(odd, tmp_path)
    assert (reason, field) == (SourceProblem.ADAPTER_UNAVAILABLE, IMAGE)
    assert "HTTP_PROXY names no proxy that speaks HTTP" in message
    assert "secret" not in message
