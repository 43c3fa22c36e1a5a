"""Who answers, case by case."""

from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft_serving.proxy.routing import (
    Alias,
    AskPeers,
    Decision,
    Forward,
    NotFound,
    NotLoaded,
    Peer,
    RoutingTable,
    ToBase,
    ToVersion,
    Unavailable,
    in_turn,
    pick,
    pick_for_session,
    resolve,
    unknown,
)
from graft_serving.versions import Route, Share, VersionKey

V1, V2, V3 = (VersionKey("support", number, f"sha256:{number:064x}") for number in (1, 2, 3))
BLUE, PEER = "http://blue:8000", "http://tiny:8000"
PODS = tuple(Peer(f"tiny-{number}", f"http://10.0.0.{number}:8002") for number in (1, 2, 3))
LIVE = Alias(live=(Share(V1, 90), Share(V2, 10)))
KEPT = Alias(live=(Share(V2, 100),), loaded={1: V1, 2: V2})
ABSENT, LOADING = (Alias(on_demand=True, is_wanted=wanted) for wanted in (False, True))


def table(alias: Alias | None = None, **fields: object) -> RoutingTable:
    aliases = {} if alias is None else {"support": alias}
    return RoutingTable(**{"base_name": "tiny", "base_live": True, "aliases": aliases, **fields})  # type: ignore[arg-type]


CASES: dict[str, tuple[RoutingTable, str, bool, type[Decision] | Decision]] = {
    "An alias is answered by its version.": (table(LIVE), "support", False, ToVersion(V1)),
    "The base is answered under its own name.": (table(LIVE), "tiny", False, ToBase()),
    "An unknown name is not found.": (table(LIVE), "suport", False, NotFound),
    "An unknown name is not sent to a peer either.": (table(LIVE, peer=PEER), "suport", False, NotFound),
    "An engine's name of a version is not a model.": (table(LIVE), V1.engine_name, False, NotFound),
    "An alias without a live version is unavailable, never the base.": (table(Alias()), "support", False, Unavailable),
    "An alias without a live version is answered where it is said to be.": (
        table(Alias(forward_to=BLUE)),
        "support",
        False,
        Forward(BLUE),
    ),
    "A live version comes before any other Service.": (
        table(Alias(live=LIVE.live, forward_to=BLUE)),
        "support",
        False,
        ToVersion(V1),
    ),
    "An alias without a Service of its own is answered by a peer.": (
        table(Alias(), peer=PEER),
        "support",
        False,
        Forward(PEER),
    ),
    "The named Service comes before the peers.": (
        table(Alias(forward_to=BLUE), peer=PEER),
        "support",
        False,
        Forward(BLUE),
    ),
    "What was forwarded once is not forwarded again.": (
        table(Alias(forward_to=BLUE), peer=PEER),
        "support",
        True,
        Unavailable,
    ),
    "What was forwarded is answered if it can be.": (table(LIVE), "support", True, ToVersion(V1)),
    "An adapter of other pods is answered by one of them.": (
        table(Alias(peers=PODS), peer=PEER),
        "support",
        False,
        AskPeers(PODS, Unavailable(ANY)),
    ),
    "If they can't, another revision's Service is asked.": (
        table(Alias(peers=PODS, forward_to=BLUE), peer=PEER),
        "support",
        False,
        AskPeers(PODS, Forward(BLUE)),
    ),
    "What came from another revision goes to the pod that holds it, but not back.": (
        table(Alias(peers=PODS, forward_to=BLUE)),
        "support",
        True,
        AskPeers(PODS, Unavailable(ANY)),
    ),
    "An adapter that no pod holds is unavailable; asking the own Service would go in circles.": (
        table(Alias(peers=()), peer=PEER),
        "support",
        False,
        Unavailable,
    ),
    "A pod that holds an adapter of few pods answers.": (
        table(Alias(live=LIVE.live, peers=PODS)),
        "support",
        False,
        ToVersion(V1),
    ),
    "The base of an engine that is down is unavailable.": (table(base_live=False), "tiny", False, Unavailable),
    "The base of an engine that is down is answered by the other revision.": (
        table(base_live=False, base_forward_to=BLUE),
        "tiny",
        False,
        Forward(BLUE),
    ),
}


@pytest.mark.parametrize(("routes", "model", "forwarded", "expected"), CASES.values(), ids=CASES.keys())
def test_decision(routes: RoutingTable, model: str, *, forwarded: bool, expected: type[Decision] | Decision) -> None:
    decision = resolve(routes, model, session=None, draw=0.5, forwarded=forwarded)
    assert decision == expected or type(decision) is expected


