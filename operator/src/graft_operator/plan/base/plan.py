"""The next step of one base: resolve its source, serve what its adapters need, retire what they don't."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from graft_operator.api.base_model import AdapterCounts, BaseModelStatus, ResolvedBase, ServingRevision
from graft_operator.api.conditions import no
from graft_operator.manifests import naming
from graft_operator.manifests.jobs.concurrency_job import concurrency_job_manifest
from graft_operator.manifests.jobs.import_job import import_job_manifest
from graft_operator.manifests.platform import Platform
from graft_operator.manifests.workloads.access import access_manifests
from graft_operator.manifests.workloads.anchor import anchor_manifest, anchor_name, anchored
from graft_operator.manifests.workloads.serving import (
    base_network_policy,
    pod_selector,
    revision_manifests,
    shared_service,
)
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
from graft_operator.plan.base.readaptation import decide_grants
from graft_operator.plan.base.revisions import (
    decide_revisions,
    needed_bases,
    retirements,
    serving_revision,
    unreadable_on,
    wanted_of,
    with_left_out,
)
from graft_operator.plan.placement.demand import absent_on, demand_on
from graft_operator.plan.placement.places import Placement, place
from graft_operator.plan.snapshot import BaseSnapshot

IN_USE_FINALIZER: Final = "graft.dev/base-in-use"
"""A base stays until its last adapter is gone: without it the adapters would be served from nothing."""

SETTLING_SECONDS: Final = 30.0
"""How often is looked while a revision comes up or goes, besides whenever there is news of its pods."""


def plan_base(seen: BaseSnapshot, now: datetime, platform: Platform) -> Plan:
    """Decide the next step for one base. Pure: no I/O, no clock, no randomness."""
    metadata = seen.base.metadata
    if metadata.is_deleting:
        return plan_base_deletion(seen, now, platform)
    if IN_USE_FINALIZER not in metadata.finalizers:
        anchor = ApplyObject(anchor_manifest(metadata))
        return Plan(actions=(AddFinalizer(IN_USE_FINALIZER), anchor), requeue_after=0)
    imported = decide_import(seen, now, platform)
    jobs: tuple[Action, ...] = ()
    if imported.due:
        manifest = import_job_manifest(seen.base, seen.source_digest, platform)
        event = EmitEvent("Normal", "ImportJobCreated", f"Job {manifest['metadata']['name']} is created")
        jobs = (CreateJob(manifest), event)
    return serving_plan(seen, imported, now, platform, jobs)


def plan_base_deletion(seen: BaseSnapshot, now: datetime, platform: Platform) -> Plan:
    """A base with adapters stays and goes on serving; the last adapter's end is this one's too."""
    metadata = seen.base.metadata
    if IN_USE_FINALIZER not in metadata.finalizers:
        return Plan()
    if not seen.adapters:
        # The anchor first: what it keeps would stay, if we ended in between.
        anchor = (DeleteObject("ConfigMap", anchor_name(metadata), seen.anchor_uid),) if seen.anchor_uid else ()
        return Plan(actions=(*anchor, RemoveFinalizer(IN_USE_FINALIZER)))
    resolved = seen.base.status.resolved
    fact = RESOLVED if resolved else no("NotResolved", "the base is being deleted: its source is not resolved any more")
    return serving_plan(seen, ImportDecision(resolved=resolved, fact=fact), now, platform, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPlan:
    """What is to be served, and on which pods."""

    revisions: tuple[ServingRevision, ...]
    placements: Mapping[str, Placement]
    objects: tuple[ApplyObject, ...]
    requeue_after: float | None


def serving_plan(
    seen: BaseSnapshot, imported: ImportDecision, now: datetime, platform: Platform, jobs: tuple[Action, ...]
) -> Plan:
    """Apply what is to be served, retire what is not, and say what is true; Jobs keep none of it from being done."""
    needed = decide_revisions(seen, imported.resolved)
    serving = plan_serving(seen, needed.served, imported.resolved, now, platform)
    revisions, base = serving.revisions, seen.base
    tested = decide_concurrency_test(seen, imported.resolved)
    if tested.due is not None:
        jobs = (*jobs, CreateJob(concurrency_job_manifest(base, tested.due, served_adapters(seen), platform)))
    gateway, grants = decide_gateway(seen), decide_grants(seen, now)
    status = BaseModelStatus(
        observed_generation=base.metadata.generation,
        conditions=base_conditions(seen, imported, revisions, needed.trouble, tested, gateway, now),
        resolved=imported.resolved,
        failed_imports=imported.failed,
        serving=revisions,
        readaptation=grants.status,
        adapters=count_adapters(seen, serving.placements.values()),
        concurrency=tested.result,
        replicas=revisions[0].ready_replicas if revisions else 0,
        selector=pod_selector(base, revisions[0]) if revisions else None,
        endpoint=naming.service_url(base.metadata.namespace, base.metadata.name) if revisions else None,
    )
    until_asked = None if grants.ask_again is None else max(0.0, (grants.ask_again - now).total_seconds())
    delays = [imported.requeue_after, gateway.requeue_after, serving.requeue_after, until_asked]
    retired = retirements(seen, revisions, imported.resolved)
    return Plan(
        actions=tuple(kept(seen, (*imported.actions, *serving.objects, *tested.actions, *retired))),
        extras=tuple(kept(seen, (*gateway.actions, *jobs))),
        status=status,
        requeue_after=min((delay for delay in delays if delay is not None), default=None),
    )


def kept(seen: BaseSnapshot, actions: Iterable[Action]) -> Iterator[Action]:
    """Return the actions, with the anchor as an owner of all that they apply; without it where it isn't there yet."""
    metadata, uid = seen.base.metadata, seen.anchor_uid
    for action in actions:
        if isinstance(action, ApplyObject) and uid and action.manifest["metadata"]["name"] != anchor_name(metadata):
            action = ApplyObject(anchored(action.manifest, metadata, uid))
        yield action


