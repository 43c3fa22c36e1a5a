"""The plan of one pod, case by case."""

from typing import Any

import pytest

from graft_serving.adapters.eviction import CachedFolder
from graft_serving.adapters.planning import (
    BringUp,
    Cancel,
    Drain,
    Evict,
    Observed,
    Plan,
    Retire,
    Step,
    Sweep,
    VersionObserved,
    first_pass_is_complete,
    plan,
)
from graft_serving.versions import Share, VersionKey, VersionState
from graft_serving.wanted.documents import WantedSet

V1, V2 = (VersionKey("support", number, f"sha256:{number:064x}") for number in (1, 2))
SALES = VersionKey("sales", 1, f"sha256:{9:064x}")
PROVEN = VersionObserved(state=VersionState.PROVEN, loaded=True)
ROUTE_1, ROUTE_2 = (Share(V1, 100),), (Share(V2, 100),)


def wanted(*adapters: dict[str, Any]) -> WantedSet:
    base = {"name": "tiny", "digest": "sha256:" + "0" * 64, "forwardTo": None}
    return WantedSet.model_validate({"schema": "graft.dev/wanted/v1", "base": base, "adapters": adapters})


def entry(*versions: VersionKey, route: VersionKey | None = None, forward_to: str | None = None) -> dict[str, Any]:
    return {
        "name": versions[0].adapter if versions else "support",
        "versions": [{"number": key.number, "manifestDigest": key.manifest_digest} for key in versions],
        "route": [{"number": route.number, "weight": 100}] if route else [],
        "forwardTo": forward_to,
    }


def seen(*adapters: dict[str, Any], **fields: Any) -> Observed:
    defaults: dict[str, Any] = {
        "versions": {},
        "routes": {},
        "engine_ready": True,
        "engine_names": {},
        "folders": (),
        "cache_bytes": 0,
    }
    return Observed(wanted=wanted(*adapters), **{**defaults, **fields})


def version(state: VersionState, **fields: Any) -> VersionObserved:
    return VersionObserved(state=state, **fields)


def folder(key: VersionKey) -> CachedFolder:
    return CachedFolder(key.directory_name, size=100, used_at=1.0)


OLD = folder(VersionKey("old", 1, f"sha256:{'f' * 64}"))

