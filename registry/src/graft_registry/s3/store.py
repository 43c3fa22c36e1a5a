"""The object store: the only module that knows boto3.

It adds to S3 what the registry is built on: a conditional write whose outcome is always known, files that are
verified in both directions, and errors that say whether a retry can help. All calls block.
"""

import copy
import hashlib
import io
import itertools
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from graft_registry.config import Credentials, RegistryConfig
from graft_registry.doctor import examine
from graft_registry.documents import StoreReport
from graft_registry.errors import Corrupt, NotFound, Unavailable
from graft_registry.s3.deletions import BATCH, delete_one, delete_together
from graft_registry.s3.listing import listed
from graft_registry.s3.s3_client import PATIENT, Patience, checksum, encryption, s3_client, sends_checksums
from graft_registry.s3.s3_errors import (
    FAILURES,
    condition_is_refused,
    condition_was_taken_for_a_get,
    outcome_is_unknown,
    registry_error,
)
from graft_registry.s3.transfers import SINGLE_REQUEST_BYTES, fetch_in_parts, fetch_whole, send_in_parts, send_whole

__all__ = ["DOCUMENT_BYTES", "ObjectStore", "Patience", "StoredObject"]

DOCUMENT_BYTES: Final = 1 << 20
"""The most that a document may have, but for manifests."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a listing says about an object."""

    key: str
    size: int
    etag: str


