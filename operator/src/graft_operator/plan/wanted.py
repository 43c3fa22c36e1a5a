"""The wanted set of one serving revision: what its pods are to load, and where each alias points.

During a base bump two revisions of one base stand side by side behind one Service. Each adapter is routed on the
revision of its version; the other revision forwards requests for it, so a client never has to know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graft_operator.api.adapter_status import ServedVersion
from graft_operator.plan import canary
from graft_operator.plan.observed import AdapterOfBase
from graft_operator.plan.slots import place

SCHEMA = "graft.dev/wanted/v1"


def wanted_set(
    base_name: str,
    digest: str,
    *,
    forward_base_to: str | None,
    adapters: Sequence[AdapterOfBase],
    service_urls: Mapping[str, str],
    places: int,
) -> dict[str, Any]:
    """Return the document of docs/contracts.md §6 for the revision ``digest``.

    ``service_urls`` maps the base digest of every revision that is served to the URL of its own Service; ``places`` is
    the number of versions that a pod may hold.
    """
    placed = place(adapters, digest, places).versions
    entries = [
        adapter_entry(adapter, placed.get(adapter.name, ()), digest, service_urls)
        for adapter in sorted(adapters, key=lambda item: item.name)
    ]
    return {
        "schema": SCHEMA,
        "base": {"name": base_name, "digest": digest, "forwardTo": forward_base_to},
        "adapters": [entry for entry in entries if entry is not None],
    }


def adapter_entry(
    adapter: AdapterOfBase, placed: Sequence[ServedVersion], digest: str, service_urls: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return what the revision is to do with one adapter; None where the adapter is not to be known at all.

    ``placed`` are those of its versions that the revision has places for.
    """
    if adapter.deleting or adapter.target is None:
        return None
    candidates = [version for version in (adapter.previous, adapter.target) if version is not None]
    local = [version for version in candidates if version in placed]
    return {
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
