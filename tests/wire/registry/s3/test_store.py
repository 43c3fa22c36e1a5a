"""What the object store adds to S3, against real S3 servers."""

from pathlib import Path
from typing import Any, BinaryIO

import pytest
from boto3.s3.transfer import TransferConfig
from tests.wire.registry.faults import lose_answers_to_writes

from graft_registry.config import RegistryConfig
from graft_registry.digests import file_sha256
from graft_registry.errors import Corrupt, Forbidden, NoSuchBucket, NotFound, Unavailable
from graft_registry.s3 import store as store_module
from graft_registry.s3 import transfers
from graft_registry.s3.store import ObjectStore


def test_an_object_is_read_back_until_it_is_deleted(store: ObjectStore) -> None:
    store.put("a/b", b"content")
    assert store.get("a/b") == b"content"
    assert store.exists("a/b")
    store.delete("a/b")
    store.delete("a/b")
    assert not store.exists("a/b")
    with pytest.raises(NotFound):
        store.get("a/b")


def test_the_prefix_is_part_of_every_key_and_of_no_answer(config: RegistryConfig, store: ObjectStore) -> None:
    store.put("a/b", b"1")
    whole_bucket = ObjectStore(config.model_copy(update={"prefix": ""}))
    assert [entry.key for entry in whole_bucket.list("")] == ["registry/a/b"]
    assert [(entry.key, entry.size) for entry in store.list("a/")] == [("a/b", 1)]


