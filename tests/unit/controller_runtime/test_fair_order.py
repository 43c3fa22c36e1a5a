"""Who runs next. Times are a number that the tests set."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from graft_operator.controller_runtime.fair_order import PATIENCE_SECONDS, PATIENT_SHARE, FairOrder, Priority
from graft_operator.controller_runtime.keys import AdapterKey

URGENT, PROGRESS, ROUTINE = Priority


def key(text: str) -> AdapterKey:
    namespace, name = text.split("/")
    return AdapterKey(namespace, name)


def taken(order: FairOrder[AdapterKey], count: int, now: float = 0.0) -> list[str]:
    """Take that many runs, each of which ends at once."""
    keys = []
    for _ in range(count):
        run = order.take(now)
        assert run is not None
        order.end(run[0])
        keys.append(str(run[0]))
    return keys


def test_urgent_runs_before_progress_before_routine() -> None:
    order = FairOrder[AdapterKey]()
    for text, priority in (("a/1", ROUTINE), ("a/2", PROGRESS), ("a/3", URGENT)):
        order.put(key(text), priority, 0.0)
    assert taken(order, 3) == ["a/3", "a/2", "a/1"]


def test_namespaces_take_turns_and_are_first_come_first_served_within() -> None:
    order = FairOrder[AdapterKey]()
    for text in ("a/1", "a/2", "a/3", "b/1", "c/1", "c/2"):
        order.put(key(text), PROGRESS, 0.0)
    assert taken(order, 6) == ["a/1", "b/1", "c/1", "a/2", "c/2", "a/3"]


def test_a_tenant_with_ten_thousand_keys_delays_another_by_one_run() -> None:
    order = FairOrder[AdapterKey]()
    for number in range(10_000):
        order.put(AdapterKey("loud", f"{number}"), URGENT, 0.0)
    order.put(key("quiet/1"), URGENT, 0.0)
    assert "quiet/1" in taken(order, 2)


def test_a_namespace_at_its_limit_is_passed_over_at_every_priority() -> None:
    order = FairOrder[AdapterKey](limit=1)
    for text, priority in (("a/1", URGENT), ("a/2", URGENT), ("b/1", ROUTINE)):
        order.put(key(text), priority, 0.0)
    runs = [order.take(0.0), order.take(0.0)]
    assert [str(run[0]) for run in runs if run] == ["a/1", "b/1"]
    assert order.take(0.0) is None
    order.end(key("a/1"))
    assert taken(order, 1) == ["a/2"]


def test_a_flood_of_urgent_keys_never_stops_a_routine_one() -> None:
    order = FairOrder[AdapterKey]()
    order.put(key("quiet/1"), ROUTINE, 0.0)
    for number in range(100):
        order.put(AdapterKey("loud", f"{number}"), URGENT, PATIENCE_SECONDS - 1)
    assert "quiet/1" not in taken(order, 50, now=PATIENCE_SECONDS - 1)
    assert "quiet/1" in taken(order, PATIENT_SHARE, now=PATIENCE_SECONDS)


def test_a_backlog_of_routine_keys_leaves_most_runs_to_urgent_ones() -> None:
    order = FairOrder[AdapterKey]()
    for number in range(100):
        order.put(AdapterKey("a", f"old-{number}"), ROUTINE, 0.0)
        order.put(AdapterKey("a", f"new-{number}"), URGENT, 2 * PATIENCE_SECONDS)
    runs = taken(order, 100, now=2 * PATIENCE_SECONDS)
    assert sum("new" in run for run in runs) == 100 * (PATIENT_SHARE - 1) // PATIENT_SHARE


def test_a_raised_key_has_waited_since_it_was_raised() -> None:
    order = FairOrder[AdapterKey]()
    order.put(key("a/1"), ROUTINE, 0.0)
    order.put(key("a/1"), URGENT, 20.0)
    order.put(key("a/1"), PROGRESS, 21.0)
    assert len(order) == 1
    assert order.take(25.0) == (key("a/1"), URGENT, 5.0)


KEYS = [AdapterKey(namespace, name) for namespace in "abcd" for name in "1234"]
puts = st.tuples(st.just("put"), st.sampled_from(KEYS), st.sampled_from(Priority))
others = st.tuples(st.sampled_from(["take", "end"]), st.sampled_from(KEYS), st.sampled_from(Priority))


@given(acts=st.lists(st.one_of(puts, others), max_size=120), limit=st.sampled_from([None, 1, 2]))
def test_any_history_loses_nothing_and_is_fair(acts: list[tuple[str, AdapterKey, Priority]], limit: int | None) -> None:
    order, waiting = FairOrder[AdapterKey](limit=limit), dict[AdapterKey, Priority]()
    running: list[AdapterKey] = []
    turns = Counter[tuple[Priority, str]]()
    """Runs of others at a priority since the namespace has waited there, while it might have run."""
    for act, chosen, priority in acts:
        for there in [item for item in turns if item not in {(rank, key.namespace) for key, rank in waiting.items()}]:
            del turns[there]
        if act == "put" and chosen not in running:
            order.put(chosen, priority, 0.0)
            waiting[chosen] = min(priority, waiting.get(chosen, priority))
        elif act == "end" and running:
            order.end(running.pop(0))
        elif act == "take":
            at = Counter(item.namespace for item in running)
            may = {item: rank for item, rank in waiting.items() if limit is None or at[item.namespace] < limit}
            run = order.take(0.0)
            assert (run is None) == (not may), "a run that may begin does not, or the other way round"
            if run is None:
                continue
            key, rank, _ = run
            assert rank == may[key] == min(may.values())
            del waiting[key]
            running.append(key)
            for other in {item.namespace for item, its in may.items() if its == rank} - {key.namespace}:
                turns[rank, other] += 1
                assert turns[rank, other] <= 3, "a namespace is passed over again and again"
            turns[rank, key.namespace] = 0
    assert len(order) == len(waiting)
