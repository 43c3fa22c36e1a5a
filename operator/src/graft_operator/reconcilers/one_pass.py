"""One pass over one object: what goes wrong with a part of it is reported, and keeps no other part from being done."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from graft_operator.agents import Agents
from graft_operator.api.adapter_status import LoraAdapterStatus
from graft_operator.api.base_model import BaseModelStatus
from graft_operator.artifacts import Artifacts, RegistryError, RegistryUnavailable
from graft_operator.cluster import Cache, Cluster, Forbidden, Invalid, NotFound
from graft_operator.cluster.errors import NamespaceTerminating, Unavailable
from graft_operator.cluster.resources import Resource
from graft_operator.controller_runtime.controller import TransientError
from graft_operator.manifests.platform import Platform
from graft_operator.plan.actions import Action, ApplyObject, CreateJob, DeleteObject
from graft_operator.plan.rejections import Rejection, component_of
from graft_operator.reconcilers.executor import ActionExecutor
from graft_operator.reconcilers.failure_conditions import object_refused, registry_trouble
from graft_operator.reconcilers.refused_children import Outcome
from graft_operator.reconcilers.reporting import Reporter
from graft_operator.reconcilers.snapshots.dataset_digests import DatasetDigests
from graft_operator.reconcilers.snapshots.written_sets import WrittenSets

log = logging.getLogger(__name__)

Status = TypeVar("Status", LoraAdapterStatus, BaseModelStatus)
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The outside world, as passes reach it."""

    cluster: Cluster
    cache: Cache
    artifacts: Artifacts
    agents: Agents
    dataset_digests: DatasetDigests
    executor: ActionExecutor
    reporter: Reporter
    platform: Platform
    clock: Callable[[], datetime]
    written_sets: WrittenSets

    @asynccontextmanager
    async def reporting_errors(self, kind: Resource, body: Body, status: type[Status]) -> AsyncIterator[Pass]:
        """Make one pass. What ends it is said on the object; the worker gets the error and tries again.

        An object that goes meanwhile is no error: the pass ends, and what follows the block runs.
        """
        try:
            yield Pass(self, kind, body)
        except RegistryUnavailable as error:
            await self.reporter.problem(kind, body, status, registry_trouble(error, is_transient=True))
            raise
        except RegistryError as error:
            await self.reporter.problem(kind, body, status, registry_trouble(error, is_transient=False))
            raise
        except (NamespaceTerminating, TransientError):
            raise
        except NotFound as error:
            # The object, or its namespace, has gone while it was looked at: its event is on the way.
            log.info("gone meanwhile", extra={"error": str(error)})
        except (Forbidden, Invalid) as error:
            await self.reporter.problem(kind, body, status, object_refused(error))
            raise


@dataclass(slots=True)
class Pass:
    """What becomes of one plan's groups of actions, each of which is carried out whatever happens to the others."""

    dependencies: Dependencies
    kind: Resource
    body: Body
    outcomes: list[Outcome] = field(default_factory=list)
    problem: TransientError | None = None
    may_still_run: bool = False
    """Whether a deletion was put off: what it was to end may still run, and no trainer is started beside another."""
    failed: list[Rejection] = field(default_factory=list)
    """Children that could not be made for a reason that passes by itself, such as a webhook that is down."""

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """What the API server has refused, or could not take now."""
        return (*(item for outcome in self.outcomes for item in outcome.rejections), *self.failed)

    async def carry_out(self, actions: Sequence[Action]) -> None:
        """Carry out one group of actions; keep what goes wrong and passes by itself for :meth:`raise_problem`."""
        if self.problem is not None and self.may_still_run:
            self._put_off(actions, self.problem)
            return
        outcome = await self.dependencies.executor.carry_out(self.kind, self.body, actions, refused=self.rejections)
        self.outcomes.append(outcome)
        if outcome.problem is not None:
            self.problem = self.problem or outcome.problem
            self.may_still_run = any(isinstance(action, DeleteObject) for action in outcome.put_off)
            self._put_off(outcome.put_off, outcome.problem)

    def _put_off(self, actions: Sequence[Action], error: TransientError) -> None:
        """Tell of the Jobs among the actions that they are made later, and of any child that a server's fault concerns.

        An object that has changed meanwhile is applied with the next pass, which is no news.
        """
        told = CreateJob | ApplyObject if isinstance(error, Unavailable) else CreateJob
        manifests = [action.manifest for action in actions if isinstance(action, told)]
        self.failed += [
            Rejection(
                kind=item["kind"],
                name=item["metadata"]["name"],
                component=component_of(item),
                message=str(error),
                is_transient=True,
            )
            for item in manifests
        ]

    async def report(self, old: Status, new: Status) -> None:
        """Write the status, with what was refused put in."""
        await self.dependencies.reporter.status(self.kind, self.body, old, new, self.rejections)

    def raise_problem(self) -> None:
        """Raise what has gone wrong with a group of actions, now that all else is done."""
        if self.problem is not None:
            raise self.problem
