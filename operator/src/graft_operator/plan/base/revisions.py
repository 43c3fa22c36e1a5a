"""The revisions of a base that are served side by side: which are needed, what they are told, and when one may go.

What a revision needs of the registry, its digest and where its files are, is in the base's status from when it is first
served. So what is served is decided without the registry: only a revision that was never served waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graft_operator.api.base_model import (
    LEFT_OUT_KEPT,
    NOT_RESIDENT_KEPT,
    REVISIONS_SERVED,
    WAITING_KEPT,
    ResolvedBase,
    ServingRevision,
)
from graft_operator.api.conditions import Fact, no
from graft_operator.manifests import naming
from graft_operator.plan.actions import Action, DeleteObject
from graft_operator.plan.known import Known
from graft_operator.plan.placement.places import Placement
from graft_operator.plan.placement.wanted_set import WantedSet, entries_of, wanted_set, within_limit
from graft_operator.plan.snapshot import BaseSnapshot, DeploymentObserved
from graft_registry.documents import BaseManifest


@dataclass(frozen=True, slots=True)
class Needed:
    """The bases that are to be served, the current one first, and what keeps others from it."""

    served: tuple[str, ...]
    """Digests."""
    unserved: tuple[str, ...] = ()
    """Digests of those that adapters need as well, and that are not served."""
    trouble: Fact | None = None
    """Why not."""


def needed_bases(seen: BaseSnapshot, resolved: ResolvedBase | None) -> list[str]:
    """Return the digests of the current base and of every base that an adapter is to be served on."""
    needed = [] if resolved is None else [resolved.digest]
    for adapter in seen.adapters:
        needed += [version.base_digest for version in (adapter.target, adapter.previous) if version is not None]
    needed += [digest for digest in seen.wanted if unreadable_on(seen, digest)]
    return list(dict.fromkeys(needed))


def unreadable_on(seen: BaseSnapshot, digest: str) -> list[str]:
    """Return the adapters that a revision holds and whose status can't be read: they stay where they are."""
    entries = entries_of(seen.wanted.get(digest, {}))
    return [name for name in sorted(seen.unreadable) if entries.get(name, {}).get("versions")]


def decide_revisions(seen: BaseSnapshot, resolved: ResolvedBase | None) -> Needed:
    """Return the bases to serve: those that adapters need, and those that can't go yet.

    Where there are more than one BaseModel may serve, those go on that are served already.
    """
    needed = needed_bases(seen, resolved)
    retiring = [item.base_digest for item in waiting_to_be_retired(seen, needed)]
    known = [digest for digest in dict.fromkeys([*needed, *retiring]) if source_of(seen, digest) is not None]
    current, served = known[:1], {item.digest for item in seen.base.status.serving}
    by_standing = [*current, *sorted(known[1:], key=lambda digest: digest not in served)]
    chosen = set(by_standing[:REVISIONS_SERVED])
    unserved = tuple(digest for digest in needed if digest not in chosen)
    return Needed(
        served=tuple(digest for digest in known if digest in chosen),
        unserved=unserved,
        trouble=trouble_of(seen, unserved, len(known)),
    )


def trouble_of(seen: BaseSnapshot, unserved: Sequence[str], known: int) -> Fact | None:
    """Return why bases that adapters need are not served; None where that is only a matter of time."""
    if lost := [digest for digest in unserved if digest in seen.lost_bases]:
        why = f"base {lost[0]} can't be served: {seen.lost_bases[lost[0]]}"
        return no(
            "BaseMissing",
            f"{why}; it is needed by {adapters_on(seen, lost[0])}: restore its manifest from a backup of the bucket, or"
            " have them trained on the current base (readaptation.policy Auto, and no spec.version)",
        )
    if known > REVISIONS_SERVED and unserved:
        waiting = adapters_on(seen, *unserved)
        return no(
            "TooManyRevisions",
            f"the adapters need {known} bases at once, and {REVISIONS_SERVED} are served; these wait: {waiting}. Have"
            " adapters that are pinned to an old base, or kept on it, trained on the current one",
        )
    return None


def adapters_on(seen: BaseSnapshot, *digests: str) -> str:
    """Return the names of the first adapters that are to be served on one of the bases."""
    names = sorted(
        item.name
        for item in seen.adapters
        if any(version and version.base_digest in digests for version in (item.target, item.previous))
    )
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def source_of(seen: BaseSnapshot, digest: str) -> ServingRevision | None:
    """Return what is known of a base that a revision needs: from the registry, or as the status tells of it.

    The Deployment's name and the counts are not filled in.
    """
    if (manifest := manifest_of(seen, digest)) is not None:
        claim = manifest.location.persistent_volume_claim
        name, path = (claim.claim_name, claim.path) if claim else (None, None)
        return ServingRevision(
            digest=digest, revision=manifest.revision, deployment="", claim_name=name, claim_path=path
        )
    status = seen.base.status
    if (served := next((item for item in status.serving if item.digest == digest), None)) is not None:
        return served
    if (resolved := status.resolved) is not None and resolved.digest == digest:
        return ServingRevision(
            digest=digest,
            revision=resolved.revision,
            deployment="",
            claim_name=resolved.claim_name,
            claim_path=resolved.claim_path,
        )
    return None


