"""Saying on the objects what is true of them: status, conditions and events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.api.base_model import BaseModelStatus
from graft_operator.api.conditions import Condition, Fact
from graft_operator.api.meta import ObjectMeta
from graft_operator.cluster import Cluster
from graft_operator.cluster.resources import Resource
from graft_operator.plan.actions import RemoveFinalizer
from graft_operator.plan.events import status_events
from graft_operator.plan.rejections import Rejection, with_rejections
from graft_operator.reconcilers.executor import ActionExecutor
from graft_operator.reconcilers.failure_conditions import invalid_spec, unreadable_status, with_problem

Status = TypeVar("Status", LoraAdapterStatus, BaseModelStatus)
Body = Mapping[str, Any]


class Reporter:
    """Writes statuses, and the events of what has changed in them."""

    def __init__(self, cluster: Cluster, executor: ActionExecutor, clock: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._executor = executor
        self._clock = clock

    async def status(
        self, kind: Resource, body: Body, old: Status, new: Status, rejections: Sequence[Rejection] = ()
    ) -> None:
        """Write the status if it says something new, and post the events of what has changed.

        It is written over the version that it was decided from, and over no other: a decision of somebody else's, of a
        former leader or of its successor, is never taken back by a late write.
        """
        metadata = ObjectMeta.model_validate(body["metadata"])
        if rejections:
            generation = new.observed_generation
            told = with_rejections(old.conditions, new.conditions, rejections, generation=generation, now=self._clock())
            new = new.model_copy(update={"conditions": told})
        if new == old:
            return
        await self._cluster.apply_status(
            kind,
            metadata.namespace,
            metadata.name,
            new.to_wire(),
            uid=metadata.uid,
            version=metadata.resource_version or None,
        )
        (await self._executor.carry_out(kind, body, status_events(old, new))).raise_problem()

    async def invalid(
        self, kind: Resource, body: Body, error: ValidationError, status: type[Status], finalizer: str
    ) -> None:
        """Say what is wrong with a spec. A changed spec comes back by its own event."""
        metadata = ObjectMeta.model_validate(body["metadata"])
        if metadata.is_deleting and finalizer in metadata.finalizers:
            # Nobody can tell what it asked for any more; holding it back would hold its namespace back.
            (await self._executor.carry_out(kind, body, (RemoveFinalizer(finalizer),))).raise_problem()
            return
        is_ours = any(str(item["loc"][0]) == "status" for item in error.errors(include_url=False) if item["loc"])
        await self.problem(kind, body, status, unreadable_status(error) if is_ours else invalid_spec(error))

    async def problem(self, kind: Resource, body: Body, status: type[Status], facts: Mapping[str, Fact]) -> None:
        """Say what keeps a pass from its end; what is decided, runs and is served stays as it is.

        The generation that was observed stays, too: nothing has been decided about a newer one.
        """
        metadata = ObjectMeta.model_validate(body["metadata"])
        stored = body.get("status") or {}
        try:
            old = status.model_validate(stored)
        except ValidationError:
            await self._problem_beside(kind, metadata, stored, facts)
            return
        conditions = with_problem(metadata, old.conditions, facts, self._clock())
        await self.status(kind, body, old, old.model_copy(update={"conditions": conditions}))

    async def _problem_beside(
        self, kind: Resource, metadata: ObjectMeta, stored: Mapping[str, Any], facts: Mapping[str, Fact]
    ) -> None:
        """Set the conditions in a status that can't be parsed, and leave its other fields as they are."""
        try:
            old = tuple(map(Condition.model_validate, stored.get("conditions") or ()))
        except ValidationError:
            old = ()
        conditions = with_problem(metadata, old, facts, self._clock())
        if conditions == old:
            return
        told = {**stored, "conditions": [condition.to_wire() for condition in conditions]}
        await self._cluster.apply_status(
            kind,
            metadata.namespace,
            metadata.name,
            told,
            uid=metadata.uid,
            version=metadata.resource_version or None,
        )
