"""Carrying out a plan. Every action is safe to repeat; an error stops the rest, and the next pass goes on.

A child that the API server refuses is no such error: it rests, is told of, and the rest goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, assert_never

from graft_operator.api.meta import ApiModel, ObjectMeta
from graft_operator.artifacts import Artifacts
from graft_operator.cluster.client import Cluster
from graft_operator.cluster.errors import AlreadyExists, ClusterError
from graft_operator.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    INFERENCE_POOLS,
    JOBS,
    POD_DISRUPTION_BUDGETS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from graft_operator.plan.actions import (
    Action,
    AddFinalizer,
    ApplyObject,
    CreateJob,
    DeleteObject,
    DeleteVersions,
    EmitEvent,
    RemoveFinalizer,
)
from graft_operator.plan.rejections import Rejection, waits
from graft_operator.plan.snapshot import DeploymentObserved
from graft_operator.reconcilers.rejections import Content, Key, Outcome, Rejections, is_rejection
from graft_registry.digests import digest_of

log = logging.getLogger(__name__)

OWNED: Final[Mapping[str, Resource]] = {
    resource.kind: resource
    for resource in (
        CONFIG_MAPS,
        DEPLOYMENTS,
        INFERENCE_POOLS,
        JOBS,
        POD_DISRUPTION_BUDGETS,
        ROLES,
        ROLE_BINDINGS,
        SERVICES,
        SERVICE_ACCOUNTS,
    )
}

REAPPLY_SECONDS: Final = 600.0
"""An object that nobody of us has changed is applied again this often, in case somebody else has."""

REPAIR_SECONDS: Final = 10.0
"""A Deployment that others edit is applied again no sooner after the last time: they may be a controller like us."""

JOB_SECONDS: Final = 3.0
"""A Job that was just created is looked at after so long, in case its own events get lost."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What was applied of an object, and when; its generation is what the API server made of it."""

    digest: str
    time: float
    generation: int


