"""The wanted set of one serving revision: what its pods are to load, and where each alias points.

During a base bump two revisions of one base stand side by side behind one Service. Each adapter is routed on the
revision of its version; the other revision forwards requests for it, so a client never has to know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graft_operator.api.adapter_status import ServedVersion
from graft_operator.manifests import naming
from graft_operator.manifests.workloads.serving import wanted_text
from graft_operator.plan.placement.places import Placement
from graft_operator.plan.placement.pods import Holders
from graft_operator.plan.rollout import canary
from graft_operator.plan.snapshot import AdapterOfBase, PodObserved

SCHEMA = "graft.dev/wanted/v1"

LIMIT_BYTES: Final = 1_000_000
"""The API server takes 1 MiB of data in a ConfigMap (MaxSecretSize in kubernetes/pkg/apis/core/types.go)."""

NEWCOMERS_BYTES: Final = 900_000
"""No new adapter is added beyond this: the rest is kept for rollouts, which add a version to adapters that are in."""

Entry = Mapping[str, Any]
"""What a wanted set says of one adapter."""


@dataclass(frozen=True, slots=True)
class WantedSet:
    """A wanted set that fits into its ConfigMap."""

    document: dict[str, Any]
    left_out: tuple[str, ...] = ()
    """The adapters that did not fit: they keep their former entry, or have none if they are new."""


def wanted_set(
    base_name: str,
    digest: str,
    *,
    forward_base_to: str | None,
    adapters: Sequence[AdapterOfBase],
    service_urls: Mapping[str, str],
    placement: Placement,
    peers: Sequence[PodObserved] = (),
    kept: Mapping[str, Entry] | None = None,
) -> dict[str, Any]:
    """Return the document of docs/contracts.md §6 for the revision ``digest``.

    ``service_urls`` maps the base digest of every revision that is served to the URL of its own Service. ``peers`` are
    the revision's pods, which ask one another for an adapter that not all of them hold. ``kept`` are the entries, by
    name, of adapters that go on as they were told, for it can't be told what is to become of them.
    """
    kept = kept or {}
    entries = [
        kept.get(adapter.name)
        if adapter.name in kept and not adapter.deleting
        else adapter_entry(adapter, placement, digest, service_urls)
        for adapter in sorted(adapters, key=lambda item: item.name)
    ]
    document = {
        "schema": SCHEMA,
        "base": {"name": base_name, "digest": digest, "forwardTo": forward_base_to},
        "adapters": [entry for entry in entries if entry is not None],
    }
    # Nobody asks them where every pod holds everything: then the set need not change whenever a pod does.
    return document | ({"peers": peers_of(peers, placement.holders.values())} if placement.holders else {})


def entries_of(document: Mapping[str, Any]) -> dict[str, Entry]:
    """Return the entries of a wanted set that was read back, by name; none where somebody has made it unreadable."""
    listed = document.get("adapters")
    entries = listed if isinstance(listed, list) else []
    return {
        entry["name"]: entry for entry in entries if isinstance(entry, Mapping) and isinstance(entry.get("name"), str)
    }


def within_limit(document: dict[str, Any], told: Mapping[str, Any], *, limit: int = LIMIT_BYTES) -> WantedSet:
    """Return as much of the set as fits; who is in ``told``, the set before, is never left out for others.

    An adapter whose rollout has no room stays as it was told. All others go on: one too many must not stop them.
    """
    if size_of(document) <= limit:
        return WantedSet(document)
    before, entries = entries_of(told), entries_of(document)
    fit = {name: before[name] for name in entries if name in before}
    used = size_of(document | {"adapters": list(fit.values())})
    growth = {name: size_of(entries[name]) - size_of(entry) for name, entry in fit.items()}
    for name in sorted(fit, key=lambda name: (growth[name], name)):  # who needs less makes room
        if growth[name] <= 0 or used + growth[name] <= limit:
            used += growth[name]
            fit[name] = entries[name]
    for name in sorted(entries.keys() - fit.keys()):
        size = size_of(entries[name]) + len(",")
        if used + size <= limit - (LIMIT_BYTES - NEWCOMERS_BYTES):
            used += size
            fit[name] = entries[name]
    adapters = [fit[name] for name in entries if name in fit]
    left_out = sorted(name for name, entry in entries.items() if fit.get(name) is not entry)
    return WantedSet(document | {"adapters": adapters}, tuple(left_out))


def size_of(document: Mapping[str, Any]) -> int:
    """Return the bytes of a wanted set, or of a part of one."""
    return len(wanted_text(document))


def adapter_entry(
    adapter: AdapterOfBase, placement: Placement, digest: str, service_urls: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return what the revision is to do with one adapter; None where the adapter is not to be known at all."""
    if adapter.deleting or adapter.target is None:
        return None
    candidates = [version for version in (adapter.previous, adapter.target) if version is not None]
    local = [version for version in candidates if version in placement.versions.get(adapter.name, ())]
    holders = placement.holders.get(adapter.name)
    entry = {
        "name": adapter.name,
        "versions": [_version(version) for version in local],
        "route": route(local, adapter.weight),
        "forwardTo": forward_to(candidates, digest, service_urls),
        "decision": {
            "target": adapter.target.number,
            "previous": adapter.previous.number if adapter.previous else None,
            "weight": adapter.weight,
        },
    }
    on_demand = {"onDemand": True} if adapter.on_demand else {}
    return entry | on_demand | scoring(adapter, local) | ({"pods": holders.names} if holders is not None else {})