def test_a_listing_has_all_pages(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        store.put(f"many/{number}", b"x")
    list_page = store._client.list_objects_v2
    paginator = store._client.get_paginator("list_objects_v2")
    monkeypatch.setattr(store._client, "get_paginator", lambda _: paginator)
    monkeypatch.setattr(paginator, "_method", lambda **request: list_page(**request, MaxKeys=2))
    assert [entry.key for entry in store.list("many/")] == [f"many/{number}" for number in range(5)]


def test_only_the_first_of_two_different_writes_takes_a_key(store: ObjectStore) -> None:
    assert store.put_if_absent("key", b"first")
    assert not store.put_if_absent("key", b"second")
    assert store.get("key") == b"first"


def test_the_same_write_again_counts_as_done(store: ObjectStore) -> None:
    assert store.put_if_absent("key", b"first")
    assert store.put_if_absent("key", b"first")


@pytest.mark.parametrize("lost", [1, 4], ids=["the first answer is lost", "all answers are lost"])
def test_a_conditional_write_without_an_answer_is_settled_by_reading(store: ObjectStore, lost: int) -> None:
    lose_answers_to_writes(store, of="key", how_many=lost)
    assert store.put_if_absent("key", b"mine")
    assert store.get("key") == b"mine"


def test_a_conditional_write_without_an_answer_that_lost_is_known_to_have_lost(store: ObjectStore) -> None:
    store.put("key", b"theirs")
    lose_answers_to_writes(store, of="key", how_many=4)
    assert not store.put_if_absent("key", b"mine")


def test_the_examination_finds_nothing_missing_and_leaves_nothing(store: ObjectStore) -> None:
    report = store.examine()
    assert report.conditional_writes
    assert report.is_fit, [finding.sentence() for finding in report.of("Failed")]
    assert list(store.list("")) == []


def test_the_examination_sees_a_store_that_ignores_the_condition(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_anyway(**request: object) -> object:
        request.pop("IfNoneMatch", None)
        return put_object(**request)

    put_object = store._client.put_object
    monkeypatch.setattr(store._client, "put_object", put_anyway)
    assert store.examine().conditional_writes is False


@pytest.mark.parametrize("limit", [64 << 20, 5 << 20], ids=["in one request", "in parts"])
def test_a_file_survives_the_way_there_and_back(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(store_module, "SINGLE_REQUEST_BYTES", limit)
    monkeypatch.setattr(transfers, "_TRANSFER", TransferConfig(multipart_threshold=limit, multipart_chunksize=5 << 20))
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * (24 << 10))
    size, sha256 = source.stat().st_size, file_sha256(source)
    store.upload_file(source, "file", sha256=sha256, size=size)
    assert store.download_file("file", tmp_path / "there" / "copy", sha256=sha256, size=size) == sha256
    assert (tmp_path / "there" / "copy").read_bytes() == source.read_bytes()


def headers_of_writes(store: ObjectStore) -> list[str]:
    """Return the names of the headers of all requests that send content, from now on."""
    seen: list[str] = []

    def note(request: Any, **_: Any) -> None:
        if request.method in ("PUT", "POST"):
            seen.extend(name.lower() for name in request.headers)

    store._client.meta.events.register("before-send.s3", note)
    return seen


@pytest.mark.parametrize("limit", [64 << 20, 5 << 20], ids=["in one request", "in parts"])
def test_no_checksum_is_sent_where_they_are_switched_off_and_what_arrived_is_read_back(
    config: RegistryConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    monkeypatch.setattr(store_module, "SINGLE_REQUEST_BYTES", limit)
    monkeypatch.setattr(transfers, "_TRANSFER", TransferConfig(multipart_threshold=limit, multipart_chunksize=5 << 20))
    store, source = ObjectStore(config), tmp_path / "source"
    source.write_bytes(bytes(6 << 20))
    sent, fetched = headers_of_writes(store), []
    fetch = store._fetch

    def note(key: str, sink: BinaryIO | None, **fields: Any) -> str:
        fetched.append((key, sink))
        return fetch(key, sink, **fields)

    monkeypatch.setattr(store, "_fetch", note)
    store.put("document", b"{}")
    store.upload_file(source, "file", sha256=file_sha256(source), size=6 << 20)
    assert sent
    assert [name for name in sent if "checksum" in name or name == "x-amz-trailer"] == []
    assert fetched == [("file", None)]


@pytest.mark.parametrize("limit", [64 << 20, 5 << 20], ids=["in one request", "in parts"])
def test_every_write_asks_for_the_encryption_that_is_set(
    config: RegistryConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(store_module, "SINGLE_REQUEST_BYTES", limit)
    monkeypatch.setattr(transfers, "_TRANSFER", TransferConfig(multipart_threshold=limit, multipart_chunksize=5 << 20))
    store = ObjectStore(config.model_copy(update={"server_side_encryption": "aws:kms", "kms_key_id": "key"}))
    sent, source = headers_of_writes(store), tmp_path / "source"
    source.write_bytes(bytes(6 << 20))
    for write in (
        lambda: store.put("document", b"{}"),
        lambda: store.put_if_absent("another", b"{}"),
        lambda: store.upload_file(source, "file", sha256=file_sha256(source), size=6 << 20),
    ):
        sent.clear()
        write()
        assert "x-amz-server-side-encryption-aws-kms-key-id" in sent


def test_an_object_that_is_larger_than_its_parts_were_said_to_be_is_not_written(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "SINGLE_REQUEST_BYTES", 1)
    monkeypatch.setattr(transfers, "_TRANSFER", TransferConfig(multipart_threshold=1))
    store.put("file", bytes(3 << 20))
    with pytest.raises(Corrupt, match="at most 10 bytes"):
        store.download_file("file", tmp_path / "file", sha256="0" * 64, size=10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [64 << 20, 1], ids=["in one request", "in parts"])
def test_a_download_that_nobody_waits_for_ends_at_its_next_piece(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(store_module, "SINGLE_REQUEST_BYTES", limit)
    monkeypatch.setattr(transfers, "_TRANSFER", TransferConfig(multipart_threshold=1, multipart_chunksize=5 << 20))
    store.put("file", bytes(12 << 20))
    written: list[int] = []
    write = transfers._HashingWriter.write

    def note(hashing: transfers._HashingWriter, data: bytes) -> int:
        size = write(hashing, data)
        written.append(size)
        return size

    monkeypatch.setattr(transfers._HashingWriter, "write", note)
    with pytest.raises(Unavailable, match="nobody waits"):
        store.until(lambda: bool(written)).download_file("file", tmp_path / "file", sha256="0" * 64, size=12 << 20)
    assert len(written) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_upload_in_parts_that_is_refused_says_why(
    config: RegistryConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "SINGLE_REQUEST_BYTES", 1)
    monkeypatch.setattr(transfers, "_TRANSFER", TransferConfig(multipart_threshold=1))
    source = tmp_path / "source"
    source.write_bytes(b"content")
    store = ObjectStore(config.model_copy(update={"bucket": "no-such-bucket"}))
    monkeypatch.setattr(store, "_content_sha256", lambda *_, **__: None)
    with pytest.raises(NoSuchBucket, match="create the bucket"):
        store.upload_file(source, "file", sha256=file_sha256(source), size=7)


def test_a_file_that_is_there_is_not_sent_again(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"content")
    store.upload_file(source, "file", sha256=file_sha256(source), size=7)
    monkeypatch.setattr(store._client, "put_object", None)
    store.upload_file(source, "file", sha256=file_sha256(source), size=7)


def test_a_store_that_changes_what_it_is_given_is_found_out(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_something_else(**request: object) -> None:
        put_object(Bucket=request["Bucket"], Key=request["Key"], Body=b"c0ntent")

    put_object = store._client.put_object
    monkeypatch.setattr(store._client, "put_object", put_something_else)
    source = tmp_path / "source"
    source.write_bytes(b"content")
    with pytest.raises(Corrupt, match="file is corrupt"):
        store.upload_file(source, "file", sha256=file_sha256(source), size=7)


def test_a_damaged_download_leaves_no_file(store: ObjectStore, tmp_path: Path) -> None:
    store.put("file", b"content")
    with pytest.raises(Corrupt, match="expected sha256 0000"):
        store.download_file("file", tmp_path / "copy", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_deleting_by_prefix_spares_neighbours_with_the_same_beginning(store: ObjectStore) -> None:
    for key in ("support/a", "support/b", "support-2/a"):
        store.put(key, b"x")
    store.delete_prefix("support/")
    assert [entry.key for entry in store.list("")] == ["support-2/a"]


@pytest.mark.parametrize("prefix", ["", "/", "support"])
def test_a_prefix_that_could_match_neighbours_is_refused(store: ObjectStore, prefix: str) -> None:
    with pytest.raises(ValueError, match="must name a folder"):
        store.delete_prefix(prefix)


def test_a_missing_bucket_is_not_mistaken_for_a_missing_object(config: RegistryConfig) -> None:
    store = ObjectStore(config.model_copy(update={"bucket": "no-such-bucket"}))
    with pytest.raises(NoSuchBucket, match="create the bucket"):
        store.get("key")
    with pytest.raises(NoSuchBucket, match="create the bucket"):
        list(store.list(""))


def test_missing_credentials_are_forbidden_and_say_what_to_set(
    config: RegistryConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Forbidden, match="AWS_ACCESS_KEY_ID"):
        ObjectStore(config).put_if_absent("key", b"data")
