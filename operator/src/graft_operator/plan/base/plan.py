"""The next step of one base: resolve its source, serve what its adapters need, retire what they don't."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from graft_operator.api.base_model import (
    NOT_RESIDENT_KEPT,
    WAITING_KEPT,
    AdapterCounts,
    BaseModelStatus,
    ResolvedBase,
    ServingRevision,
)
from graft_operator.api.conditions import no
from graft_operator.plan.actions import (
    Action,
    AddFinalizer,
    ApplyObject,
    CreateJob,
    DeleteObject,
    EmitEvent,
    Plan,
    RemoveFinalizer,
)
from graft_operator.plan.base.concurrency import decide_concurrency_test, served_adapters
from graft_operator.plan.base.conditions import base_conditions
from graft_operator.plan.base.gateway import decide_gateway
from graft_operator.plan.base.importing import RESOLVED, ImportDecision, decide_import
from graft_operator.plan.placement.demand import absent_on, demand_on
from graft_operator.plan.placement.places import Placement, place
from graft_operator.plan.placement.wanted_set import wanted_set
from graft_operator.plan.snapshot import BaseSnapshot, DeploymentObserved

IN_USE_FINALIZER: Final = "graft.dev/base-in-use"
"""A base stays until its last adapter is gone: without it the adapters would be served from nothing."""

SETTLING_SECONDS: Final = 2.0
"""How often pods are asked while a revision comes up or goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Builders:
    """The manifests that a plan puts together; pure, and given by the caller so that plans know nothing of images."""

    import_job: Callable[[BaseSnapshot], dict[str, Any]]
    concurrency_job: Callable[[BaseSnapshot, str, list[str]], dict[str, Any]]
    """The Job that tests what the digest is of, with these adapters."""
    shared: Callable[[BaseSnapshot, Sequence[ServingRevision]], Sequence[dict[str, Any]]]
    """Service, ServiceAccount, Role and RoleBinding of the base as a whole."""
    revision: Callable[[BaseSnapshot, ServingRevision, dict[str, Any]], Sequence[dict[str, Any]]]
    """ConfigMap with the wanted set, Service, PodDisruptionBudget and Deployment of one revision."""
    pod_selector: Callable[[BaseSnapshot, ServingRevision], str]
    """Label selector of a revision's pods, as a string."""
    deployment_name: Callable[[str, str], str]
    service_url: Callable[[str, str, str], str]


def plan_base(seen: BaseSnapshot, now: datetime, *, build: Builders) -> Plan:
    """Decide the next step for one base. Pure: no I/O, no clock, no randomness."""
    metadata = seen.base.metadata
    if metadata.is_deleting:
        return plan_base_deletion(seen, now, build)
    if IN_USE_FINALIZER not in metadata.finalizers:
        return Plan(actions=(AddFinalizer(IN_USE_FINALIZER),), requeue_after=0)
    imported = decide_import(seen, now)
    jobs: tuple[Action, ...] = imported.actions
    if imported.due:
        manifest = build.import_job(seen)
        event = EmitEvent("Normal", "ImportJobCreated", f"Job {manifest['metadata']['name']} is created")
        jobs = (*jobs, CreateJob(manifest), event)
    return serving_plan(seen, imported, now, build, jobs)


def plan_base_deletion(seen: BaseSnapshot, now: datetime, build: Builders) -> Plan:
    """A base with adapters stays and goes on serving; the last adapter's end is this one's too."""
    if IN_USE_FINALIZER not in seen.base.metadata.finalizers:
        return Plan()
    if not seen.adapters:
        return Plan(actions=(RemoveFinalizer(IN_USE_FINALIZER),))
    resolved = seen.base.status.resolved
    fact = RESOLVED if resolved else no("NotResolved", "the base is being deleted: its source is not resolved any more")
    return serving_plan(seen, ImportDecision(resolved=resolved, fact=fact), now, build, ())


