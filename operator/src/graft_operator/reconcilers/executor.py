"""Carries out the actions of a plan. Every action is safe to repeat, so the next pass goes on after an error.

An error ends the pass, except that of a child that the API server refuses. Such a child is reported and left alone for
a while, and the other actions go on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, assert_never

from graft_operator.api.meta import ObjectMeta
from graft_operator.artifacts import Artifacts
from graft_operator.cluster import AlreadyExists, Cache, Cluster, ClusterError, Invalid
from graft_operator.cluster.cached_form import AUTOSCALED
from graft_operator.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    INFERENCE_POOLS,
    JOBS,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from graft_operator.controller_runtime.controller import TransientError
from graft_operator.manifests import labels
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
from graft_operator.reconcilers.refused_children import Content, Key, Outcome, Rejections, is_rejection
from graft_operator.routing import is_terminating
from graft_operator.telemetry import tracing
from graft_registry.digests import digest_of

log = logging.getLogger(__name__)

OWNED: Final[Mapping[str, Resource]] = {
    resource.kind: resource
    for resource in (
        CONFIG_MAPS,
        DEPLOYMENTS,
        INFERENCE_POOLS,
        JOBS,
        NETWORK_POLICIES,
        POD_DISRUPTION_BUDGETS,
        ROLES,
        ROLE_BINDINGS,
        SERVICES,
        SERVICE_ACCOUNTS,
    )
}

REPAIR_SECONDS: Final = 10.0
"""An object that others edit is applied again no sooner after the last time: they may be a controller like us."""

State = tuple[str, int]
"""Of an object: its uid, and what changes with its content."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What was applied of an object, and when; its state is what the API server made of it."""

    owner: Key
    digest: str
    time: float
    state: State