class Effects:
    """Does what plans ask for, on behalf of one object at a time."""

    def __init__(self, cluster: Cluster, artifacts: Artifacts, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._artifacts = artifacts
        self._clock = clock
        self._applied: dict[Key, Applied] = {}
        self._refusals = Rejections(clock)

    async def carry_out(self, owner: Resource, body: Mapping[str, Any], actions: Iterable[Action]) -> Outcome:
        """Carry out the actions in order. ``body`` is the owner as just read."""
        metadata = ObjectMeta.model_validate(body["metadata"])
        rejections: list[Rejection] = []
        delays: list[float] = []
        is_done = True
        for action in actions:
            if waits(action, rejections) or (isinstance(action, EmitEvent) and not is_done):
                is_done = False  # an event would tell of what has not been done
                continue
            rejection = await self._attempt(action, owner, metadata, body)
            is_done = rejection is None
            if rejection is not None:
                rejections.append(rejection)
                delays.append(self._refusals.seconds_left((rejection.kind, metadata.namespace, rejection.name)))
            elif isinstance(action, CreateJob):
                delays.append(JOB_SECONDS)
        return Outcome(tuple(rejections), min(delays, default=None))

    async def _attempt(
        self, action: Action, owner: Resource, metadata: ObjectMeta, body: Mapping[str, Any]
    ) -> Rejection | None:
        """Carry out one action; return the rejection if it is about a child that is refused, now or not long ago."""
        child = child_of(action, metadata)
        if child is not None and (resting := self._refusals.resting(*child)) is not None:
            return resting
        try:
            await self._do(action, owner, metadata, body)
        except ClusterError as error:
            if child is None or not is_rejection(error):
                raise
            return self._refusals.remember(*child, error)
        if child is not None:
            self._refusals.forget(child[0])
        return None

    async def write_status(self, owner: Resource, metadata: ObjectMeta, old: ApiModel, new: ApiModel | None) -> bool:
        """Write the status if it differs from what is stored; return whether it was written."""
        if new is None or new == old:
            return False
        await self._cluster.apply_status(owner, metadata.namespace, metadata.name, new.to_wire(), uid=metadata.uid)
        return True

    def forget(self, kind: str, namespace: str, name: str) -> None:
        """Apply an object that is missing, and the others of its name, again at the next opportunity.

        One that we have not applied, for it is new or refused, is missing for other reasons.
        """
        if (kind, namespace, name) in self._applied:
            for key in [key for key in self._applied if key[1:] == (namespace, name)]:
                del self._applied[key]

    def notice(self, namespace: str, live: Iterable[DeploymentObserved]) -> Outcome:
        """Apply those Deployments again at the next opportunity that others have edited since we last did.

        Not at once where an autoscaler has set the replicas: it would set them again. The outcome says when those
        are due whose last time was only a moment ago.
        """
        delays: list[float] = []
        for item in live:
            key = ("Deployment", namespace, item.name)
            known = self._applied.get(key)
            if known is None or known.generation == item.generation or item.autoscaled:
                continue
            if (rest := known.time + REPAIR_SECONDS - self._clock()) > 0:
                delays.append(rest)
                continue
            log.info("edited by somebody else, applied again", extra={"child": f"Deployment {namespace}/{item.name}"})
            del self._applied[key]
        return Outcome(requeue_after=min(delays, default=None))

    async def _do(self, action: Action, owner: Resource, metadata: ObjectMeta, body: Mapping[str, Any]) -> None:
        match action:
            case AddFinalizer(name):
                await self._set_finalizers(owner, metadata, [*metadata.finalizers, name])
            case RemoveFinalizer(name):
                await self._set_finalizers(owner, metadata, [item for item in metadata.finalizers if item != name])
            case CreateJob(manifest):
                await self._create_job(manifest)
            case ApplyObject(manifest):
                await self._apply(manifest)
            case DeleteObject(kind, name, uid):
                self._applied.pop((kind, metadata.namespace, name), None)
                # A Job stays until its pods are gone, so that a recipe never has two trainers.
                propagation = "Foreground" if kind == "Job" else "Background"
                await self._cluster.delete(OWNED[kind], metadata.namespace, name, uid=uid, propagation=propagation)
            case DeleteVersions():
                await self._artifacts.delete_adapter(metadata.namespace, metadata.name)
            case EmitEvent(kind, reason, message):
                await self._cluster.create_event(
                    body, reason=reason, message=message, action="Reconcile", warning=kind == "Warning"
                )
            case _:
                assert_never(action)

    async def _set_finalizers(self, owner: Resource, metadata: ObjectMeta, finalizers: list[str]) -> None:
        # The test makes a write against an object that has changed since it was read a Conflict, not a lost update.
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": metadata.resource_version},
            {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
        ]
        await self._cluster.patch_json(owner, metadata.namespace, metadata.name, patch)

    async def _create_job(self, manifest: dict[str, Any]) -> None:
        name = manifest["metadata"]["name"]
        try:
            await self._cluster.create(JOBS, manifest)
        except AlreadyExists:
            # The name holds the recipe, so this is the Job that we want, or one that an owner of the same name has left
            # behind and that the garbage collector is about to take; the next pass sees which.
            log.info("job exists already", extra={"job": name})

    async def _apply(self, manifest: dict[str, Any]) -> None:
        metadata = manifest["metadata"]
        key = (manifest["kind"], metadata["namespace"], metadata["name"])
        digest, now = digest_of(manifest), self._clock()
        known = self._applied.get(key)
        if known is not None and known.digest == digest and now - known.time < REAPPLY_SECONDS:
            return
        live = await self._cluster.apply(OWNED[manifest["kind"]], manifest)
        self._applied[key] = Applied(digest, now, live.get("metadata", {}).get("generation", 0))


def child_of(action: Action, owner: ObjectMeta) -> tuple[Key, Content] | None:
    """Return the child that the action is about, and what it should be like; None for one that is about no child."""
    match action:
        case CreateJob(manifest) | ApplyObject(manifest):
            return (manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"]), manifest
        case DeleteObject(kind, name, _):
            return (kind, owner.namespace, name), {}
        case _:
            return None
