"""A child that the API server refuses, for a quota, a policy or because it is not valid: what waits, and what is said.

It holds up what would be of no use, or do harm, without it, and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from graft_operator.api.conditions import Condition, Fact, merge, no, yes
from graft_operator.manifests import labels
from graft_operator.manifests.jobs.concurrency_job import COMPONENT as CONCURRENCY_TEST
from graft_operator.manifests.jobs.preparation_job import COMPONENT as PREPARATION
from graft_operator.manifests.jobs.resolve_job import RESOLVE
from graft_operator.manifests.workloads.merged_model import MERGED
from graft_operator.manifests.workloads.serving import SERVING
from graft_operator.plan.actions import Action, ApplyObject, CreateJob
from graft_operator.plan.imports.looks import CONDITION as SOURCE_CHECKED

OBJECT_REFUSED: Final = "ObjectRefused"
INFERENCE_POOL: Final = "InferencePool"

CONDITIONS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "training": ("Trained", "UpToDate"),
    PREPARATION: ("Trained", "UpToDate"),
    "import": ("Resolved",),
    RESOLVE: (SOURCE_CHECKED,),
    MERGED: ("Served",),
    SERVING: ("ServingReady",),
    CONCURRENCY_TEST: ("ConcurrencyTested",),
    INFERENCE_POOL: ("GatewayReady",),
}
"""The conditions that a child's component decides, besides the summaries."""

CONDITIONS_OF_NEXT_JOB: Final = ("Trained", "UpToDate", "Resolved")
"""The conditions that wait for a Job, if it waits for the end of the one before."""

ASIDE: Final = frozenset({CONCURRENCY_TEST, INFERENCE_POOL})
"""What is served without these is whole all the same."""

SERVES: Final = frozenset({SERVING, MERGED})
"""Clients may not be told that they are served by what lacks a part."""

SUMMARIES: Final = frozenset({"Stalled", "Reconciling"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A child that the API server does not take as it should be, or does not let go."""

    kind: str
    name: str
    component: str = ""
    """What the child is for; empty where that is not known."""
    message: str
    """The API server's own words."""
    is_deletion: bool = False
    is_transient: bool = False
    """Whether it passes by itself: the API server, or a webhook that it asks, is away."""

    @property
    def part(self) -> str:
        """The component; an InferencePool, which belongs to the serving component, stands for itself."""
        return INFERENCE_POOL if self.kind == INFERENCE_POOL else self.component

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions that tell of it, besides the summaries."""
        if self.is_deletion:
            return CONDITIONS_OF_NEXT_JOB if self.kind == "Job" else ()
        return CONDITIONS_OF.get(self.part, ())

    @property
    def sentence(self) -> str:
        """What is refused, and why."""
        what = "the deletion of " if self.is_deletion else ""
        return f"the API server refuses {what}{self.kind} {self.name}: {self.message}; it is tried again"


def waits(action: Action, rejections: Iterable[Rejection]) -> bool:
    """Whether the action has to wait for what was refused before it.

    * A Deployment waits for its Service: its pods would take over from others, and nobody would reach them.
    * A distributed training waits for its Service: its pods would hold GPUs without finding one another.
    * Everything but an apply waits for a refused deletion: a trainer would start beside the one that should end, or a
      Deployment would be deleted before what belongs to it, of which nobody would know any more.
    """
    if isinstance(action, ApplyObject):
        kind, name = action.manifest["kind"], action.manifest["metadata"]["name"]
        return any(item.kind == "Service" and kind == "Deployment" and item.name == name for item in rejections)
    if isinstance(action, CreateJob):
        component = component_of(action.manifest)
        return any(item.is_deletion or (item.kind, item.component) == ("Service", component) for item in rejections)
    return any(item.is_deletion for item in rejections)


def component_of(manifest: Mapping[str, Any]) -> str:
    """Return what a child is for."""
    return str(manifest["metadata"].get("labels", {}).get(labels.COMPONENT, ""))


def with_rejections(
    old: Iterable[Condition],
    planned: Iterable[Condition],
    rejections: Sequence[Rejection],
    *,
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return the planned conditions with what is refused put in; ``old`` ones keep their times where they can."""
    before = tuple(old)
    facts = {item.type: Fact(item.status, item.reason, item.message) for item in planned}
    was_true = {item.type for item in before if item.status == "True"}
    return merge(before, facts | rejection_facts(facts, rejections, was_true), generation=generation, now=now)


def rejection_facts(
    planned: Mapping[str, Fact], rejections: Sequence[Rejection], was_true: Collection[str] = ()
) -> dict[str, Fact]:
    """Return the facts that differ from the planned ones.

    What is True stays so: it answers without the refused child, or without its update. But nothing comes to answer
    while a part of its serving is refused. Of several rejections each condition tells the first.
    """
    facts: dict[str, Fact] = {}
    for rejection in reversed(rejections):
        facts |= {kind: no(OBJECT_REFUSED, rejection.sentence) for kind in rejection.conditions}
    if grave := [rejection for rejection in rejections if rejection.part not in ASIDE]:
        facts |= summary_facts(grave, planned)
    lacks_a_part = any(rejection.part in SERVES for rejection in rejections)

    def differs(kind: str) -> bool:
        comes_true = lacks_a_part and kind in planned and kind not in was_true
        return kind in SUMMARIES or comes_true or is_open(planned.get(kind))

    return {kind: fact for kind, fact in facts.items() if differs(kind)}


def summary_facts(rejections: Sequence[Rejection], planned: Mapping[str, Fact]) -> dict[str, Fact]:
    """Return Ready, Stalled and Reconciling; a stall that has another cause stays told."""
    first, more = rejections[0], len(rejections) - 1
    message = f"{first.sentence} (and {more} more)" if more else first.sentence
    ready = {"Ready": no(OBJECT_REFUSED, message)}
    if not is_open(planned.get("Stalled")):
        return ready
    if all(rejection.is_transient for rejection in rejections):
        return ready | {"Stalled": no("Progressing"), "Reconciling": yes(OBJECT_REFUSED, message)}
    return ready | {"Stalled": yes(OBJECT_REFUSED, message), "Reconciling": no("Stalled")}


def is_open(planned: Fact | None) -> bool:
    """Whether a condition is set, and is not True."""
    return planned is not None and planned.status != "True"
