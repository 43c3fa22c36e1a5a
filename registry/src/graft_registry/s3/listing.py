"""Lists of objects, page by page, from stores that page in their own ways."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from botocore.exceptions import BotoCoreError

from graft_registry.errors import RegistryError, Unavailable
from graft_registry.s3.advice import NOT_A_STORE

_MARKS: Final = ("Name", "Prefix", "KeyCount", "MaxKeys", "IsTruncated", "Contents")
"""What a list of S3 has: every one says of which bucket, or how many keys, it is."""


def listed(client: Any, bucket: str, prefix: str, go_on: Callable[[], None]) -> Iterator[dict[str, Any]]:
    """Yield what a store says of the objects below a prefix. ``go_on`` is called after each page, and raises to end it.

    A store that says there is more, but not how to go on, is asked for what comes after the last key: it knows the
    first version of the request only.

    Raises:
        RegistryError: it does not get on, so the rest can't be had; or what it says of an object can't be read.
        Unavailable: this is no list of S3, which could be taken for an empty one.
    """
    where: dict[str, str] = {}
    last = ""
    while True:
        page = _page(client, bucket, prefix, where)
        if not any(mark in page for mark in _MARKS):
            raise Unavailable(f"{prefix}: a list without any of what S3's have; {NOT_A_STORE}")
        entries = page.get("Contents", ())
        for entry in entries:
            _check(entry, prefix)
            yield entry
        go_on()
        if not page.get("IsTruncated"):
            return
        newest = str(entries[-1]["Key"]) if entries else last
        where, last = _after(page, where, last, newest, prefix), newest


def _page(client: Any, bucket: str, prefix: str, where: Mapping[str, str]) -> dict[str, Any]:
    try:
        page: dict[str, Any] = client.list_objects_v2(Bucket=bucket, Prefix=prefix, **where)
    except BotoCoreError:
        raise
    except ValueError as error:  # botocore takes numbers and times for what they should be.
        raise RegistryError(f"{prefix}: a list that can't be read ({error}); {NOT_A_STORE}") from error
    return page


def _check(entry: Mapping[str, Any], prefix: str) -> None:
    size = entry.get("Size")
    if not isinstance(entry.get("Key"), str) or not isinstance(size, int) or size < 0:
        raise RegistryError(
            f"{prefix}: a list that says of {entry.get('Key') or 'an object'} that its size is {size}; {NOT_A_STORE}"
        )


def _after(page: dict[str, Any], where: dict[str, str], last: str, newest: str, prefix: str) -> dict[str, str]:
    """Return how the next page is asked for. Pure."""
    token = page.get("NextContinuationToken")
    if token and token != where.get("ContinuationToken"):
        return {"ContinuationToken": token}
    if token or newest <= last:
        raise RegistryError(
            f"{prefix}: the store says that there are more objects, and gives the same page again; it does not page "
            "lists as S3 does (ListObjectsV2), so the registry can't be kept there"
        )
    return {"StartAfter": newest}