def plan_serving(
    seen: BaseSnapshot, digests: Sequence[str], resolved: ResolvedBase | None, now: datetime, platform: Platform
) -> ServingPlan:
    """Return what serves these bases, and what each is told."""
    placements, next_look = place_all(seen, digests, now)
    revisions = [serving_revision(seen, digest, placements[digest]) for digest in digests]
    objects: list[ApplyObject] = []
    if revisions:
        names = [revision.deployment for revision in revisions]
        access = platform.network_access
        policies = [base_network_policy(seen.base, access)] if access else []
        access_objects = access_manifests(seen.base, names)
        shared = (anchor_manifest(seen.base.metadata), *access_objects, shared_service(seen.base), *policies)
        objects = [ApplyObject(item) for item in shared]
    told: list[ServingRevision] = []
    for revision in revisions:
        wanted = wanted_of(seen, revision, revisions, placements[revision.digest], resolved)
        objects += [ApplyObject(item) for item in revision_manifests(seen.base, revision, wanted.document, platform)]
        told.append(with_left_out(revision, wanted.left_out))
    unsettled = any(item.ready_replicas < item.replicas or not placements[item.digest].settled for item in revisions)
    unanchored = bool(objects) and not seen.anchor_uid
    needed = needed_bases(seen, resolved)
    leftover = any(item.base_digest not in needed for item in seen.deployments)
    delays = [next_look, SETTLING_SECONDS if unsettled or leftover or unanchored else None]
    return ServingPlan(
        revisions=tuple(told),
        placements=placements,
        # First what the pods are told: nothing that is refused may keep a rollback from them.
        objects=tuple(sorted(objects, key=lambda item: item.manifest["kind"] != "ConfigMap")),
        requeue_after=min((delay for delay in delays if delay is not None), default=None),
    )


def place_all(seen: BaseSnapshot, digests: Sequence[str], now: datetime) -> tuple[dict[str, Placement], float | None]:
    """Return what the pods of each revision are to hold, and seconds until it has to be looked at anew, if ever."""
    all_pods, places = (*seen.pods, *seen.leaving_pods), seen.base.spec.serving.max_loaded_adapters
    placements: dict[str, Placement] = {}
    looks: list[float] = []
    demand_on_all = demand_on(seen.base, all_pods, now)
    for digest in digests:
        demand = replace(demand_on_all, absent=absent_on(seen.base, digest))
        pods = [pod for pod in all_pods if pod.base_digest == digest]
        free = max(0, places - len(unreadable_on(seen, digest)))
        placed = placements[digest] = place(seen.adapters, digest, free, pods, demand)
        resident = [item.name for item in seen.adapters if item.on_demand and item.name in placed.versions]
        if (look := demand.next_look(placed.absent, resident)) is not None:
            looks.append(look)
    return placements, min(looks, default=None)


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