STEPS: dict[str, tuple[Observed, tuple[Step, ...]]] = {
    "A version that is new is brought up.": (seen(entry(V1, route=V1)), (BringUp(V1),)),
    "A version that is being brought up is left alone.": (
        seen(entry(V1), versions={V1: version(VersionState.FETCHING, busy=True)}),
        (),
    ),
    "A version is brought up even while the engine is down: its files can be fetched.": (
        seen(entry(V1), engine_ready=False),
        (BringUp(V1),),
    ),
    "A proven version needs nothing.": (seen(entry(V1), versions={V1: PROVEN}), ()),
    "A proven version that the engine has lost is brought up again.": (
        seen(entry(V1), versions={V1: version(VersionState.PROVEN, loaded=False)}),
        (BringUp(V1),),
    ),
    "While the engine is down nobody knows what it has lost.": (
        seen(entry(V1), versions={V1: version(VersionState.PROVEN, loaded=False)}, engine_ready=False),
        (),
    ),
    "A refused version stays refused.": (seen(entry(V1), versions={V1: version(VersionState.REFUSED)}), ()),
    "What an engine refused that has been started anew since is tried again.": (
        seen(entry(V1), versions={V1: version(VersionState.REFUSED, restarted_since_refusal=True)}),
        (BringUp(V1),),
    ),
    "But not before that one answers.": (
        seen(entry(V1), versions={V1: version(VersionState.REFUSED, restarted_since_refusal=True)}, engine_ready=False),
        (),
    ),
    "A failing version waits for its time.": (
        seen(entry(V1), versions={V1: version(VersionState.FAILING, retry_due=False)}),
        (),
    ),
    "A failing version is tried again when its time has come.": (
        seen(entry(V1), versions={V1: version(VersionState.FAILING)}),
        (BringUp(V1),),
    ),
    "A version with another digest is another version.": (
        seen(entry(VersionKey("support", 1, V2.manifest_digest)), versions={V1: version(VersionState.REFUSED)}),
        (Drain(V1), BringUp(VersionKey("support", 1, V2.manifest_digest))),
    ),
    "A version that nobody wants is drained.": (seen(versions={V1: PROVEN}), (Drain(V1),)),
    "A refused version that nobody wants goes the same way, for the sake of its files.": (
        seen(versions={V1: version(VersionState.REFUSED)}),
        (Drain(V1),),
    ),
    "A bring-up that nobody wants any more is stopped.": (
        seen(versions={V1: version(VersionState.LOADING, busy=True)}),
        (Cancel(V1),),
    ),
    "A draining version with requests under way waits for them.": (
        seen(versions={V1: version(VersionState.DRAINING, loaded=True, inflight=1)}),
        (),
    ),
    "A drained version is retired.": (
        seen(versions={V1: version(VersionState.DRAINING, loaded=True)}),
        (Retire(V1),),
    ),
    "A drained version stays on the disk while the engine can't confirm that it has forgotten it.": (
        seen(versions={V1: version(VersionState.DRAINING)}, engine_ready=False),
        (),
    ),
    "A version is retired once.": (seen(versions={V1: version(VersionState.DRAINING, busy=True)}), ()),
    "A version that could not be unloaded waits for its next try.": (
        seen(versions={V1: version(VersionState.DRAINING, retry_due=False)}),
        (),
    ),
    "A draining version that is wanted again is brought up again.": (
        seen(entry(V1), versions={V1: version(VersionState.DRAINING, loaded=True, inflight=1)}),
        (BringUp(V1),),
    ),
    "A version that has left the list but is still routed to stays until the alias has moved.": (
        seen(entry(V2, route=V2), versions={V1: PROVEN}, routes={"support": ROUTE_1}),
        (BringUp(V2),),
    ),
    "It is drained once the alias has moved.": (
        seen(entry(V2, route=V2), versions={V1: PROVEN, V2: PROVEN}, routes={"support": ROUTE_1}),
        (Drain(V1),),
    ),
    "A former route of an earlier life is brought up, so that its alias has an answer.": (
        seen(entry(V2, route=V2), versions={V2: version(VersionState.REFUSED)}, routes={"support": ROUTE_1}),
        (BringUp(V1),),
    ),
    "A name of an unknown version is swept, and its folder stays for as long as the engine has the name.": (
        seen(engine_names={"old--v1-00000000": f"/adapters/{OLD.name}"}, folders=(OLD,)),
        (Sweep(("old--v1-00000000",)),),
    ),
    "The folder of an unknown version is evicted when it has no room.": (seen(folders=(OLD,)), (Evict((OLD.name,)),)),
    "It stays, for a rollback, while it has room.": (seen(folders=(OLD,), cache_bytes=OLD.size), ()),
    "A folder of a known version is not evicted.": (seen(entry(V1), versions={V1: PROVEN}, folders=(folder(V1),)), ()),
    "A wanted version's folder isn't either before the version is known, so a restarted agent finds its files.": (
        seen(entry(V1), engine_names={V1.engine_name: f"/adapters/{V1.directory_name}"}, folders=(folder(V1),)),
        (BringUp(V1),),
    ),
    "Nothing is cleared away while the engine can't say what it has.": (
        seen(folders=(OLD,), engine_names={"old--v1-00000000": "/adapters/f"}, engine_ready=False),
        (),
    ),
    "One sweep at a time.": (
        seen(engine_names={"old--v1-00000000": "/adapters/f"}, sweeping=True),
        (),
    ),
}


@pytest.mark.parametrize(("situation", "steps"), STEPS.values(), ids=STEPS.keys())
def test_steps(situation: Observed, steps: tuple[Step, ...]) -> None:
    assert plan(situation).steps == steps