def manifest_of(seen: BaseSnapshot, digest: str) -> BaseManifest | None:
    """Return the registry's document on a base, where it is known."""
    current = seen.manifest.value if isinstance(seen.manifest, Known) else None
    return current if current is not None and current.digest == digest else seen.manifests.get(digest)


def waiting_to_be_retired(seen: BaseSnapshot, needed: Sequence[str]) -> list[DeploymentObserved]:
    """Return old revisions that must wait: until every needed one is up, and their own pods know where to forward."""
    up = {item.base_digest for item in seen.deployments if item.settled and item.ready_replicas >= item.replicas}
    all_up = all(digest in up for digest in needed) and bool(needed)
    return [
        item
        for item in seen.deployments
        if item.base_digest not in needed and not (all_up and only_forwards(seen, item))
    ]


def only_forwards(seen: BaseSnapshot, deployment: DeploymentObserved) -> bool:
    """Whether every pod of an old revision has applied a set in which nothing is routed locally any more."""
    own = [pod for pod in seen.pods if pod.base_digest == deployment.base_digest and pod.reachable]
    return all(not pod.active and not pod.versions for pod in own)


def serving_revision(seen: BaseSnapshot, digest: str, placement: Placement) -> ServingRevision:
    """Return the status entry of one revision. Raises ValueError for a base that nothing is known of."""
    known = source_of(seen, digest)
    if known is None:
        raise ValueError(f"nothing is known of base {digest}")
    name = naming.revision_name(seen.base.metadata.name, digest)
    deployment = next((item for item in seen.deployments if item.name == name), None)
    return ServingRevision(
        digest=digest,
        revision=known.revision,
        deployment=name,
        replicas=seen.base.spec.serving.replicas,
        ready_replicas=deployment.ready_replicas if deployment else 0,
        claim_name=known.claim_name,
        claim_path=known.claim_path,
        waiting=placement.waiting[:WAITING_KEPT],
        not_resident=placement.absent[:NOT_RESIDENT_KEPT],
    )


def wanted_of(
    seen: BaseSnapshot,
    revision: ServingRevision,
    revisions: Sequence[ServingRevision],
    placement: Placement,
    resolved: ResolvedBase | None,
) -> WantedSet:
    """Return the wanted set of one revision; an old one sends requests for the base itself to the current one."""
    namespace, name = seen.base.metadata.namespace, seen.base.metadata.name
    urls = {item.digest: naming.service_url(namespace, name, item.digest) for item in revisions}
    current = next((item for item in revisions if resolved is not None and item.digest == resolved.digest), None)
    current_is_up = current is not None and 0 < current.replicas <= current.ready_replicas
    forward = urls[current.digest] if current and current_is_up and current.digest != revision.digest else None
    told = seen.wanted.get(revision.digest, {})
    document = wanted_set(
        name,
        revision.digest,
        forward_base_to=forward,
        adapters=seen.adapters,
        service_urls=urls,
        placement=placement,
        peers=[pod for pod in (*seen.pods, *seen.leaving_pods) if pod.base_digest == revision.digest],
        kept={name: entry for name, entry in entries_of(told).items() if name in seen.unreadable},
    )
    return within_limit(document, told)


def with_left_out(revision: ServingRevision, names: Sequence[str]) -> ServingRevision:
    """Return the status entry with the adapters that its wanted set has no room for."""
    return revision.model_copy(update={"left_out": tuple(names[:LEFT_OUT_KEPT])}) if names else revision


def retirements(
    seen: BaseSnapshot, revisions: Sequence[ServingRevision], resolved: ResolvedBase | None
) -> list[Action]:
    """Return the deletions of revisions that nobody needs; without a resolved base nothing is retired."""
    if resolved is None:
        return []
    kept = {revision.deployment for revision in revisions}
    needed = set(needed_bases(seen, resolved))
    gone = [
        item
        for item in seen.deployments
        if item.name not in kept and item.base_digest not in needed and source_of(seen, item.base_digest) is not None
    ]
    return [
        action
        for item in gone
        for action in (
            DeleteObject("Service", item.name),
            DeleteObject("ConfigMap", item.name),
            DeleteObject("PodDisruptionBudget", item.name),
            DeleteObject("Deployment", item.name, item.uid),  # last: while it is there, the rest is tried again
        )
    ]
