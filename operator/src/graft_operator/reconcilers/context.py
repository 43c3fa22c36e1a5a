"""What every reconciler works with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from graft_operator.agents import Agents
from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.api.base_model import BaseModelStatus
from graft_operator.api.conditions import Fact
from graft_operator.api.meta import ObjectMeta
from graft_operator.artifacts import Artifacts, RegistryError, RegistryUnavailable
from graft_operator.cluster.client import Cluster
from graft_operator.cluster.errors import Forbidden, Invalid, NamespaceTerminating
from graft_operator.cluster.resources import Resource
from graft_operator.manifests.platform import Platform
from graft_operator.plan.actions import RemoveFinalizer
from graft_operator.plan.events import status_events
from graft_operator.plan.rejections import Rejection, with_rejections
from graft_operator.reconcilers.effects import Effects
from graft_operator.reconcilers.problems import invalid_spec, object_refused, registry_trouble, with_problem

Status = TypeVar("Status", LoraAdapterStatus, BaseModelStatus)
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Context:
    """The outside world, as reconcilers reach it."""

    cluster: Cluster
    artifacts: Artifacts
    agents: Agents
    effects: Effects
    platform: Platform
    clock: Callable[[], datetime]

    async def tell(
        self, kind: Resource, body: Body, old: Status, new: Status, rejections: Sequence[Rejection] = ()
    ) -> None:
        """Write the status if it says something new, and post the events of what has changed."""
        metadata = ObjectMeta.model_validate(body["metadata"])
        if rejections:
            generation = new.observed_generation
            told = with_rejections(old.conditions, new.conditions, rejections, generation=generation, now=self.clock())
            new = new.model_copy(update={"conditions": told})
        if await self.effects.write_status(kind, metadata, old, new):
            await self.effects.carry_out(kind, body, status_events(old, new))

    async def refuse(
        self, kind: Resource, body: Body, error: ValidationError, status: type[Status], finalizer: str
    ) -> None:
        """Say what is wrong with a spec. A changed spec comes back by its own event."""
        metadata = ObjectMeta.model_validate(body["metadata"])
        if metadata.is_deleting and finalizer in metadata.finalizers:
            # Nobody can tell what it asked for any more; holding it back would hold its namespace back.
            await self.effects.carry_out(kind, body, (RemoveFinalizer(finalizer),))
            return
        await self._tell_obstacle(kind, body, status, invalid_spec(error))

    @asynccontextmanager
    async def obstacles_told(self, kind: Resource, body: Body, status: type[Status]) -> AsyncIterator[None]:
        """Say on the object what keeps a pass from its end; the worker gets the error and tries again."""
        try:
            yield
        except RegistryUnavailable as error:
            await self._tell_obstacle(kind, body, status, registry_trouble(error, passes=True))
            raise
        except RegistryError as error:
            await self._tell_obstacle(kind, body, status, registry_trouble(error, passes=False))
            raise
        except NamespaceTerminating:
            raise
        except (Forbidden, Invalid) as error:
            await self._tell_obstacle(kind, body, status, object_refused(error))
            raise

    async def _tell_obstacle(self, kind: Resource, body: Body, status: type[Status], facts: Mapping[str, Fact]) -> None:
        metadata = ObjectMeta.model_validate(body["metadata"])
        old = status.model_validate(body.get("status", {}))
        conditions = with_problem(metadata, old.conditions, facts, self.clock())
        new = old.model_copy(update={"observed_generation": metadata.generation, "conditions": conditions})
        await self.tell(kind, body, old, new)