VERSIONS: dict[str, tuple[RoutingTable, str, bool, type[Decision] | Decision]] = {
    "A version that is loaded answers under its own name.": (table(KEPT), "support@v2", False, ToVersion(V2, True)),
    "So does one that gets no requests otherwise.": (table(KEPT), "support@v1", False, ToVersion(V1, True)),
    "Another one never answers instead.": (table(KEPT, peer=PEER), "support@v3", False, NotFound),
    "One that is on its way is waited for, or had from another pod.": (
        table(Alias(live=KEPT.live, loaded=KEPT.loaded, coming={3: V3}), peer=PEER),
        "support@v3",
        False,
        Forward(PEER),
    ),
    "And from nowhere else by who was sent the request.": (
        table(Alias(live=KEPT.live, loaded=KEPT.loaded, coming={3: V3}), peer=PEER),
        "support@v3",
        True,
        Unavailable,
    ),
    "The other revision may have it.": (
        table(Alias(live=KEPT.live, loaded=KEPT.loaded, forward_to=BLUE)),
        "support@v3",
        False,
        Forward(BLUE),
    ),
    "What it sent on itself does not go back.": (
        table(Alias(live=KEPT.live, loaded=KEPT.loaded, forward_to=BLUE)),
        "support@v3",
        True,
        NotFound,
    ),
    "Pods that hold the adapter are asked.": (
        table(Alias(peers=PODS)),
        "support@v1",
        False,
        AskPeers(PODS, Unavailable(ANY)),
    ),
    "A pod whose engine is away leaves it to the Service.": (
        table(Alias(), peer=PEER),
        "support@v1",
        False,
        Forward(PEER),
    ),
    "One on demand is waited for.": (table(ABSENT), "support@v1", False, NotLoaded(ANY, may_wait=True)),
    "A version of no adapter is not found.": (table(KEPT), "suport@v1", False, NotFound),
    "The base has no versions.": (table(KEPT), "tiny@v1", False, NotFound),
    "Numbers have no zeros before them.": (table(KEPT), "support@v01", False, NotFound),
    "Nor are they digits of other scripts.": (table(KEPT), "support@v\u0661", False, NotFound),
    "Nothing stands behind them.": (table(KEPT), "support@v1\n", False, NotFound),
    "There is a number.": (table(KEPT), "support@v", False, NotFound),
    "And a name.": (table(KEPT), "@v1", False, NotFound),
}


@pytest.mark.parametrize(("routes", "model", "forwarded", "expected"), VERSIONS.values(), ids=VERSIONS.keys())
def test_a_version_that_a_request_names(
    routes: RoutingTable, model: str, *, forwarded: bool, expected: type[Decision] | Decision
) -> None:
    decision = resolve(routes, model, session="anybody", draw=0.5, forwarded=forwarded)
    assert decision == expected or type(decision) is expected


def test_who_asks_for_a_version_that_is_not_there_is_told_which_are() -> None:
    decision = resolve(table(KEPT), "support@v3", session=None, draw=0.5, forwarded=False)
    assert isinstance(decision, NotFound)
    assert "Loaded versions: support@v1, support@v2." in decision.message


ON_DEMAND = {
    "One without a place is waited for.": (table(ABSENT, peer=PEER), False, NotLoaded(ANY, may_wait=True)),
    "One that is being loaded, too: other pods load it at the same time.": (
        table(LOADING, peer=PEER),
        False,
        NotLoaded(ANY, may_wait=True),
    ),
    "Another revision that has it answers.": (
        table(Alias(on_demand=True, is_wanted=False, forward_to=BLUE)),
        False,
        Forward(BLUE),
    ),
    "What another pod has sent here by mistake does not wait.": (table(ABSENT), True, NotLoaded(ANY, may_wait=False)),
    "What another pod has sent here waits where the adapter is to be.": (
        table(LOADING),
        True,
        NotLoaded(ANY, may_wait=True),
    ),
    "While the engine is away any other pod may know better.": (
        table(LOADING, peer=PEER, base_live=False),
        False,
        Forward(PEER),
    ),
    "On few pods: those that hold it are asked, and wait.": (
        table(Alias(on_demand=True, is_wanted=False, peers=PODS)),
        False,
        AskPeers(PODS, otherwise=NotLoaded(ANY, may_wait=True)),
    ),
}


MISSING = {
    "nobody has it": (ABSENT, True),
    "it is on its way": (LOADING, True),
    "it is here": (Alias(live=LIVE.live, on_demand=True), False),
    "other pods have it": (Alias(on_demand=True, is_wanted=False, peers=PODS), False),
    "another revision has it": (Alias(on_demand=True, is_wanted=False, forward_to=BLUE), False),
    "it is loaded for good, and will come": (Alias(), False),
}


@pytest.mark.parametrize(("alias", "expected"), MISSING.values(), ids=MISSING)
def test_which_requests_the_operator_should_know_of(alias: Alias, *, expected: bool) -> None:
    assert alias.is_missing == expected


