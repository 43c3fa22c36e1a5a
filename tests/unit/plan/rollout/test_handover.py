"""A change of serving.mode: what goes on being served, for how long, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from tests.builders import (
    NOW,
    PARITY,
    adapter,
    answering_pod,
    base_model,
    digest,
    on_pod,
    pod,
    recipe_of,
    seen,
    serving_revision,
    version,
)
from tests.unit.plan.rollout.merged_plan import applied_versions, plan

from graft_operator.api.adapter_status import (
    AdapterServingStatus,
    FormerServing,
    LoraAdapterStatus,
    RolloutProgress,
    ServedMode,
)
from graft_operator.api.base_model import BaseModel
from graft_operator.api.conditions import find
from graft_operator.manifests import naming
from graft_operator.plan.actions import CreateJob, DeleteObject
from graft_operator.plan.rollout.coverage import as_reached
from graft_operator.plan.rollout.plan import served
from graft_operator.plan.rollout.requeue import MOVING_SECONDS
from graft_operator.plan.snapshot import AdapterSnapshot, PodObserved
from graft_registry.documents import StoredVersion

PLAIN = version(1, recipe=recipe_of(adapter()))
MERGED = version(2, recipe=recipe_of(adapter(serving={"mode": "Merged"})), merge=PARITY)
NEWER = version(3, recipe=digest("newer rows"), merge=PARITY)
ENDPOINT = naming.merged_url("team-a", "support")
LONG_AGO, RECENTLY = NOW - timedelta(seconds=301), NOW - timedelta(seconds=10)
CROWDED = base_model(status={"serving": (serving_revision(waiting=("support",)),)})


@dataclass(frozen=True, kw_only=True)
class Given:
    """What is served and published; by default the engine serves version 1, and a merged model is asked for."""

    asked: str = "Merged"
    rollback_seconds: int = 300
    mode: ServedMode | None = "MultiAdapter"
    """Mode in force before this step, with its target."""
    target: StoredVersion = PLAIN
    previous: StoredVersion | None = None
    weight: int | None = None
    """The target's part of the requests while it rolls out."""
    former: tuple[ServedMode, StoredVersion] | None = None
    succeeded: datetime | None = None
    """Since when the target answers in place of the former version."""
    endpoint: str | None = None
    published: StoredVersion | None = None
    recipe: str | None = None
    """Another recipe than that of the spec."""
    base: BaseModel | None = None
    pods: tuple[PodObserved, ...] = (answering_pod(PLAIN),)
    merged_pods: tuple[PodObserved, ...] = ()

    def seen(self) -> AdapterSnapshot:
        """The same as the plan sees it."""
        spec = {"mode": self.asked, "rollout": {"rollbackWindowSeconds": self.rollback_seconds}}
        others = {"base": self.base, "recipe": self.recipe}
        return seen(
            adapter(status={"serving": self.serving()}, serving=spec),
            live=self.target,
            published=self.published,
            pods=self.pods,
            merged_pods=self.merged_pods,
            **{name: value for name, value in others.items() if value is not None},
        )

    def serving(self) -> AdapterServingStatus:
        """What the status says."""
        former = None
        if self.former is not None:
            mode, before = self.former
            former = FormerServing(mode=mode, version=served(before), succeeded_time=self.succeeded)
        return AdapterServingStatus(
            mode=self.mode,
            target=served(self.target),
            previous=served(self.previous) if self.previous else None,
            rollout=RolloutProgress(weight=self.weight, start_time=RECENTLY) if self.weight else None,
            former=former,
            endpoint=self.endpoint,
        )


@dataclass(frozen=True, kw_only=True)
class Expected:
    mode: ServedMode | None
    """Mode in force after this step, with its target."""
    target: int | None
    former: tuple[ServedMode, int] | None = None
    applies: int | None = None
    """Version that the Deployment of the merged model is told to serve."""
    deletes: bool = False
    """Whether that Deployment is ended."""
    trains: bool = False
    ready: tuple[str, int | None] = ("True", 1)
    """Whether something answers, and which version."""
    endpoint: str | None = None


ON_ENGINE = Given()
TO_MERGED = Given(mode="Merged", target=MERGED, former=("MultiAdapter", PLAIN), published=MERGED)
BOTH_ANSWER = replace(TO_MERGED, merged_pods=(answering_pod(MERGED),))
FOLLOWED = replace(BOTH_ANSWER, succeeded=LONG_AGO, endpoint=ENDPOINT)
TO_ENGINE = Given(
    asked="MultiAdapter",
    recipe=MERGED.manifest.recipe,
    mode="Merged",
    target=MERGED,
    endpoint=ENDPOINT,
    published=MERGED,
    pods=(),
    merged_pods=(answering_pod(MERGED),),
)
ENGINE_ANSWERS = replace(TO_ENGINE, mode="MultiAdapter", former=("Merged", MERGED), pods=(answering_pod(MERGED),))
BACK = replace(TO_MERGED, asked="MultiAdapter", published=PLAIN)

DECIDED = Expected(mode="Merged", target=2, former=("MultiAdapter", 1))
MADE = replace(DECIDED, applies=2)
MERGED_ALONE = Expected(mode="Merged", target=2, applies=2, ready=("True", 2), endpoint=ENDPOINT)
MERGED_GOES_ON = Expected(mode="MultiAdapter", target=2, former=("Merged", 2), applies=2, ready=("True", 2))
WENT_BACK = Expected(mode="MultiAdapter", target=1, former=("Merged", 2), applies=2)

