"""Large files in parts, several at a time, in both directions.

One connection to an object store carries some 100 MB/s, and what breaks off starts over: a part is both the unit of
parallelism and that of a retry. boto3's transfer manager does the work.
"""

import hashlib
from pathlib import Path
from typing import Any, BinaryIO, Final

from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError
from s3transfer.exceptions import RetriesExceededError

from graft_registry.errors import Unavailable
from graft_registry.s3_errors import registry_error

SINGLE_REQUEST_BYTES: Final = 64 << 20
"""Files up to this size go in one request."""

_TRANSFER: Final = TransferConfig(
    multipart_threshold=SINGLE_REQUEST_BYTES,
    # At most 128 MiB wait for the part before them. Few large parts are hashed while others arrive; many small ones
    # arrive together, and are hashed afterwards (make bench-transfer).
    multipart_chunksize=32 << 20,
    max_concurrency=4,
    # The default of 256 KiB takes a lock and a queue four times as often, and costs a fifth of the time.
    io_chunksize=1 << 20,
)


def send_in_parts(client: Any, at: dict[str, str], path: Path) -> None:
    """Upload a file; each part carries its SHA-256, which the store holds it to.

    Raises:
        RegistryError: as the store does.
    """
    try:
        client.upload_file(str(path), **at, ExtraArgs={"ChecksumAlgorithm": "SHA256"}, Config=_TRANSFER)
    except S3UploadFailedError as error:
        cause = error.__context__
        if not isinstance(cause, ClientError):
            raise
        raise registry_error(cause, at["Key"]) from cause
    except (ClientError, BotoCoreError) as error:
        raise registry_error(error, at["Key"]) from error


def fetch_in_parts(client: Any, at: dict[str, str], sink: BinaryIO) -> str:
    """Download an object into ``sink`` and return the hex SHA-256 of its content.

    Raises:
        RegistryError: as the store does.
    """
    hashing = _HashingWriter(sink)
    try:
        client.download_fileobj(**at, Fileobj=hashing, Config=_TRANSFER)
    except RetriesExceededError as error:
        raise Unavailable(f"{at['Key']}: {error.last_exception}") from error
    except (ClientError, BotoCoreError) as error:
        raise registry_error(error, at["Key"]) from error
    return hashing.digest.hexdigest()


class _HashingWriter:
    """Hashes what it writes. It can't seek, so the transfer manager writes the parts in their order."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._sink.write(data)