@pytest.mark.parametrize(("routes", "from_peer", "expected"), ON_DEMAND.values(), ids=ON_DEMAND)
def test_who_answers_for_one_that_is_loaded_on_demand(
    routes: RoutingTable, *, from_peer: bool, expected: Decision
) -> None:
    assert resolve(routes, "support", session=None, draw=0.5, forwarded=False, from_peer=from_peer) == expected


@pytest.mark.parametrize("alias", [Alias(peers=PODS), Alias(forward_to=BLUE), Alias(peers=PODS, forward_to=BLUE)])
def test_what_another_pod_has_sent_is_never_sent_on(alias: Alias) -> None:
    decision = resolve(table(alias, peer=PEER), "support", session=None, draw=0.5, forwarded=False, from_peer=True)
    assert isinstance(decision, Unavailable)


def test_single_requests_begin_with_every_pod_in_turn_and_a_session_always_with_the_same() -> None:
    assert {in_turn(PODS, None, draw)[0] for draw in (0.0, 0.34, 0.99)} == set(PODS)
    assert {in_turn(order, "user-1", 0.5) for order in (PODS, PODS[::-1])} == {in_turn(PODS, "user-1", 0.0)}
    assert {in_turn(PODS, f"user-{number}", 0.0)[0] for number in range(30)} == set(PODS)
    assert all(set(in_turn(PODS, session, 0.5)) == set(PODS) for session in (None, "user-1"))


@pytest.mark.parametrize(("draw", "version"), [(0.0, V1), (0.899, V1), (0.9, V2), (0.999999, V2)])
def test_the_draw_falls_into_the_part_of_a_version(draw: float, version: VersionKey) -> None:
    assert pick(LIVE.live, draw) == version


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=5), st.floats(0, 1, exclude_max=True))
def test_every_draw_picks_a_version_of_the_route(weights: list[int], draw: float) -> None:
    route = tuple(Share(VersionKey("a", number, ""), weight) for number, weight in enumerate(weights, 1))
    assert pick(route, draw) in {share.version for share in route}


SESSIONS = [f"user-{number}" for number in range(2000)]


def of_weights(*weights: int) -> Route:
    return tuple(
        Share(VersionKey("support", number, f"sha256:{number:064x}"), weight)
        for number, weight in enumerate(weights, 1)
        if weight
    )


def versions(route: Route) -> list[int]:
    return [pick_for_session(route, session).number for session in SESSIONS]


@pytest.mark.parametrize("weights", [(90, 10), (1, 1), (50, 30, 20)])
def test_sessions_are_split_by_weight(weights: tuple[int, ...]) -> None:
    picked = versions(of_weights(*weights))
    for number, weight in enumerate(weights, 1):
        expected = len(SESSIONS) * weight / sum(weights)
        assert picked.count(number) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(
    ("before", "after", "may_gain"),
    [
        pytest.param((90, 10), (50, 50), {2}, id="A canary that gets more takes sessions and gives none back."),
        pytest.param((90, 10), (0, 100), {2}, id="Its sessions stay with it when it has won."),
        pytest.param((50, 50), (100, 0), {1}, id="A canary that is rolled back gives its sessions back."),
        pytest.param((90, 0, 10), (90, 5, 10), {2}, id="A third version moves no session between the other two."),
    ],
)
def test_a_session_moves_only_to_a_version_that_gains(
    before: tuple[int, ...], after: tuple[int, ...], may_gain: set[int]
) -> None:
    pairs = zip(versions(of_weights(*before)), versions(of_weights(*after)), strict=True)
    assert {new for old, new in pairs if old != new} == may_gain


@given(st.text(max_size=20), st.permutations(of_weights(60, 30, 10)))
def test_a_session_has_one_version_whatever_the_order_of_the_route(session: str, route: list[Share]) -> None:
    assert pick_for_session(tuple(route), session) == pick_for_session(of_weights(60, 30, 10), session)


NAMES = {
    "an adapter that may be in training": ("gpu", "`kubectl graft status gpu`"),
    "a version of one": ("gpu@v7", "`kubectl graft status gpu`"),
    "a model of another server": ("meta-llama/Llama-3.1-8B", "`kubectl graft status`"),
    "a command of a stranger": ("x; rm -rf ~", "`kubectl graft status`"),
    "an option": ("-A", "`kubectl graft status`"),
    "a line of its own": ("gpu\n`reboot`", "`kubectl graft status`"),
    "a name in another script": ("\u0434\u0430", "`kubectl graft status`"),
    "a name that no object can have": ("a" * 300, "`kubectl graft status`"),
}


@pytest.mark.parametrize(("model", "command"), NAMES.values(), ids=NAMES)
def test_an_unknown_name_is_answered_with_where_to_look(model: str, command: str) -> None:
    message = unknown(table(LIVE), model)
    assert message.startswith(f"No version of {model!r} is served here. Known models: ")
    assert f"If it is a LoraAdapter, {command} tells what it waits for." in message
    assert "\n" not in message
