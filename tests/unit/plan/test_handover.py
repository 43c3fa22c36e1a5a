"""A change of serving.mode: what goes on being served, for how long, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

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
from tests.unit.plan.merged_plan import plan

from graft_operator.api.adapter_status import LoraAdapterStatus, ServedMode
from graft_operator.api.conditions import find
from graft_operator.manifests import naming
from graft_operator.plan.actions import ApplyObject, CreateJob, DeleteObject
from graft_operator.plan.observed import AdapterObserved
from graft_operator.plan.rollout import served
from graft_registry.documents import StoredVersion

SPECS: dict[str, dict[str, Any]] = {mode: {"serving": {"mode": mode}} for mode in ("MultiAdapter", "Merged", "None")}
PLAIN = version(1, recipe=recipe_of(adapter()))
MERGED = version(2, recipe=recipe_of(adapter(**SPECS["Merged"])), merge=PARITY)
NEWER = version(3, recipe=digest("newer rows"), merge=PARITY)
ENDPOINT = naming.merged_url("team-a", "support")
LONG_AGO, RECENTLY = NOW - timedelta(seconds=301), NOW - timedelta(seconds=10)

Former = tuple[ServedMode, StoredVersion] | tuple[ServedMode, StoredVersion, Any]


def subject(asked: str, mode: str | None = None, target: StoredVersion | None = None, **serving: Any) -> Any:
    """The adapter: the mode that its spec asks for, and the one in force with its target."""
    former: Former | None = serving.pop("former", None)
    if former is not None:
        time = former[2].isoformat() if len(former) == 3 else None
        serving["former"] = {"mode": former[0], "version": served(former[1]).to_wire(), "succeededTime": time}
    told = {"mode": mode} | ({"target": served(target).to_wire()} if target else {}) | serving
    return adapter(status={"serving": told}, **SPECS[asked])


def progress(weight: int) -> dict[str, Any]:
    """A rollout that has begun to give the target its part of the requests."""
    return {"weight": weight, "startTime": RECENTLY.isoformat()}


@dataclass(frozen=True, kw_only=True)
class Case:
    given: AdapterObserved
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


CASES: dict[str, Case] = {
    "to Merged: the engine goes on while the merged version is trained": Case(
        given=seen(subject("Merged", "MultiAdapter", PLAIN), live=PLAIN, pods=(answering_pod(PLAIN),)),
        mode="MultiAdapter",
        target=1,
        trains=True,
    ),
    "once there is one, that is in the status before anything is made": Case(
        given=seen(
            subject("Merged", "MultiAdapter", PLAIN), live=PLAIN, published=MERGED, pods=(answering_pod(PLAIN),)
        ),
        mode="Merged",
        target=2,
        former=("MultiAdapter", 1),
    ),
    "then its Deployment is made beside the engine": Case(
        given=seen(
            subject("Merged", "Merged", MERGED, former=("MultiAdapter", PLAIN)),
            live=MERGED,
            published=MERGED,
            pods=(answering_pod(PLAIN),),
        ),
        mode="Merged",
        target=2,
        former=("MultiAdapter", 1),
        applies=2,
    ),
    "when it answers, clients are told where, and the engine goes on for as long as they have to follow": Case(
        given=seen(
            subject("Merged", "Merged", MERGED, former=("MultiAdapter", PLAIN)),
            live=MERGED,
            published=MERGED,
            pods=(answering_pod(PLAIN),),
            merged_pods=(answering_pod(MERGED),),
        ),
        mode="Merged",
        target=2,
        former=("MultiAdapter", 1),
        applies=2,
        ready=("True", 2),
        endpoint=ENDPOINT,
    ),
    "then the alias leaves the engine": Case(
        given=seen(
            subject("Merged", "Merged", MERGED, former=("MultiAdapter", PLAIN, LONG_AGO), endpoint=ENDPOINT),
            live=MERGED,
            published=MERGED,
            pods=(answering_pod(PLAIN),),
            merged_pods=(answering_pod(MERGED),),
        ),
        mode="Merged",
        target=2,
        applies=2,
        ready=("True", 2),
        endpoint=ENDPOINT,
    ),
    "not while the merged model has stopped answering, however long ago it began to": Case(
        given=seen(
            subject("Merged", "Merged", MERGED, former=("MultiAdapter", PLAIN, LONG_AGO), endpoint=ENDPOINT),
            live=MERGED,
            published=MERGED,
            pods=(answering_pod(PLAIN),),
            merged_pods=(pod("merged", ready=False),),
        ),
        mode="Merged",
        target=2,
        former=("MultiAdapter", 1),
        applies=2,
        endpoint=ENDPOINT,
    ),
    "to MultiAdapter: a merged version holds the adapter, so nothing is trained and the Deployment goes on": Case(
        given=seen(
            subject("MultiAdapter", "Merged", MERGED, endpoint=ENDPOINT),
            recipe=MERGED.manifest.recipe,
            live=MERGED,
            published=MERGED,
            merged_pods=(answering_pod(MERGED),),
        ),
        mode="MultiAdapter",
        target=2,
        former=("Merged", 2),
        applies=2,
        ready=("True", 2),
        endpoint=ENDPOINT,
    ),
    "when the engine answers, the Deployment goes on for as long as clients have to follow": Case(
        given=seen(
            subject("MultiAdapter", "MultiAdapter", MERGED, former=("Merged", MERGED), endpoint=ENDPOINT),
            recipe=MERGED.manifest.recipe,
            live=MERGED,
            published=MERGED,
            pods=(answering_pod(MERGED),),
            merged_pods=(answering_pod(MERGED),),
        ),
        mode="MultiAdapter",
        target=2,
        former=("Merged", 2),
        applies=2,
        ready=("True", 2),
    ),
    "then it ends": Case(
        given=seen(
            subject("MultiAdapter", "MultiAdapter", MERGED, former=("Merged", MERGED, LONG_AGO)),
            recipe=MERGED.manifest.recipe,
            live=MERGED,
            published=MERGED,
            pods=(answering_pod(MERGED),),
            merged_pods=(answering_pod(MERGED),),
        ),
        mode="MultiAdapter",
        target=2,
        deletes=True,
        ready=("True", 2),
    ),
    "back before the merged model has answered: it is given up, and the engine goes on": Case(
        given=seen(
            subject("MultiAdapter", "Merged", MERGED, former=("MultiAdapter", PLAIN)),
            live=MERGED,
            published=PLAIN,
            pods=(answering_pod(PLAIN),),
        ),
        mode="MultiAdapter",
        target=1,
        deletes=True,
    ),
    "back while both answer: the merged model ends when clients have had their time": Case(
        given=seen(
            subject("MultiAdapter", "Merged", MERGED, former=("MultiAdapter", PLAIN, RECENTLY), endpoint=ENDPOINT),
            live=MERGED,
            published=PLAIN,
            pods=(answering_pod(PLAIN),),
            merged_pods=(answering_pod(MERGED),),
        ),
        mode="MultiAdapter",
        target=1,
        former=("Merged", 2),
        applies=2,
    ),
    "from a canary: what goes on is the version that has proven itself, not the one that is being tried": Case(
        given=seen(
            subject("Merged", "MultiAdapter", NEWER, previous=served(PLAIN).to_wire(), rollout=progress(10)),
            live=NEWER,
            published=MERGED,
            pods=(pod("pod-1", on_pod(PLAIN), on_pod(NEWER), active=(1, 3)),),
        ),
        mode="Merged",
        target=2,
        former=("MultiAdapter", 1),
    ),
    "from a first version that waits for a place: it needs none any more": Case(
        given=seen(
            subject("Merged", "MultiAdapter", PLAIN, rollout=progress(100)),
            base=base_model(status={"serving": (serving_revision(waiting=("support",)),)}),
            live=PLAIN,
            published=MERGED,
            pods=(pod("pod-1"),),
        ),
        mode="Merged",
        target=2,
        ready=("False", None),
    ),
    "back while the merged model is renewed: whoever asks it has their time, too": Case(
        given=seen(
            subject(
                "MultiAdapter",
                "Merged",
                NEWER,
                previous=served(MERGED).to_wire(),
                former=("MultiAdapter", PLAIN),
                endpoint=ENDPOINT,
            ),
            live=NEWER,
            published=PLAIN,
            pods=(answering_pod(PLAIN),),
            merged_pods=(answering_pod(MERGED), pod("merged", on_pod(NEWER), ready=False)),
        ),
        mode="MultiAdapter",
        target=1,
        former=("Merged", 2),
        applies=2,
    ),
    "to None: what is asked for is that nothing is served": Case(
        given=seen(
            subject("None", "Merged", MERGED, former=("MultiAdapter", PLAIN), endpoint=ENDPOINT),
            live=MERGED,
            published=PLAIN,
            pods=(answering_pod(PLAIN),),
        ),
        mode=None,
        target=None,
        deletes=True,
        ready=("True", None),
    ),
    "from a release that did not write the mode down: an endpoint tells of a merged model": Case(
        given=seen(
            subject("MultiAdapter", None, MERGED, endpoint=ENDPOINT),
            live=MERGED,
            merged_pods=(answering_pod(MERGED),),
        ),
        mode="Merged",
        target=2,
        applies=2,
        trains=True,
        ready=("True", 2),
        endpoint=ENDPOINT,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_step_of_a_change_of_mode(case: Case) -> None:
    result = plan(case.given)
    status = result.status
    assert isinstance(status, LoraAdapterStatus)
    serving = status.serving
    assert (serving.mode, serving.target.number if serving.target else None) == (case.mode, case.target)
    former = (serving.former.mode, serving.former.version.number) if serving.former else None
    assert former == case.former
    applied = [action.manifest["version"] for action in result.actions if isinstance(action, ApplyObject)]
    assert applied == ([] if case.applies is None else [case.applies])
    assert any(isinstance(action, DeleteObject) for action in result.actions) == case.deletes
    assert any(isinstance(action, CreateJob) for action in result.actions) == case.trains
    ready = find(status.conditions, "Ready")
    assert ready is not None
    assert (ready.status, status.served_version) == case.ready
    assert serving.endpoint == case.endpoint


def test_it_is_looked_again_as_soon_as_a_merged_model_may_be_made() -> None:
    given = seen(subject("Merged", "MultiAdapter", PLAIN), live=PLAIN, published=MERGED, pods=(answering_pod(PLAIN),))
    assert plan(given).requeue_after == 0


def test_it_is_looked_again_when_the_former_mode_is_to_end() -> None:
    given = seen(
        subject("Merged", "Merged", MERGED, former=("MultiAdapter", PLAIN, RECENTLY), endpoint=ENDPOINT),
        live=MERGED,
        published=MERGED,
        pods=(answering_pod(PLAIN),),
        merged_pods=(answering_pod(MERGED),),
    )
    assert plan(given).requeue_after == 290


def test_a_former_mode_goes_on_for_a_moment_even_without_a_rollback_window() -> None:
    hasty: dict[str, Any] = {"serving": {"mode": "Merged", "rollout": {"rollbackWindowSeconds": 0}}}
    told = subject("Merged", "Merged", MERGED, former=("MultiAdapter", PLAIN, RECENTLY), endpoint=ENDPOINT).status
    given = seen(
        adapter(status={"serving": told.serving}, **hasty),
        live=MERGED,
        published=MERGED,
        pods=(answering_pod(PLAIN),),
        merged_pods=(answering_pod(MERGED),),
    )
    assert plan(given).requeue_after == 20


def test_a_merged_model_waits_for_no_place_though_what_it_takes_over_from_does() -> None:
    given = seen(
        subject("Merged", "Merged", MERGED, former=("MultiAdapter", PLAIN)),
        base=base_model(status={"serving": (serving_revision(waiting=("support",)),)}),
        live=MERGED,
        published=MERGED,
    )
    status = plan(given).status
    assert isinstance(status, LoraAdapterStatus)
    told = find(status.conditions, "Served")
    assert told is not None
    assert told.reason == "RollingOut"