def serving_plan(
    seen: BaseSnapshot, imported: ImportDecision, now: datetime, build: Builders, actions: tuple[Action, ...]
) -> Plan:
    """Apply what is to be served, retire what is not, and say what is true."""
    placements, next_look = place_all(seen, now)
    revisions = wanted_revisions(seen, imported.resolved, placements, build)
    objects: list[Action] = [ApplyObject(manifest) for manifest in build.shared(seen, revisions)] if revisions else []
    for revision in revisions:
        wanted = wanted_of(seen, revision, revisions, placements[revision.digest], imported.resolved, build)
        objects += [ApplyObject(manifest) for manifest in build.revision(seen, revision, wanted)]
    retired = retirements(seen, revisions, imported.resolved, build)
    unsettled = any(item.ready_replicas < item.replicas or not placements[item.digest].settled for item in revisions)
    needed = needed_bases(seen, imported.resolved)
    tested = decide_concurrency_test(seen, imported.resolved)
    if tested.due is not None:
        objects.append(CreateJob(build.concurrency_job(seen, tested.due, served_adapters(seen))))
    gateway = decide_gateway(seen)
    leftover = any(item.base_digest not in needed for item in seen.deployments)
    settling = SETTLING_SECONDS if unsettled or leftover else None
    delays = [imported.requeue_after, gateway.requeue_after, settling, next_look]
    status = BaseModelStatus(
        observed_generation=seen.base.metadata.generation,
        conditions=base_conditions(seen, imported, revisions, tested, gateway, now),
        resolved=imported.resolved,
        serving=tuple(revisions),
        adapters=count_adapters(seen, placements.values()),
        concurrency=tested.result,
        replicas=revisions[0].ready_replicas if revisions else 0,
        selector=build.pod_selector(seen, revisions[0]) if revisions else None,
        endpoint=build.service_url(seen.base.metadata.namespace, seen.base.metadata.name, "") if revisions else None,
    )
    return Plan(
        actions=(*actions, *objects, *tested.actions, *retired),
        extras=gateway.actions,
        status=status,
        requeue_after=min((delay for delay in delays if delay is not None), default=None),
    )


def place_all(seen: BaseSnapshot, now: datetime) -> tuple[dict[str, Placement], float | None]:
    """Return what the pods of each revision are to hold, and seconds until it has to be looked at anew, if ever."""
    all_pods, places = (*seen.pods, *seen.leaving_pods), seen.base.spec.serving.max_loaded_adapters
    placements: dict[str, Placement] = {}
    looks: list[float] = []
    demand_on_all = demand_on(seen.base, all_pods, now)
    for digest in seen.manifests:
        demand = replace(demand_on_all, absent=absent_on(seen.base, digest))
        pods = [pod for pod in all_pods if pod.base_digest == digest]
        placed = placements[digest] = place(seen.adapters, digest, places, pods, demand)
        resident = [item.name for item in seen.adapters if item.on_demand and item.name in placed.versions]
        if (look := demand.next_look(placed.absent, resident)) is not None:
            looks.append(look)
    return placements, min(looks, default=None)


def wanted_revisions(
    seen: BaseSnapshot, resolved: ResolvedBase | None, placements: Mapping[str, Placement], build: Builders
) -> list[ServingRevision]:
    """Return the revisions to serve: the current base first, then every base that an adapter still needs.

    A revision whose manifest is not to be had keeps its Deployment as it is, and is told about by its pods.
    """
    needed = needed_bases(seen, resolved)
    retiring = [item.base_digest for item in still_needed_for_others(seen, needed)]
    there = [digest for digest in [*needed, *retiring] if digest in seen.manifests]
    return [serving_revision(seen, digest, placements[digest], build) for digest in there]


def needed_bases(seen: BaseSnapshot, resolved: ResolvedBase | None) -> list[str]:
    """Return the digests of the current base and of every base that an adapter is to be served on."""
    needed = [] if resolved is None else [resolved.digest]
    for adapter in seen.adapters:
        needed += [version.base_digest for version in (adapter.target, adapter.previous) if version is not None]
    return list(dict.fromkeys(needed))


