"""Which versions one revision of a base may hold, when there are more than it has places for.

Places are given in this order: what is served already; adapters that are not served yet; versions that roll out beside
the one that they replace; and versions that are kept for a rollback. Only the last two may use the headroom that the
engine has on top. Among equals it is first come, first served, so that nobody loses a place to a newcomer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from graft_operator.api.adapter_status import ServedVersion
from graft_operator.api.base_serving import ROLLOUT_HEADROOM
from graft_operator.plan import canary
from graft_operator.plan.observed import AdapterOfBase


class Claim(IntEnum):
    """Why a version is to be loaded, the strongest reason first."""

    SERVED = 0
    NEW = 1
    CANDIDATE = 2
    KEPT = 3


@dataclass(frozen=True, slots=True)
class Placement:
    """The versions that are loaded, by adapter, and the adapters whose target has no place."""

    versions: Mapping[str, tuple[ServedVersion, ...]]
    waiting: tuple[str, ...]


def place(adapters: Iterable[AdapterOfBase], digest: str, places: int) -> Placement:
    """Give the places of the revision ``digest`` away. ``places`` is the base's ``serving.maxLoadedAdapters``.

    A served version keeps its place even when there are fewer places than that: the engine then swaps, and answers.
    """
    room = {Claim.NEW: places, Claim.CANDIDATE: places + ROLLOUT_HEADROOM, Claim.KEPT: places + ROLLOUT_HEADROOM}
    placed: defaultdict[str, list[ServedVersion]] = defaultdict(list)
    waiting, taken = [], 0
    for claim, adapter, version in sorted_claims(adapters, digest):
        if claim is Claim.SERVED or taken < room[claim]:
            placed[adapter.name].append(version)
            taken += 1
        elif claim is not Claim.KEPT:
            waiting.append(adapter.name)
    return Placement({name: tuple(versions) for name, versions in placed.items()}, tuple(sorted(waiting)))


def sorted_claims(
    adapters: Iterable[AdapterOfBase], digest: str
) -> Sequence[tuple[Claim, AdapterOfBase, ServedVersion]]:
    """Return who wants what on the revision, in the order in which places are given."""
    claims = [
        (claim_of(adapter, version), adapter, version)
        for adapter in adapters
        if not adapter.deleting
        for version in (adapter.previous, adapter.target)
        if version is not None and version.base_digest == digest
    ]
    return sorted(claims, key=lambda item: (item[0], began(item[1]), item[1].name))


def claim_of(adapter: AdapterOfBase, version: ServedVersion) -> Claim:
    """Return why the version is to be loaded."""
    progress, is_target = adapter.progress, version == adapter.target
    if progress is None:
        return Claim.SERVED
    if progress.weight == canary.ALL and progress.step_time is not None:
        return Claim.SERVED if is_target else Claim.KEPT
    if not is_target:
        return Claim.SERVED
    beside = adapter.previous is not None and adapter.previous.base_digest == version.base_digest
    return Claim.CANDIDATE if beside else Claim.NEW


def began(adapter: AdapterOfBase) -> float:
    """Return when the adapter's target was decided, as a Unix time; 0 where that is over and done with."""
    return adapter.progress.start_time.timestamp() if adapter.progress else 0.0
