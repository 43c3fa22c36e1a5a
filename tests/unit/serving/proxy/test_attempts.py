"""Where a request may go, and what may follow what, case by case."""

import pytest

from graft_serving.proxy.attempts import (
    MOST_TRIES,
    Attempts,
    Hops,
    Outcome,
    Service,
    Target,
    ThisEngine,
    Try,
    attempts,
    next_target,
)
from graft_serving.proxy.routing import Alias, NotFound, Peer, RoutingTable, ToVersion, Unavailable, resolve
from graft_serving.versions import Share, VersionKey

V1 = VersionKey("support", 1, f"sha256:{1:064x}")
ENGINE = ThisEngine(ToVersion(V1))
PODS = tuple(Peer(f"tiny-{number}", f"http://10.0.0.{number}:8002") for number in (1, 2, 3))
BLUE, OWN = Service("http://blue:8000"), Service("http://tiny:8000")
LIVE = (Share(V1, 100),)
FROM_CLIENT = Hops()
FROM_POD = Hops(count=1)


def plan(alias: Alias, hops: Hops = FROM_CLIENT, ejected: tuple[str, ...] = (), model: str = "support") -> Attempts:
    table = RoutingTable(base_name="tiny", base_live=True, aliases={"support": alias}, peer=OWN.url)
    decision = resolve(table, model, session=None, draw=0.0, forwarded=hops.count > 0, from_peer=hops.from_peer)
    return attempts(table, model, decision, hops, session=None, draw=0.0, ejected=ejected)


ORDERS: dict[str, tuple[Attempts, list[Target]]] = {
    "The own engine, then the other pods.": (plan(Alias(live=LIVE)), [ENGINE, OWN]),
    "Those that hold it, and nobody else.": (plan(Alias(live=LIVE, peers=PODS)), [ENGINE, *PODS]),
    "Those that hold it, then the other revision.": (plan(Alias(peers=PODS, forward_to=BLUE.url)), [*PODS, BLUE]),
    "Pods that failed a moment ago come last.": (
        plan(Alias(peers=PODS), ejected=("tiny-1",)),
        [PODS[1], PODS[2], PODS[0]],
    ),
    "If all have failed they are asked all the same.": (
        plan(Alias(peers=PODS), ejected=("tiny-1", "tiny-2", "tiny-3")),
        list(PODS),
    ),
    "A pod that may have had it is left out.": (
        plan(Alias(peers=PODS), Hops(count=1, asked=("tiny-2",))),
        [PODS[0], PODS[2]],
    ),
    "What another revision sent finds the pod that holds it.": (plan(Alias(peers=PODS), FROM_POD), list(PODS)),
    "But goes to no other Service.": (plan(Alias(live=LIVE), FROM_POD), [ENGINE]),
    "After two hops nobody sends it on.": (plan(Alias(peers=PODS), Hops(count=2)), []),
    "What another pod meant for this one stays here.": (
        plan(Alias(live=LIVE, peers=PODS), Hops(count=1, from_peer=True)),
        [ENGINE],
    ),
    "An unknown name goes nowhere.": (plan(Alias(live=LIVE), model="suport"), []),
}


@pytest.mark.parametrize(("planned", "targets"), ORDERS.values(), ids=ORDERS.keys())
def test_the_order(planned: Attempts, targets: list[Target]) -> None:
    assert [attempt.target for attempt in planned.attempts] == targets


def test_what_is_told_in_the_end() -> None:
    assert isinstance(plan(Alias(), model="suport").otherwise, NotFound)
    forwarded = plan(Alias(forward_to=BLUE.url)).otherwise
    assert isinstance(forwarded, Unavailable)
    assert BLUE.url in forwarded.message


def tried(*steps: tuple[Target, Outcome]) -> list[Try]:
    return [Try(target=target, outcome=outcome, seconds=0.0) for target, outcome in steps]


EVERYWHERE = plan(Alias(live=LIVE, peers=PODS, forward_to=BLUE.url))
LOST, DIED, DECLINED, UNREACHABLE = Outcome.LOST, Outcome.DIED, Outcome.DECLINED, Outcome.UNREACHABLE

NEXT: dict[str, tuple[list[Try], Hops, Target | None]] = {
    "At first the own engine.": (tried(), FROM_CLIENT, ENGINE),
    "What was never sent goes on.": (tried((ENGINE, UNREACHABLE)), FROM_CLIENT, PODS[0]),
    "However often.": (
        tried((ENGINE, DECLINED), (PODS[0], UNREACHABLE), (PODS[1], DECLINED)),
        FROM_CLIENT,
        PODS[2],
    ),
    "What an engine may have had goes to another pod once.": (tried((ENGINE, LOST)), FROM_CLIENT, PODS[0]),
    "And no further.": (tried((ENGINE, LOST), (PODS[0], LOST)), FROM_CLIENT, None),
    "A pod that never got it does not count.": (
        tried((ENGINE, LOST), (PODS[0], UNREACHABLE), (PODS[1], DECLINED)),
        FROM_CLIENT,
        PODS[2],
    ),
    "What was not sent here may still be lost once elsewhere.": (
        tried((ENGINE, UNREACHABLE), (PODS[0], LOST)),
        FROM_CLIENT,
        PODS[1],
    ),
    "What an engine died of goes nowhere.": (tried((ENGINE, DIED)), FROM_CLIENT, None),
    "Nor does it when another pod tells so.": (tried((ENGINE, DECLINED), (PODS[0], DIED)), FROM_CLIENT, None),
    "What has used its time up goes nowhere.": (tried((ENGINE, Outcome.TIMED_OUT)), FROM_CLIENT, None),
    "Whoever sent it here keeps the second engine.": (tried((ENGINE, LOST)), FROM_POD, None),
    "What two engines may have had is given to none.": (tried(), Hops(count=1, asked=("tiny-8", "-")), None),
    "A Service is asked again: it leads to another pod.": (
        tried((ENGINE, DECLINED), *((pod, DECLINED) for pod in PODS), (BLUE, DECLINED)),
        FROM_CLIENT,
        BLUE,
    ),
    "But not for ever.": (
        tried((ENGINE, DECLINED), *((pod, DECLINED) for pod in PODS), *((BLUE, DECLINED) for _ in range(MOST_TRIES))),
        FROM_CLIENT,
        None,
    ),
}


@pytest.mark.parametrize(("tries", "hops", "expected"), NEXT.values(), ids=NEXT.keys())
def test_what_may_follow(tries: list[Try], hops: Hops, expected: Target | None) -> None:
    assert next_target(EVERYWHERE, tries, hops) == expected


def test_no_more_than_two_engines_get_a_request_whatever_the_pods_do() -> None:
    # The worst that can happen: every pod loses what it gets, and tells nobody.
    def engines_that_get_it(hops: Hops) -> int:
        tries: list[Try] = []
        count = 0
        while (target := next_target(EVERYWHERE, tries, hops)) is not None:
            lost_here = sum(one.outcome is LOST for one in tries)
            count += 1 if target == ENGINE else engines_that_get_it(hops.sent_on(["-"] * lost_here))
            tries += tried((target, LOST))
        return count

    assert engines_that_get_it(FROM_CLIENT) <= 2