def still_needed_for_others(seen: BaseSnapshot, needed: Sequence[str]) -> list[DeploymentObserved]:
    """Return old revisions that must wait: until every needed one is up, and their own pods know where to forward."""
    up = {item.base_digest for item in seen.deployments if item.settled and item.ready_replicas >= item.replicas}
    all_up = all(digest in up for digest in needed) and bool(needed)
    return [
        item for item in seen.deployments if item.base_digest not in needed and not (all_up and forwards(seen, item))
    ]


def forwards(seen: BaseSnapshot, deployment: DeploymentObserved) -> bool:
    """Whether every pod of an old revision has applied a set in which nothing is routed locally any more."""
    own = [pod for pod in seen.pods if pod.base_digest == deployment.base_digest and pod.reachable]
    return all(not pod.active and not pod.versions for pod in own)


def serving_revision(seen: BaseSnapshot, digest: str, placement: Placement, build: Builders) -> ServingRevision:
    """Return the status entry of one revision."""
    manifest = seen.manifests[digest]
    claim = manifest.location.persistent_volume_claim
    name = build.deployment_name(seen.base.metadata.name, digest)
    deployment = next((item for item in seen.deployments if item.name == name), None)
    return ServingRevision(
        digest=digest,
        revision=manifest.revision,
        deployment=name,
        replicas=seen.base.spec.serving.replicas,
        ready_replicas=deployment.ready_replicas if deployment else 0,
        claim_name=claim.claim_name if claim else None,
        claim_path=claim.path if claim else None,
        waiting=placement.waiting[:WAITING_KEPT],
        not_resident=placement.absent[:NOT_RESIDENT_KEPT],
    )


def wanted_of(
    seen: BaseSnapshot,
    revision: ServingRevision,
    revisions: Sequence[ServingRevision],
    placement: Placement,
    resolved: ResolvedBase | None,
    build: Builders,
) -> dict[str, Any]:
    """Return the wanted set of one revision; an old one sends requests for the base itself to the current one."""
    namespace, name = seen.base.metadata.namespace, seen.base.metadata.name
    urls = {item.digest: build.service_url(namespace, name, item.digest) for item in revisions}
    current = next((item for item in revisions if resolved is not None and item.digest == resolved.digest), None)
    current_is_up = current is not None and 0 < current.replicas <= current.ready_replicas
    forward = urls[current.digest] if current and current_is_up and current.digest != revision.digest else None
    return wanted_set(
        name,
        revision.digest,
        forward_base_to=forward,
        adapters=seen.adapters,
        service_urls=urls,
        placement=placement,
        peers=[pod for pod in (*seen.pods, *seen.leaving_pods) if pod.base_digest == revision.digest],
    )


def retirements(
    seen: BaseSnapshot, revisions: Sequence[ServingRevision], resolved: ResolvedBase | None, build: Builders
) -> list[Action]:
    """Return the deletions of revisions that nobody needs; without a resolved base nothing is retired."""
    if resolved is None:
        return []
    kept = {revision.deployment for revision in revisions}
    gone = [item for item in seen.deployments if item.name not in kept and item.base_digest in seen.manifests]
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


def count_adapters(seen: BaseSnapshot, placements: Iterable[Placement]) -> AdapterCounts:
    """Count the adapters of the base by what they wait for."""
    placed = {name for placement in placements for name in placement.versions}
    return AdapterCounts(
        total=len(seen.adapters),
        up_to_date=sum(adapter.up_to_date for adapter in seen.adapters),
        readapting=sum(adapter.readapting for adapter in seen.adapters),
        blocked=sum(adapter.stalled for adapter in seen.adapters),
        on_demand=sum(adapter.on_demand for adapter in seen.adapters),
        not_resident=sum(
            adapter.on_demand and adapter.target is not None and adapter.name not in placed for adapter in seen.adapters
        ),
    )
