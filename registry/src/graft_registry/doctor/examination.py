"""All checks in their order, on one scratch prefix."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from graft_registry.config import RegistryConfig
from graft_registry.doctor.bucket_rules import bucket_rules
from graft_registry.doctor.connection import addressing, clock, reach
from graft_registry.doctor.lists import deletions, lists
from graft_registry.doctor.objects import Written, reads, right, writes
from graft_registry.doctor.parts import parts
from graft_registry.doctor.requests import Attempt, Scratch
from graft_registry.documents import Finding, StoreReport
from graft_registry.errors import Unavailable


def examine(client: Any, config: RegistryConfig, go_on: Callable[[], None], *, thoroughly: bool = False) -> StoreReport:
    """Try what the store and the key can do, and clean up.

    About 25 requests. ``thoroughly`` also tries what is only of use to whoever sets the registry up, and makes a report
    of a store that is not reached.

    Raises:
        Unavailable: the store does not answer; only where it is not examined thoroughly.
    """
    scratch = Scratch(client, config, go_on)
    listing = scratch.of_bucket("list_objects_v2", Prefix=scratch.prefix, MaxKeys=1)
    reached = reach(listing)
    if reached.verdict == "Failed" and not thoroughly and _may_pass(listing):
        raise listing.trouble(scratch.prefix)
    found: list[Finding] = [reached]
    if listing.headers:
        found.append(clock(listing, datetime.now(UTC)))
    conditional: bool | None = None
    if reached.verdict != "Failed":
        found.append(right("List", listing))
        conditional = _examine_objects(scratch, found)
        found += bucket_rules(scratch)
    if thoroughly:
        found.append(addressing(scratch))
    return StoreReport(
        endpoint=config.endpoint,
        bucket=config.bucket,
        prefix=config.prefix,
        conditional_writes=conditional,
        findings=tuple(found),
    )


def _examine_objects(scratch: Scratch, found: list[Finding]) -> bool | None:
    """Write, read, list and delete; whatever happens meanwhile, what was written is deleted."""
    written = Written((), None)
    try:
        written = writes(scratch)
        found += written.findings
        if written.conditional is not None:
            found += (*reads(scratch), *parts(scratch), *lists(scratch))
    finally:
        cleaned = deletions(scratch)
        found += cleaned if written.conditional is not None else ()
    return written.conditional


def _may_pass(listing: Attempt) -> bool:
    return isinstance(listing.trouble(""), Unavailable)
