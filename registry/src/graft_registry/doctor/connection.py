"""Whether the store is reached, takes the key, and has the same time. Pure, but for the second way of addressing."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from graft_registry.doctor.requests import Attempt, Scratch
from graft_registry.documents import Finding
from graft_registry.s3.advice import NOT_A_STORE
from graft_registry.s3.s3_client import Patience, has_name, s3_client

_TOLERATED: Final = timedelta(minutes=15)
_NOTICED: Final = timedelta(minutes=1)
_QUICKLY: Final = Patience(connect_seconds=3, read_seconds=5, attempts=1)


def reach(listing: Attempt) -> Finding:
    """Say whether the store was reached, by what came of a list. A key that may not list has reached it, too. Pure."""
    if listing.worked or (listing.is_forbidden and not listing.is_foreign and not listing.advice):
        return Finding(check="reach", found="answers")
    fix = listing.advice or "see that the store is up and the bucket there, and that registry.endpoint is right"
    if listing.is_foreign:
        fix = NOT_A_STORE
    return Finding(check="reach", found=listing.says(), verdict="Failed", follows=str(listing.error)[:500], fix=fix)


def clock(listing: Attempt, now: datetime) -> Finding:
    """Say how far apart the clocks are: stores refuse what is signed more than 15 minutes from their own time."""
    try:
        there = parsedate_to_datetime(listing.headers["date"])
    except (KeyError, ValueError, TypeError):
        return Finding(check="clock", found="not told", verdict="Note", follows="the store sends no Date")
    apart = abs((there if there.tzinfo else there.replace(tzinfo=UTC)) - now)
    if apart < _NOTICED:
        return Finding(check="clock", found="together")
    return Finding(
        check="clock",
        found=f"{int(apart.total_seconds())} s apart",
        verdict="Failed" if apart >= _TOLERATED else "Warning",
        follows="beyond 15 minutes every request is refused (RequestTimeTooSkewed)",
        fix="let this machine and the store follow NTP",
    )


def addressing(scratch: Scratch) -> Finding:
    """Say whether the other way to name the bucket works as well; only the one that is set has to."""
    config = scratch.config
    mine, other = ("path", "virtual host") if config.force_path_style else ("virtual host", "path")
    if config.endpoint and not has_name(config.endpoint):
        return Finding(check="addressing", found=mine, follows="an address has no virtual hosts")
    flipped = config.model_copy(update={"force_path_style": not config.force_path_style})
    attempt = Scratch(s3_client(flipped, None, _QUICKLY), flipped, lambda: None).of_bucket("list_objects_v2", MaxKeys=1)
    works = attempt.worked or attempt.code == "AccessDenied"
    return Finding(check="addressing", found=f"{mine} ({other}: {'works, too' if works else attempt.says()})")