class ObjectStore:
    """One bucket and prefix. Keys are relative to the prefix. Safe to share between threads.

    Every method raises Forbidden or Unavailable where the store does, and RegistryError for what is neither.
    Requests carry checksums where botocore adds them by default; for stores that refuse those, set botocore's own
    ``AWS_REQUEST_CHECKSUM_CALCULATION=when_required``.
    """

    def __init__(
        self, config: RegistryConfig, credentials: Credentials | None = None, patience: Patience = PATIENT
    ) -> None:
        self.config = config
        self._is_stopped: Callable[[], bool] = lambda: False
        self._prefix = f"{config.prefix}/" if config.prefix else ""
        self._attempts = patience.attempts
        self._written_with = encryption(config)
        self._client: Any = s3_client(config, credentials, patience)

    def until(self, stopped: Callable[[], bool]) -> Self:
        """Return a view of this store that refuses every request as soon as ``stopped`` says so."""
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
            self._client.put_object(**self._at(key), Body=data, **self._checks(data), **self._written_with)
        except FAILURES as error:
            raise registry_error(error, key) from error

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless the key is taken (``If-None-Match: *``).

        Some stores ignore the condition, or refuse it. So the key is looked at before, and read back afterwards: there,
        too, nothing is overwritten that was there, and of two writers at once the one who lost gets to know it, unless
        the other's write comes later than this reading. Such a store is for one writer at a time (``examine``).

        Returns:
            True if the key now holds exactly ``data``, False if it holds something else. Identical bytes from
            another writer also give True: a request that timed out after it took effect, and was repeated, can't be
            told apart from that.

        Raises:
            Unavailable: the store didn't settle the outcome within the attempts; call again.
        """
        with suppress(NotFound):
            return self._holds(key, data)
        written = self._put_on_condition(key, data)
        if written is None:
            self.put(key, data)
        if written is False:
            return False
        try:
            return self._holds(key, data)
        except NotFound as error:
            raise Unavailable(f"{key}: the store has taken it and does not show it yet") from error

    def _put_on_condition(self, key: str, data: bytes) -> bool | None:
        """As ``put_if_absent``, but None where the store doesn't know the condition."""
        for attempt in range(self._attempts):
            try:
                self._client.put_object(
                    **self._at(key), Body=data, IfNoneMatch="*", **self._checks(data), **self._written_with
                )
            except FAILURES as error:
                if condition_is_refused(error):
                    return None
                if not outcome_is_unknown(error):
                    raise registry_error(error, key) from error
                misunderstood = condition_was_taken_for_a_get(error)
            else:
                return True
            try:
                return self._holds(key, data)
            except NotFound:
                if misunderstood:
                    return None
                time.sleep(random.uniform(0.05, 0.2) * 2**attempt)  # noqa: S311
        raise Unavailable(f"{key}: conditional write not settled after {self._attempts} attempts")

    def _holds(self, key: str, data: bytes) -> bool:
        try:
            return self.get(key, most=max(1, len(data))) == data
        except Corrupt:  # longer
            return False

    def exists(self, key: str) -> bool:
        """Return whether there is such an object."""
        try:
            self._head(key)
        except NotFound:
            return False
        return True

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects whose keys begin with ``prefix``, in order of their keys."""
        self._refuse_if_stopped(prefix)
        pages = listed(self._client, self.config.bucket, self._prefix + prefix, lambda: self._refuse_if_stopped(prefix))
        try:
            for entry in pages:
                yield StoredObject(
                    entry["Key"].removeprefix(self._prefix), entry["Size"], entry.get("ETag", "").strip('"')
                )
        except FAILURES as error:
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
        if size > SINGLE_REQUEST_BYTES:
            send_in_parts(self._client, self._at(key), path, self._written_with)
        else:
            send_whole(self._client, self._at(key), path, sha256, self._written_with)
        if size > SINGLE_REQUEST_BYTES and self._parts_were_checked(key, size):
            return
        stored = self._content_sha256(key, size, expected=sha256)
        if stored != sha256:
            raise Corrupt(key, f"sha256 {sha256} of {size} bytes", stored or "no object of that size")

    def download_file(self, key: str, destination: Path, *, sha256: str | None, size: int | None = None) -> str:
        """Write the object to a file that appears only once its content is verified.

        Args:
            key: of the object.
            destination: replaced if it exists.
            sha256: hex digits that the content must have; None for what others wrote and nobody has hashed yet.
            size: bytes that are expected, None where nobody has said it; large objects come in parts, several at a
                time, and of one that is larger than that no more is written.

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
                if size is not None and size > SINGLE_REQUEST_BYTES:
                    go_on = partial(self._refuse_if_stopped, key)
                    actual = fetch_in_parts(self._client, self._at(key), stream, most=size, go_on=go_on)
                else:
                    actual = self._fetch(key, stream, most=size)
            if sha256 is not None and actual != sha256:
                raise Corrupt(key, f"sha256 {sha256}", actual)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(destination)
        finally:
            Path(temporary).unlink(missing_ok=True)
        return actual

    def delete(self, key: str) -> None:
        """Delete an object; one that isn't there counts as deleted."""
        self._refuse_if_stopped(key)
        delete_one(self._client, self.config.bucket, self._prefix + key)

    def delete_prefix(self, prefix: str) -> None:
        """Delete all objects below a prefix, which must end with ``/``: together, or one by one where that is refused.

        Raises:
            ValueError: the prefix would also match its neighbours.
        """
        if not prefix.endswith("/") or prefix == "/":
            raise ValueError(f"refusing to delete by prefix {prefix!r}: it must name a folder and end with '/'")
        objects, together = self.list(prefix), True
        while batch := [self._prefix + entry.key for entry in itertools.islice(objects, BATCH)]:
            self._refuse_if_stopped(prefix)
            together = together and delete_together(self._client, self.config.bucket, batch)
            for key in batch if not together else ():
                self._refuse_if_stopped(prefix)
                delete_one(self._client, self.config.bucket, key)

    def examine(self, *, thoroughly: bool = False) -> StoreReport:
        """Try on a scratch prefix what the store and the key can do; see ``graft_registry.doctor``."""
        return examine(self._client, self.config, lambda: self._refuse_if_stopped(".probe/"), thoroughly=thoroughly)

    def _checks(self, data: bytes) -> dict[str, str]:
        """Return the checksum of a small body, in a header: stores that don't take one behind the body take this."""
        return {"ChecksumSHA256": checksum(hashlib.sha256(data).hexdigest())} if sends_checksums(self._client) else {}

    def _at(self, key: str) -> dict[str, str]:
        """Name an object in a request. Every request but the listing begins here."""
        self._refuse_if_stopped(key)
        return {"Bucket": self.config.bucket, "Key": self._prefix + key}

    def _refuse_if_stopped(self, key: str) -> None:
        if self._is_stopped():
            raise Unavailable(f"{key}: nobody waits for this any more")

    def _head(self, key: str) -> dict[str, Any]:
        try:
            mode = {"ChecksumMode": "ENABLED"} if sends_checksums(self._client) else {}
            return dict(self._client.head_object(**self._at(key), **mode))
        except FAILURES as error:
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
        if head.get("ChecksumSHA256") == checksum(expected):
            return expected
        return self._fetch(key, None, most=size)

    def _parts_were_checked(self, key: str, size: int) -> bool:
        """Whether the store keeps a checksum, with their number, of the checksums that it held the parts to."""
        head = self._head(key)
        return head["ContentLength"] == size and "-" in head.get("ChecksumSHA256", "")

    def _fetch(self, key: str, sink: BinaryIO | None, *, most: int | None) -> str:
        go_on = partial(self._refuse_if_stopped, key)
        return fetch_whole(self._client, self._at(key), sink, most=most, attempts=self._attempts, go_on=go_on)