def scoring(adapter: AdapterOfBase, local: Sequence[ServedVersion]) -> dict[str, Any]:
    """Return which versions are to answer the newer one's probes: where a limit depends on it, and both are there."""
    if not adapter.scores_probes or len(local) != 2 or local[0].number > local[1].number:
        return {}
    stable, candidate = local
    return {"scoring": {"candidate": candidate.number, "stable": stable.number}}


def peers_of(pods: Sequence[PodObserved], holders: Iterable[Holders] = ()) -> list[dict[str, str]]:
    """Return the pods that may be asked: one that is not ready would only cost the time until it is found out.

    Where no pod of an adapter is ready, all of them are told: the first one that comes up is found at once.
    """
    held = [(*item.chosen, *item.stand_ins) for item in holders]
    awaited = {pod.name for of_one in held if not any(pod.ready for pod in of_one) for pod in of_one}
    asked = [pod for pod in pods if pod.host and (pod.ready or pod.name in awaited)]
    return [{"name": pod.name, "url": naming.peer_url(pod.host)} for pod in sorted(asked, key=lambda pod: pod.name)]


def route(local: Sequence[ServedVersion], weight: int) -> list[dict[str, int]]:
    """Return who answers on the revision: the last version, but for the part of a canary's stable one before it."""
    if len(local) == 2 and weight < canary.ALL:
        stable, candidate = local
        return [_share(stable, canary.ALL - weight), _share(candidate, weight)]
    return [_share(version, canary.ALL) for version in local[-1:]]


def forward_to(candidates: Sequence[ServedVersion], digest: str, service_urls: Mapping[str, str]) -> str | None:
    """Return where a revision without an answer sends requests: to the oldest candidate, which has proven itself.

    A revision that holds the oldest one itself forwards to nobody. Were it to forward to the newer one while that
    one is not loaded everywhere, two revisions might send the same request to each other.
    """
    oldest = next((item.base_digest for item in candidates if item.base_digest in service_urls), digest)
    return service_urls.get(oldest) if oldest != digest else None


def _version(version: ServedVersion) -> dict[str, Any]:
    return {"number": version.number, "manifestDigest": version.digest}


def _share(version: ServedVersion, weight: int) -> dict[str, int]:
    return {"number": version.number, "weight": weight}