CANARY = entry(V1, V2) | {"route": [{"number": 1, "weight": 90}, {"number": 2, "weight": 10}]}
ROUTES: dict[str, tuple[Observed, dict[str, Any]]] = {
    "An alias has no route before its version is proven.": (seen(entry(V1, route=V1)), {}),
    "An alias points at its version once that is proven.": (
        seen(entry(V1, route=V1), versions={V1: PROVEN}),
        {"support": ROUTE_1},
    ),
    "An alias keeps its former route until the next one is proven.": (
        seen(
            entry(V1, V2, route=V2),
            versions={V1: PROVEN, V2: version(VersionState.PROVING, busy=True)},
            routes={"support": ROUTE_1},
        ),
        {"support": ROUTE_1},
    ),
    "An alias keeps its former route when the next one is refused.": (
        seen(
            entry(V1, V2, route=V2),
            versions={V1: PROVEN, V2: version(VersionState.REFUSED)},
            routes={"support": ROUTE_1},
        ),
        {"support": ROUTE_1},
    ),
    "On a new pod the proven part of a canary answers, so that it need not wait for the other.": (
        seen(CANARY, versions={V1: PROVEN, V2: version(VersionState.LOADING, busy=True)}),
        {"support": (Share(V1, 90),)},
    ),
    "A canary begins when both of its versions are proven.": (
        seen(CANARY, versions={V1: PROVEN, V2: PROVEN}, routes={"support": ROUTE_1}),
        {"support": (Share(V1, 90), Share(V2, 10))},
    ),
    "An alias moves when its next version is proven.": (
        seen(entry(V1, V2, route=V2), versions={V1: PROVEN, V2: PROVEN}, routes={"support": ROUTE_1}),
        {"support": ROUTE_2},
    ),
    "An alias keeps pointing at a version that the engine has just lost.": (
        seen(
            entry(V1, route=V1),
            versions={V1: version(VersionState.PENDING, busy=True)},
            routes={"support": ROUTE_1},
        ),
        {"support": ROUTE_1},
    ),
    "A former route to a version that is now refused is worth nothing.": (
        seen(entry(V1, V2, route=V2), versions={V1: version(VersionState.REFUSED)}, routes={"support": ROUTE_1}),
        {},
    ),
    "An alias whose wanted route is empty has none, though its versions stay loaded.": (
        seen(entry(V1), versions={V1: PROVEN}, routes={"support": ROUTE_1}),
        {},
    ),
    "An adapter that has left the set has no alias.": (seen(versions={V1: PROVEN}, routes={"support": ROUTE_1}), {}),
}


@pytest.mark.parametrize(("situation", "routes"), ROUTES.values(), ids=ROUTES.keys())
def test_routes(situation: Observed, routes: dict[str, Any]) -> None:
    assert plan(situation).routes == routes


FAILED_OFTEN = version(VersionState.FAILING, attempts=3, retry_due=False)
FIRST_PASSES: dict[str, tuple[Observed, bool]] = {
    "Nothing wanted is nothing to wait for.": (seen(), True),
    "A version that is still loading is waited for.": (
        seen(entry(V1, route=V1), versions={V1: version(VersionState.LOADING, busy=True)}),
        False,
    ),
    "A proven version is enough.": (seen(entry(V1, route=V1), versions={V1: PROVEN}), True),
    "A proven version that the engine has lost is not.": (
        seen(entry(V1, route=V1), versions={V1: version(VersionState.PROVEN)}),
        False,
    ),
    "A refused version is not waited for.": (
        seen(entry(V1, route=V1), versions={V1: version(VersionState.REFUSED)}),
        True,
    ),
    "A version without a route is not waited for.": (seen(entry(V1)), True),
    "A former route is good enough while the next version loads.": (
        seen(
            entry(V1, V2, route=V2),
            versions={V1: PROVEN, V2: version(VersionState.LOADING, busy=True)},
            routes={"support": ROUTE_1},
        ),
        True,
    ),
    "One version of a canary is not enough: its sessions of the other one would move.": (
        seen(CANARY, versions={V1: PROVEN, V2: version(VersionState.LOADING, busy=True)}),
        False,
    ),
    "A candidate that keeps failing doesn't keep the pod from serving its other version.": (
        seen(CANARY, versions={V1: PROVEN, V2: FAILED_OFTEN}),
        True,
    ),
    "A candidate that is refused doesn't either.": (
        seen(CANARY, versions={V1: PROVEN, V2: version(VersionState.REFUSED)}),
        True,
    ),
    "An alias that another Service answers is waited for all the same: that Service may be about to give it up.": (
        seen(entry(V1, route=V1, forward_to="http://blue:8000")),
        False,
    ),
    "A version that keeps failing is waited for while nothing else is served.": (
        seen(entry(V1, route=V1), versions={V1: FAILED_OFTEN}),
        False,
    ),
    "A version that keeps failing doesn't keep its sibling from being served.": (
        seen(entry(V1, route=V1), entry(SALES, route=SALES), versions={V1: FAILED_OFTEN, SALES: PROVEN}),
        True,
    ),
    "A version that has failed once is waited for.": (
        seen(
            entry(V1, route=V1),
            entry(SALES, route=SALES),
            versions={V1: version(VersionState.FAILING, attempts=1), SALES: PROVEN},
        ),
        False,
    ),
}


@pytest.mark.parametrize(("situation", "complete"), FIRST_PASSES.values(), ids=FIRST_PASSES.keys())
def test_first_pass(situation: Observed, complete: bool) -> None:
    decided: Plan = plan(situation)
    assert bool(first_pass_is_complete(situation, decided.routes)) is complete
