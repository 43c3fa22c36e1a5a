"""The outcome of one check of the chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from graft_operator.api.adapter_status import FailedTrainings, RaisedRank, SkippedPreparation, TrainingProgress
from graft_operator.api.conditions import Fact, no, unknown, yes
from graft_operator.plan.actions import Action
from graft_registry.documents import StoredVersion

ACCEPTED: Final = yes("Accepted", "the spec is valid and everything that it refers to exists")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingDecision:
    """What the first check that had something to say has said."""

    accepted: Fact = ACCEPTED
    trained: Fact
    current: StoredVersion | None = None
    """The version that fulfils the spec, once there is one."""
    waiting: Fact | None = None
    """Work in progress or awaited: becomes Reconciling."""
    stalled: Fact | None = None
    """A person has to act."""
    progress: TrainingProgress | None = None
    failed: FailedTrainings | None = None
    """How trainings of the recipe have failed: becomes ``status.failedTrainings``."""
    skipped: SkippedPreparation | None = None
    """The preparation of its rows that is given up: becomes ``status.skippedPreparation``."""
    raised_rank: RaisedRank | None = None
    """The rank of the next version, where the current one failed its gate for want of rank."""
    actions: tuple[Action, ...] = ()
    requeue_after: float | None = None


def refused(reason: str, message: str) -> TrainingDecision:
    """Return the verdict on a spec that can't be carried out as it stands: a person has to act."""
    fact = no(reason, message)
    return TrainingDecision(accepted=fact, trained=unknown(reason), stalled=fact)
