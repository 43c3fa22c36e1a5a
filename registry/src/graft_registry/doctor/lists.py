"""Lists and deletions: what is written is seen, in pages, under its own name, and is gone when it was deleted."""

from collections.abc import Sequence
from typing import Any, Final

from botocore.exceptions import ClientError

from graft_registry.doctor.objects import FIRST, right
from graft_registry.doctor.requests import Attempt, Scratch
from graft_registry.documents import Finding
from graft_registry.errors import RegistryError
from graft_registry.s3.listing import listed
from graft_registry.s3.s3_errors import FAILURES, registry_error

NAMES: Final = ("names/a b+c%d&e.json", "names/é.json", "names/x_1-2.json")
"""Names that stores have spelled in their own ways."""


def lists(scratch: Scratch) -> tuple[Finding, ...]:
    """Write objects, and look for them at once, in one list and in pages of one."""
    for name in NAMES:
        scratch.upload(name, FIRST)
    seen = keys_below(scratch, scratch.prefix + "names/")
    if isinstance(seen, RegistryError):
        return (Finding(check="lists", found="no", verdict="Failed", follows=str(seen)),)
    return (named(seen, scratch.prefix), paged(scratch, seen))


def named(seen: Sequence[str], prefix: str) -> Finding:
    """Say whether all that was written is listed, under its own name. Pure."""
    wanted = sorted(prefix + name for name in NAMES)
    if sorted(seen) == wanted:
        return Finding(check="lists", found="at once, names as written")
    if len(seen) < len(wanted):
        return Finding(
            check="lists",
            found=f"{len(seen)} of {len(wanted)} objects",
            verdict="Warning",
            follows="what has just been written is not listed yet: a version may be looked for in vain for that long",
            fix="ask the store for strongly consistent lists",
        )
    return Finding(
        check="lists",
        found="names are changed",
        verdict="Note",
        follows="objects with spaces or letters beyond ASCII are not found; Graft's own names have none",
    )


def paged(scratch: Scratch, seen: Sequence[str]) -> Finding:
    """Say whether a list that comes in pages of one is whole."""
    pages = keys_below(_OneByOne.of(scratch), scratch.prefix + "names/")
    if isinstance(pages, RegistryError):
        return Finding(check="pages", found="no", verdict="Failed", follows=str(pages))
    if sorted(pages) != sorted(seen):
        follows = "lists of more than 1,000 objects are not whole, so versions would be missed"
        return Finding(check="pages", found=f"{len(pages)} of {len(seen)}", verdict="Failed", follows=follows)
    return Finding(check="pages", found="whole")


def keys_below(scratch: Scratch, prefix: str) -> list[str] | RegistryError:
    """Return the keys that are listed below a prefix, or why they are not."""
    try:
        return [str(entry["Key"]) for entry in listed(scratch.client, scratch.config.bucket, prefix, lambda: None)]
    except FAILURES as error:
        return registry_error(error, prefix)
    except RegistryError as error:
        return error


class _OneByOne:
    """A client that asks for pages of one object."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    def of(cls, scratch: Scratch) -> Scratch:
        """Return the same scratch prefix, listed so."""
        return scratch.with_client(cls(scratch.client))

    def list_objects_v2(self, **arguments: Any) -> Any:
        """Ask for one page."""
        return self._client.list_objects_v2(**arguments, MaxKeys=1)


def deletions(scratch: Scratch) -> tuple[Finding, ...]:
    """Delete all that may be there, together where that is possible: this also cleans up."""
    seen = keys_below(scratch, scratch.prefix)
    listed_keys = seen if isinstance(seen, list) else []
    keys = sorted({*listed_keys, *(scratch.prefix + name for name in ("a", "wrong", "parts", *NAMES))})
    batch = together(scratch, keys)
    singly = [] if batch.worked else [scratch.attempt("delete_object", **_named(scratch, key)) for key in keys]
    finding = right("Delete", next((one for one in singly if not one.worked and one.status != 404), Attempt()))
    if finding.verdict != "Ok":
        return (finding,)
    left = keys_below(scratch, scratch.prefix)
    gone = Finding(check="deleted objects", found="gone at once")
    if isinstance(left, list) and left:
        follows = "what has been deleted is still listed for a while"
        gone = Finding(check="deleted objects", found=f"{len(left)} still listed", verdict="Note", follows=follows)
    return (finding, deleted_together(batch), gone)


def together(scratch: Scratch, keys: Sequence[str]) -> Attempt:
    """Delete objects in one request; one that only some were deleted by counts as refused."""
    named = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
    batch = scratch.of_bucket("delete_objects", Delete=named)
    if refused := batch.answer.get("Errors"):
        error = {"Error": refused[0], "ResponseMetadata": {"HTTPStatusCode": 403}}
        return Attempt(error=ClientError(error, "DeleteObjects"))
    return batch


def deleted_together(batch: Attempt) -> Finding:
    """Say whether objects can be deleted together. Pure."""
    if batch.worked:
        return Finding(check="batch delete", found="yes")
    return Finding(
        check="batch delete",
        found=batch.says(),
        verdict="Note",
        follows="objects are deleted one by one, which is slower",
    )


def _named(scratch: Scratch, key: str) -> dict[str, str]:
    return {"Bucket": scratch.config.bucket, "Key": key}
