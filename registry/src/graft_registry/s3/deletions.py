"""Deletes many objects at once, where the store lets us."""

import logging
from collections.abc import Sequence
from typing import Any, Final

from botocore.exceptions import ClientError

from graft_registry.s3.s3_errors import FAILURES, refused_deletion, registry_error, status_of

log = logging.getLogger(__name__)

BATCH: Final = 1000
"""The most keys that one request may name."""
_NOT_UNDERSTOOD: Final = (400, 405, 501)


def delete_together(client: Any, bucket: str, keys: Sequence[str]) -> bool:
    """Delete objects in one request; return False where the store doesn't take it, as those that insist on Content-MD5.

    Raises:
        RegistryError: as the store does, also for a single key.
    """
    named = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
    try:
        answer = client.delete_objects(Bucket=bucket, Delete=named)
    except ClientError as error:
        if status_of(error) in _NOT_UNDERSTOOD:
            log.info("objects are deleted one by one: %s", error)
            return False
        raise registry_error(error, keys[0]) from error
    except FAILURES as error:
        raise registry_error(error, keys[0]) from error
    if refused := answer.get("Errors"):
        raise refused_deletion(refused[0])
    return True


def delete_one(client: Any, bucket: str, key: str) -> None:
    """Delete an object; one that isn't there counts as deleted.

    Raises:
        RegistryError: as the store does.
    """
    try:
        client.delete_object(Bucket=bucket, Key=key)
    except FAILURES as error:
        if isinstance(error, ClientError) and status_of(error) == 404 and "NoSuchBucket" not in str(error):
            return
        raise registry_error(error, key) from error
