"""The object store: the only module that knows boto3.

It adds to S3 what the registry is built on: a conditional write whose outcome is always known, files that are
verified in both directions, and errors that say whether a retry can help. All calls block.
"""

import contextlib
import copy
import hashlib
import io
import itertools
import os
import random
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from graft_registry.body_checksums import checksum, s3_options
from graft_registry.config import Credentials, RegistryConfig
from graft_registry.errors import Corrupt, NotFound, RegistryError, Unavailable
from graft_registry.multipart import SINGLE_REQUEST_BYTES, fetch_in_parts, send_in_parts
from graft_registry.s3_errors import outcome_is_unknown, registry_error

DOCUMENT_BYTES: Final = 1 << 20
"""The most that a document may have, but for manifests."""
_ATTEMPTS: Final = 4
_CHUNK_BYTES: Final = 1 << 20
_DELETE_BATCH: Final = 1000
"""The most keys that one DeleteObjects request may name."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a listing says about an object."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one request may take, and how often it is made."""

    connect_seconds: float = 5
    read_seconds: float = 60
    """Between two pieces of an answer."""
    attempts: int = _ATTEMPTS


class ObjectStore:
    """One bucket and prefix. Keys are relative to the prefix. Safe to share between threads.

    Every method raises Forbidden or Unavailable where the store does, and RegistryError for what is neither.
    Requests carry checksums where botocore adds them by default; for stores that refuse those, set botocore's own
    ``AWS_REQUEST_CHECKSUM_CALCULATION=when_required``.
    """

    def __init__(
        self, config: RegistryConfig, credentials: Credentials | None = None, patience: Patience = Patience()
    ) -> None:
        self.config = config
        self._is_stopped: Callable[[], bool] = lambda: False
        self._prefix = f"{config.prefix}/" if config.prefix else ""
        session = boto3.session.Session(
            aws_access_key_id=credentials and credentials.access_key,
            aws_secret_access_key=credentials and credentials.secret_key,
            aws_session_token=credentials and credentials.session_token,
        )
        self._client: Any = session.client(
            "s3",
            endpoint_url=config.endpoint,
            region_name=config.region,
            config=Config(
                connect_timeout=patience.connect_seconds,
                read_timeout=patience.read_seconds,
                retries={"mode": "standard", "total_max_attempts": patience.attempts},
                s3=s3_options(config),
                max_pool_connections=32,
            ),
        )

    def until(self, stopped: Callable[[], bool]) -> Self:
        """Return this store as it is for somebody who may be stopped: from then on it refuses every request."""
        view = copy.copy(self)
        view._is_stopped = stopped  # noqa: SLF001 -- its own
        return view

    def get(self, key: str, *, most: int = DOCUMENT_BYTES) -> bytes:
        """Return an object's bytes.

        Raises:
            NotFound: there is no such object.
            Corrupt: it has more than ``most`` bytes, of which none beyond them is read.
        """
        buffer = io.BytesIO()
        self._fetch(key, buffer, most=most)
        return buffer.getvalue()

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing what is there."""
        try:
            self._client.put_object(**self._at(key), Body=data)
        except (ClientError, BotoCoreError) as error:
            raise registry_error(error, key) from error

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless the key is taken (``If-None-Match: *``).

        Returns:
            True if the key now holds exactly ``data``, False if it holds something else. Identical bytes from
            another writer also give True: a request that timed out after it took effect, and was repeated, can't be
            told apart from that.

        Raises:
            Unavailable: the store didn't settle the outcome within the attempts; call again.
        """
        for attempt in range(_ATTEMPTS):
            try:
                self._client.put_object(**self._at(key), Body=data, IfNoneMatch="*")
            except (ClientError, BotoCoreError) as error:
                if not outcome_is_unknown(error):
                    raise registry_error(error, key) from error
            else:
                return True
            try:
                return self.get(key) == data
            except NotFound:
                time.sleep(random.uniform(0.05, 0.2) * 2**attempt)  # noqa: S311
        raise Unavailable(f"{key}: conditional write not settled after {_ATTEMPTS} attempts")

    def exists(self, key: str) -> bool:
        """Return whether there is such an object."""
        try:
            self._head(key)
        except NotFound:
            return False
        return True

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects whose keys begin with ``prefix``, in order of their keys."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.config.bucket, Prefix=self._prefix + prefix
        )
        self._refuse_if_stopped(prefix)
        try:
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield StoredObject(entry["Key"].removeprefix(self._prefix), entry["Size"], entry["ETag"].strip('"'))
                self._refuse_if_stopped(prefix)
        except (ClientError, BotoCoreError) as error:
            raise registry_error(error, prefix) from error

    def upload_file(self, path: Path, key: str, *, sha256: str, size: int) -> None:
        """Make the key hold the file with this hash and size (bytes), and verify that it does.

        Issues no write when the object is there already and its content verifies. Requests carry SHA-256 checksums,
        which the store holds what arrives to; what a store without checksums has got is read back.

        Raises:
            Corrupt: the store holds other content after the upload.
        """
        if self._content_sha256(key, size, expected=sha256) == sha256:
            return
        try:
            if size > SINGLE_REQUEST_BYTES:
                send_in_parts(self._client, self._at(key), path)
            else:
                with path.open("rb") as body:
                    self._client.put_object(**self._at(key), Body=body, ChecksumSHA256=checksum(sha256))
        except (ClientError, BotoCoreError) as error:
            raise registry_error(error, key) from error
        if size > SINGLE_REQUEST_BYTES and self._parts_were_checked(key, size):
            return
        stored = self._content_sha256(key, size, expected=sha256)
        if stored != sha256:
            raise Corrupt(key, f"sha256 {sha256} of {size} bytes", stored or "no object of that size")

    def download_file(self, key: str, destination: Path, *, sha256: str | None, size: int = 0) -> str:
        """Write the object to a file that appears only once its content is verified.

        Args:
            key: of the object.
            destination: replaced if it exists.
            sha256: hex digits that the content must have; None for what others wrote and nobody has hashed yet.
            size: bytes that are expected; large objects come in parts, several at a time.

        Returns:
            The hex SHA-256 of the content.

        Raises:
            NotFound: there is no such object.
            Corrupt: the content has another hash, also when it is cut short.
        """
        destination.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".download-", dir=destination.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                large = size > SINGLE_REQUEST_BYTES
                actual = fetch_in_parts(self._client, self._at(key), stream) if large else self._fetch(key, stream)
            if sha256 is not None and actual != sha256:
                raise Corrupt(key, f"sha256 {sha256}", actual)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(destination)
        finally:
            Path(temporary).unlink(missing_ok=True)
        return actual

    def delete(self, key: str) -> None:
        """Delete an object; one that isn't there counts as deleted."""
        try:
            self._client.delete_object(**self._at(key))
        except (ClientError, BotoCoreError) as error:
            raise registry_error(error, key) from error

    def delete_prefix(self, prefix: str) -> None:
        """Delete all objects below a prefix, which must end with ``/``.

        Raises:
            ValueError: the prefix would also match its neighbours.
        """
        if not prefix.endswith("/") or prefix == "/":
            raise ValueError(f"refusing to delete by prefix {prefix!r}: it must name a folder and end with '/'")
        objects = self.list(prefix)
        while batch := [{"Key": self._prefix + entry.key} for entry in itertools.islice(objects, _DELETE_BATCH)]:
            try:
                answer = self._client.delete_objects(
                    Bucket=self.config.bucket, Delete={"Objects": batch, "Quiet": True}
                )
            except (ClientError, BotoCoreError) as error:
                raise registry_error(error, prefix) from error
            if refused := answer.get("Errors"):
                raise RegistryError(f"{refused[0].get('Key')}: not deleted: {refused[0].get('Message')}")

    def probe_conditional_writes(self) -> bool:
        """Return whether the bucket honours ``If-None-Match: *``, by writing one object twice.

        Without it two publishers at the same moment can overwrite each other's version.
        """
        key = f".probe/{uuid.uuid4()}"
        try:
            return self.put_if_absent(key, b"first") and not self.put_if_absent(key, b"second")
        finally:
            self.delete(key)

    def _at(self, key: str) -> dict[str, str]:
        """Name an object in a request. Every request but the listing begins here."""
        self._refuse_if_stopped(key)
        return {"Bucket": self.config.bucket, "Key": self._prefix + key}

    def _refuse_if_stopped(self, key: str) -> None:
        if self._is_stopped():
            raise Unavailable(f"{key}: nobody waits for this any more")

    def _head(self, key: str) -> dict[str, Any]:
        try:
            return dict(self._client.head_object(**self._at(key), ChecksumMode="ENABLED"))
        except (ClientError, BotoCoreError) as error:
            raise registry_error(error, key) from error

    def _content_sha256(self, key: str, size: int, *, expected: str) -> str | None:
        """Return the hash of the stored content, None if there is no object of this size.

        A store that says itself to hold what is ``expected`` is believed: it has checked what arrived. Otherwise the
        content is read.
        """
        try:
            head = self._head(key)
        except NotFound:
            return None
        if head["ContentLength"] != size:
            return None
        return expected if head.get("ChecksumSHA256") == checksum(expected) else self._fetch(key, None)

    def _parts_were_checked(self, key: str, size: int) -> bool:
        """Whether the store keeps a checksum, with their number, of the checksums that it held the parts to."""
        head = self._head(key)
        return head["ContentLength"] == size and "-" in head.get("ChecksumSHA256", "")

    def _fetch(self, key: str, sink: BinaryIO | None, *, most: int | None = None) -> str:
        """Stream the object into ``sink`` and return the hex SHA-256 of what came.

        botocore retries requests but not bodies that break off, so that is done here, from the start.
        """
        for attempts_left in reversed(range(_ATTEMPTS)):
            try:
                return self._fetch_once(key, sink, most)
            except ClientError as error:
                raise registry_error(error, key) from error
            except BotoCoreError as error:
                if not attempts_left:
                    raise registry_error(error, key) from error
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _fetch_once(self, key: str, sink: BinaryIO | None, most: int | None) -> str:
        digest, read = hashlib.sha256(), 0
        if sink is not None:
            sink.seek(0)
            sink.truncate()
        answer = self._client.get_object(**self._at(key))
        with contextlib.closing(answer["Body"]) as body:
            _refuse_more(key, answer.get("ContentLength", 0), most)
            for chunk in body.iter_chunks(_CHUNK_BYTES):
                read += len(chunk)
                _refuse_more(key, read, most)
                self._refuse_if_stopped(key)
                digest.update(chunk)
                if sink is not None:
                    sink.write(chunk)
        return digest.hexdigest()


def _refuse_more(key: str, size: int, most: int | None) -> None:
    """Raise Corrupt where an object is larger than what it stands for can be."""
    if most is not None and size > most:
        raise Corrupt(key, f"at most {most} bytes", f"{size} or more")
