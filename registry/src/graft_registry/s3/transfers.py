"""Objects on their way: in one request, or large files in parts, several at a time, in both directions.

One connection to an object store carries some 100 MB/s, and what breaks off starts over: a part is both the unit of
parallelism and that of a retry. boto3's transfer manager does the work for parts.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError
from s3transfer.exceptions import RetriesExceededError

from graft_registry.errors import Corrupt, RegistryError, Unavailable
from graft_registry.s3.advice import NOT_A_STORE
from graft_registry.s3.s3_client import checksum, sends_checksums
from graft_registry.s3.s3_errors import FAILURES, registry_error

SINGLE_REQUEST_BYTES: Final = 64 << 20
"""Files up to this size go in one request."""
_CHUNK_BYTES: Final = 1 << 20

_TRANSFER: Final = TransferConfig(
    multipart_threshold=SINGLE_REQUEST_BYTES,
    # At most 128 MiB wait for the part before them. Few large parts are hashed while others arrive; many small ones
    # arrive together, and are hashed afterwards (make bench-transfer).
    multipart_chunksize=32 << 20,
    max_concurrency=4,
    # The default of 256 KiB takes a lock and a queue four times as often, and costs a fifth of the time.
    io_chunksize=1 << 20,
)


def send_whole(client: Any, at: dict[str, str], path: Path, sha256: str, extra: dict[str, str]) -> None:
    """Upload a file in one request, with its SHA-256 unless checksums are switched off.

    Raises:
        RegistryError: as the store does.
    """
    checks = {"ChecksumSHA256": checksum(sha256)} if sends_checksums(client) else {}
    try:
        with path.open("rb") as body:
            client.put_object(**at, Body=body, **checks, **extra)
    except FAILURES as error:
        raise registry_error(error, at["Key"]) from error


def send_in_parts(client: Any, at: dict[str, str], path: Path, extra: dict[str, str]) -> None:
    """Upload a file; each part carries its SHA-256, which the store holds it to, unless checksums are switched off.

    Raises:
        RegistryError: as the store does.
    """
    checks = {"ChecksumAlgorithm": "SHA256"} if sends_checksums(client) else {}
    try:
        client.upload_file(str(path), **at, ExtraArgs=checks | extra, Config=_TRANSFER)
    except S3UploadFailedError as error:
        cause = error.__context__
        if not isinstance(cause, ClientError):
            raise
        raise registry_error(cause, at["Key"]) from cause
    except FAILURES as error:
        raise registry_error(error, at["Key"]) from error


def fetch_in_parts(client: Any, at: dict[str, str], sink: BinaryIO, *, most: int, go_on: Callable[[], None]) -> str:
    """Download an object of at most ``most`` bytes into ``sink`` and return the hex SHA-256 of its content.

    ``go_on`` is called before each piece, and raises to end it.

    Raises:
        Corrupt: it has more.
        RegistryError: as the store does.
    """
    hashing = _HashingWriter(sink, at["Key"], most, go_on)
    try:
        with _readable(at["Key"]):
            client.download_fileobj(**at, Fileobj=hashing, Config=_TRANSFER)
    except RetriesExceededError as error:
        raise Unavailable(f"{at['Key']}: {error.last_exception}") from error
    except FAILURES as error:
        raise registry_error(error, at["Key"]) from error
    return hashing.digest.hexdigest()


def fetch_whole(
    client: Any,
    at: dict[str, str],
    sink: BinaryIO | None,
    *,
    most: int | None,
    attempts: int,
    go_on: Callable[[], None],
) -> str:
    """Stream an object into ``sink``, or nowhere, and return the hex SHA-256 of what came.

    botocore retries requests but not bodies that break off, so that is done here, from the start. ``go_on`` is called
    before each piece, and raises to end it.

    Raises:
        Corrupt: it has more than ``most`` bytes, of which no more are read.
        RegistryError: as the store does.
    """
    for attempts_left in reversed(range(attempts)):
        try:
            if sink is not None:
                sink.seek(0)
                sink.truncate()
            return _fetch_once(client, at, _HashingWriter(sink, at["Key"], most, go_on), go_on)
        except ClientError as error:
            raise registry_error(error, at["Key"]) from error
        except BotoCoreError as error:
            if not attempts_left:
                raise registry_error(error, at["Key"]) from error
    raise AssertionError("unreachable: the last attempt returns or raises")


def _fetch_once(client: Any, at: dict[str, str], hashing: "_HashingWriter", go_on: Callable[[], None]) -> str:
    go_on()
    with _readable(at["Key"]):
        answer = client.get_object(**at)
    with contextlib.closing(answer["Body"]) as body:
        hashing.refuse_more_than(answer.get("ContentLength", 0))
        for chunk in body.iter_chunks(_CHUNK_BYTES):
            hashing.write(chunk)
    return hashing.digest.hexdigest()


@contextlib.contextmanager
def _readable(key: str) -> Iterator[None]:
    """Tell of an answer whose headers can't be read: botocore takes their numbers and times for what they should be."""
    try:
        yield
    except FAILURES:
        raise
    except ValueError as error:
        raise RegistryError(f"{key}: an answer that can't be read ({error}); {NOT_A_STORE}") from error


class _HashingWriter:
    """Hashes what it writes. It can't seek, so the transfer manager writes the parts in their order."""

    def __init__(self, sink: BinaryIO | None, key: str, most: int | None, go_on: Callable[[], None]) -> None:
        self._sink = sink
        self._key = key
        self._most = most
        self._go_on = go_on
        self._written = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._go_on()
        self._written += len(data)
        self.refuse_more_than(self._written)
        self.digest.update(data)
        return len(data) if self._sink is None else self._sink.write(data)

    def refuse_more_than(self, size: int) -> None:
        """Raise Corrupt where an object is larger than what it stands for."""
        if self._most is not None and size > self._most:
            raise Corrupt(self._key, f"at most {self._most} bytes", f"{size} or more")