CASES: dict[str, tuple[Given, Expected]] = {
    "to Merged: the engine goes on while the merged version is trained": (
        ON_ENGINE,
        Expected(mode="MultiAdapter", target=1, trains=True),
    ),
    "once there is one, that is in the status before anything is made": (
        replace(ON_ENGINE, published=MERGED),
        DECIDED,
    ),
    "then its Deployment is made beside the engine": (TO_MERGED, MADE),
    "when it answers, clients are told where, and the engine goes on for as long as they have to follow": (
        BOTH_ANSWER,
        replace(MADE, ready=("True", 2), endpoint=ENDPOINT),
    ),
    "then the alias leaves the engine": (FOLLOWED, MERGED_ALONE),
    "not while the merged model has stopped answering, however long ago it began to": (
        replace(FOLLOWED, merged_pods=(pod("merged", ready=False),)),
        replace(MADE, endpoint=ENDPOINT),
    ),
    "to MultiAdapter: a merged version holds the adapter, so nothing is trained and the Deployment goes on": (
        TO_ENGINE,
        replace(MERGED_GOES_ON, endpoint=ENDPOINT),
    ),
    "when the engine answers, the Deployment goes on for as long as clients have to follow": (
        ENGINE_ANSWERS,
        MERGED_GOES_ON,
    ),
    "then it ends": (
        replace(ENGINE_ANSWERS, succeeded=LONG_AGO, endpoint=None),
        replace(MERGED_GOES_ON, former=None, applies=None, deletes=True),
    ),
    "back before the merged model has answered: it is given up, and the engine goes on": (
        BACK,
        replace(WENT_BACK, former=None, applies=None, deletes=True),
    ),
    "back while both answer: the merged model ends when clients have had their time": (
        replace(BACK, merged_pods=(answering_pod(MERGED),), succeeded=RECENTLY, endpoint=ENDPOINT),
        WENT_BACK,
    ),
    "from a canary: what goes on is the version that has proven itself, not the one that is being tried": (
        replace(
            ON_ENGINE,
            target=NEWER,
            previous=PLAIN,
            weight=10,
            published=MERGED,
            pods=(pod("pod-1", on_pod(PLAIN), on_pod(NEWER), active=(1, 3)),),
        ),
        DECIDED,
    ),
    "from a first version that waits for a place: it needs none any more": (
        replace(ON_ENGINE, weight=100, base=CROWDED, published=MERGED, pods=(pod("pod-1"),)),
        replace(DECIDED, former=None, ready=("False", None)),
    ),
    "back while the merged model is renewed: whoever asks it has their time, too": (
        replace(
            BACK,
            target=NEWER,
            previous=MERGED,
            endpoint=ENDPOINT,
            merged_pods=(answering_pod(MERGED), pod("merged", on_pod(NEWER), ready=False)),
        ),
        WENT_BACK,
    ),
    "to None: what is asked for is that nothing is served": (
        replace(BACK, asked="None", endpoint=ENDPOINT),
        Expected(mode=None, target=None, deletes=True, ready=("True", None)),
    ),
    "from a release that did not write the mode down: an endpoint tells of a merged model": (
        replace(TO_ENGINE, recipe=None, mode=None, published=None),
        replace(MERGED_ALONE, trains=True),
    ),
}


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=CASES)
def test_a_step_of_a_change_of_mode(given: Given, expected: Expected) -> None:
    result = plan(given.seen())
    status = result.status
    assert isinstance(status, LoraAdapterStatus)
    serving = status.serving
    assert (serving.mode, serving.target.number if serving.target else None) == (expected.mode, expected.target)
    former = (serving.former.mode, serving.former.version.number) if serving.former else None
    assert former == expected.former
    applied = applied_versions(result)
    assert applied == ([] if expected.applies is None else [expected.applies])
    assert any(isinstance(action, DeleteObject) for action in result.actions) == expected.deletes
    assert any(isinstance(action, CreateJob) for action in result.extras) == expected.trains
    ready = find(status.conditions, "Ready")
    assert ready is not None
    assert (ready.status, status.served_version) == expected.ready
    assert serving.endpoint == expected.endpoint


def test_it_is_looked_again_as_soon_as_a_merged_model_may_be_made() -> None:
    assert plan(replace(ON_ENGINE, published=MERGED).seen()).requeue_after == 0


def test_it_is_looked_again_as_soon_as_what_was_before_is_reached() -> None:
    restarted = as_reached([replace(answering_pod(PLAIN), ready_time=NOW)], NOW)
    assert plan(replace(TO_MERGED, pods=restarted).seen()).requeue_after == MOVING_SECONDS


def test_it_is_looked_again_when_the_former_mode_is_to_end() -> None:
    assert plan(replace(FOLLOWED, succeeded=RECENTLY).seen()).requeue_after == 290


def test_a_former_mode_goes_on_for_a_moment_even_without_a_rollback_window() -> None:
    hasty = replace(FOLLOWED, succeeded=RECENTLY, rollback_seconds=0)
    assert plan(hasty.seen()).requeue_after == 20


def test_a_merged_model_waits_for_no_place_though_what_it_takes_over_from_does() -> None:
    status = plan(replace(TO_MERGED, base=CROWDED, pods=()).seen()).status
    assert isinstance(status, LoraAdapterStatus)
    told = find(status.conditions, "Served")
    assert told is not None
    assert told.reason == "RollingOut"