class ActionExecutor:
    """Does what plans ask for, on behalf of one object at a time."""

    def __init__(
        self, cluster: Cluster, cache: Cache, artifacts: Artifacts, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._artifacts = artifacts
        self._clock = clock
        self._applied: dict[Key, Applied] = {}
        self._rejections = Rejections(clock)

    async def carry_out(
        self,
        owner: Resource,
        body: Mapping[str, Any],
        actions: Iterable[Action],
        *,
        refused: Iterable[Rejection] = (),
    ) -> Outcome:
        """Carry out the actions in order, until one fails for a reason that passes by itself.

        ``body`` is the owner as it was read. ``refused`` are rejections of the plan's earlier actions, which some of
        these may have to wait for.
        """
        metadata = ObjectMeta.model_validate(body["metadata"])
        before, rejections, actions = tuple(refused), list[Rejection](), tuple(actions)
        delays: list[float] = []
        is_done = True
        for place, action in enumerate(actions):
            if waits(action, (*before, *rejections)) or (isinstance(action, EmitEvent) and not is_done):
                is_done = False  # an event would tell of what has not been done
                continue
            try:
                rejection, is_done = await self._attempt(action, owner, metadata, body)
            except TransientError as error:
                return Outcome(tuple(rejections), min(delays, default=None), error, actions[place:])
            if rejection is not None:
                rejections.append(rejection)
                delays.append(self._rejections.seconds_left((rejection.kind, metadata.namespace, rejection.name)))
            elif isinstance(action, ApplyObject) and (rest := self._seconds_to_repair(action.manifest)) is not None:
                delays.append(rest)
        return Outcome(tuple(rejections), min(delays, default=None))

    def forget(self, kind: str, namespace: str, name: str) -> None:
        """Forget what was applied for this owner, because it is gone."""
        for key in [key for key, applied in self._applied.items() if applied.owner == (kind, namespace, name)]:
            del self._applied[key]

    async def _attempt(
        self, action: Action, owner: Resource, metadata: ObjectMeta, body: Mapping[str, Any]
    ) -> tuple[Rejection | None, bool]:
        """Carry out one action. Return the rejection of its child, of now or of a try that it still rests from, and
        whether the action has changed anything."""
        child = child_of(action, metadata)
        if child is not None and (resting := self._rejections.resting(*child)) is not None:
            return resting, False
        try:
            is_done = await self._do(action, owner, metadata, body)
        except ClusterError as error:
            if child is None or not is_rejection(error):
                raise
            return self._rejections.remember(*child, error), False
        if child is not None:
            self._rejections.forget(child[0])
        if is_done:
            kind, _, name = child[0] if child is not None else ("", "", "")
            tracing.acted(type(action).__name__, kind, name)
        return None, is_done

    async def _do(self, action: Action, owner: Resource, metadata: ObjectMeta, body: Mapping[str, Any]) -> bool:
        """Carry out one action; return whether that has changed anything."""
        match action:
            case AddFinalizer(name):
                await self._set_finalizers(owner, metadata, [*metadata.finalizers, name])
            case RemoveFinalizer(name):
                await self._set_finalizers(owner, metadata, [item for item in metadata.finalizers if item != name])
            case CreateJob(manifest):
                return await self._create_job(manifest)
            case ApplyObject(manifest):
                return await self._apply(manifest, (owner.kind, metadata.namespace, metadata.name))
            case DeleteObject(kind, name, uid):
                return await self._delete(OWNED[kind], metadata.namespace, name, uid)
            case DeleteVersions():
                await self._artifacts.delete_adapter(metadata.namespace, metadata.name)
            case EmitEvent(kind, reason, message):
                self._cluster.record_event(
                    body, reason=reason, message=message, action="Reconcile", warning=kind == "Warning"
                )
            case _:
                assert_never(action)
        return True

    async def _set_finalizers(self, owner: Resource, metadata: ObjectMeta, finalizers: list[str]) -> None:
        # The test makes a write against an object that has changed since it was read a Conflict, not a lost update.
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": metadata.resource_version},
            {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
        ]
        await self._cluster.patch_json(owner, metadata.namespace, metadata.name, patch)

    async def _create_job(self, manifest: dict[str, Any]) -> bool:
        try:
            await self._cluster.create(JOBS, manifest)
        except AlreadyExists:
            # The name holds the recipe, so this is the Job that we want and have not heard of yet, or one that somebody
            # else has left behind: the watch tells which. It tells nothing of one that does not carry our label.
            metadata = manifest["metadata"]
            log.info("job exists already", extra={"job": metadata["name"]})
            if self._cache.get(JOBS, metadata["namespace"], metadata["name"]) is None:
                self._refuse_unlabelled(await self._cluster.get(JOBS, metadata["namespace"], metadata["name"]))
            return False
        return True

    @staticmethod
    def _refuse_unlabelled(job: Mapping[str, Any] | None) -> None:
        if job is not None and (job["metadata"].get("labels") or {}).get(labels.MANAGED_BY) != labels.MANAGER:
            raise Invalid(
                f"a Job of this name is there and does not carry label {labels.MANAGED_BY}={labels.MANAGER}: delete it,"
                " or give it the label"
            )

    async def _delete(self, resource: Resource, namespace: str, name: str, uid: str | None) -> bool:
        live = self._cache.get(resource, namespace, name)
        if live is not None and uid in (None, live["metadata"]["uid"]) and is_terminating(live):
            return False
        self._applied.pop((resource.kind, namespace, name), None)
        # A Job stays until its pods are gone, so that a recipe never has two trainers.
        propagation = "Foreground" if resource == JOBS else "Background"
        return await self._cluster.delete(resource, namespace, name, uid=uid, propagation=propagation)

    async def _apply(self, manifest: dict[str, Any], owner: Key) -> bool:
        """Apply an object, unless it is there and nobody has touched it since we last did."""
        key, digest, now = _key(manifest), digest_of(manifest), self._clock()
        known, live = self._applied.get(key), self._cache.get(OWNED[key[0]], *key[1:])
        if known is not None and known.digest == digest:
            is_ours = live is not None and (state_of(live) == known.state or is_autoscaled(live))
            if is_ours or now - known.time < REPAIR_SECONDS:
                return False
            what = "deleted" if live is None else "edited"
            log.info(f"{what} by somebody else, applied again", extra={"child": " ".join(key)})
        applied = await self._cluster.apply(OWNED[key[0]], manifest)
        self._applied[key] = Applied(owner, digest, now, state_of(applied))
        return True

    def _seconds_to_repair(self, manifest: dict[str, Any]) -> float | None:
        """Return seconds until an object that others have edited may be applied again; None where nobody has."""
        key = _key(manifest)
        known, live = self._applied.get(key), self._cache.get(OWNED[key[0]], *key[1:])
        if known is None or (live is not None and (state_of(live) == known.state or is_autoscaled(live))):
            return None
        return max(0.0, known.time + REPAIR_SECONDS - self._clock())


def state_of(live: Mapping[str, Any]) -> State:
    """Return what tells whether somebody has edited an object: its generation, or its version where it has none."""
    metadata = live["metadata"]
    return metadata.get("uid", ""), int(metadata.get("generation") or metadata.get("resourceVersion") or 0)


def is_autoscaled(live: Mapping[str, Any]) -> bool:
    """Whether an autoscaler has set the replicas, and would set them again."""
    return (live["metadata"].get("annotations") or {}).get(AUTOSCALED) == "true"


def child_of(action: Action, owner: ObjectMeta) -> tuple[Key, Content] | None:
    """Return the child that the action is about, and what it should be like; None for one that is about no child."""
    match action:
        case CreateJob(manifest) | ApplyObject(manifest):
            return _key(manifest), manifest
        case DeleteObject(kind, name, _):
            return (kind, owner.namespace, name), {}
        case _:
            return None


def _key(manifest: Mapping[str, Any]) -> Key:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata["namespace"], metadata["name"]
