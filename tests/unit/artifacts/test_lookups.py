"""Lookups in threads: bounded, fair, and told of when they come back. Real threads, a store in memory that can hang."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.builders import CREATED, version
from tests.unit.registry_in_memory import InMemoryStore, store_version

from graft_operator.artifacts import Artifacts, RegistryUnavailable, ThreadedLookups
from graft_operator.artifacts.lookups import AT_ONCE_PER_NAMESPACE
from graft_operator.plan.known import BEING_LOOKED_UP, Known, Unknown
from graft_registry.documents import StoredVersion, VersionVerdict

SOON = 0.05
"""Seconds after which a lookup is given up here; where a test waits for that, nothing else can happen first."""


class Watched:
    """Artifacts in threads, and their news as a queue."""

    def __init__(self, seconds: float) -> None:
        self.store = InMemoryStore()
        self.lookups = ThreadedLookups(seconds=seconds)
        self.artifacts = Artifacts(self.store, lookups=self.lookups)
        self.news: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.artifacts.on_news = lambda kind, namespace, name: self.news.put_nowait((namespace, name))

    def end(self) -> None:
        self.artifacts.close()
        self.store.switches.hangs = lambda key: False
        self.store.release()

    async def told(self) -> tuple[str, str]:
        async with asyncio.timeout(60):
            return await self.news.get()


class LateAnswer:
    """The next answer to a kind of request: what is so when the store makes it, and comes when that is long past."""

    def __init__(self, store: InMemoryStore, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
        self._made, self._may_come, self._threads = threading.Event(), threading.Event(), list[threading.Thread]()
        real = getattr(store, method)

        def answer(*args: Any, **fields: Any) -> Any:
            made = real(*args, **fields)
            if self._made.is_set():
                return made
            made = list(made) if method == "list" else made
            self._threads.append(threading.current_thread())
            self._made.set()
            self._may_come.wait(60)
            return made

        monkeypatch.setattr(store, method, answer)

    async def is_under_way(self) -> None:
        await asyncio.to_thread(self._made.wait, 60)

    async def comes(self) -> None:
        self._may_come.set()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        await asyncio.sleep(0)


@pytest.fixture
async def patient() -> AsyncIterator[Watched]:
    watched = Watched(seconds=120)
    yield watched
    watched.end()


@pytest.fixture
async def hasty() -> AsyncIterator[Watched]:
    watched = Watched(seconds=SOON)
    yield watched
    watched.end()


async def test_what_is_looked_up_is_told_when_it_is_known(patient: Watched) -> None:
    stored = version(1)
    store_version(patient.store, stored)
    assert patient.artifacts.version("team-a", "support", 1) == BEING_LOOKED_UP
    assert patient.artifacts.version("team-a", "support", 1) == BEING_LOOKED_UP
    assert await patient.told() == ("team-a", "support")
    found = patient.artifacts.version("team-a", "support", 1)
    assert isinstance(found, Known)
    assert found.value is not None
    assert found.value.digest == stored.digest
    assert [verb for verb, _ in patient.store.requests] == ["PUT", "GET"], "the same is never looked up twice at once"


async def test_a_store_that_hangs_is_told_and_what_it_answers_then_counts_no_more(hasty: Watched) -> None:
    hasty.store.switches.hangs = lambda key: True
    assert hasty.artifacts.version("team-a", "support", 1) == BEING_LOOKED_UP
    await hasty.told()
    trouble = hasty.artifacts.version("team-a", "support", 1)
    assert isinstance(trouble, Unknown)
    assert (trouble.reason, trouble.is_transient) == ("RegistryUnavailable", True)
    assert "has not answered" in trouble.message


async def test_a_lookup_that_failed_is_tried_again_by_itself(patient: Watched) -> None:
    patient.store.switches.away = True
    patient.artifacts.version("team-a", "support", 1)
    await patient.told()
    patient.store.switches.away = False
    await patient.told()
    assert patient.artifacts.version("team-a", "support", 1) == Known(None)


async def test_a_namespace_whose_requests_hang_costs_the_others_nothing(patient: Watched) -> None:
    patient.store.switches.hangs = lambda key: key.startswith("bad/")
    for number in range(1, 50):
        patient.artifacts.version("bad", "support", number)
    for name in ("a", "b", "c"):
        patient.artifacts.version("good", name, 1)
    assert {await patient.told() for _ in range(3)} == {("good", "a"), ("good", "b"), ("good", "c")}
    assert sum(key.startswith("bad/") for _, key in patient.store.requests) == AT_ONCE_PER_NAMESPACE


async def test_all_that_waits_behind_a_hanging_request_is_told(hasty: Watched) -> None:
    hasty.store.switches.hangs = lambda key: True
    for number in range(1, 41):
        hasty.artifacts.version("team-a", f"adapter-{number}", 1)
    told: set[tuple[str, str]] = set()
    while len(told) < 40:
        told.add(await hasty.told())
    assert len(hasty.store.requests) <= 4, "as many as may hang; the others were never begun"


async def test_places_are_free_again_once_the_requests_that_hung_have_ended(hasty: Watched) -> None:
    hasty.store.switches.hangs = lambda key: True
    for number in range(1, 5):
        hasty.artifacts.version("team-a", "support", number)
    for _ in range(4):
        await hasty.told()
    hasty.store.switches.hangs = lambda key: False
    hasty.store.release()
    while hasty.artifacts.version("team-a", "support", 4) != Known(None):
        await hasty.told()


async def test_what_was_forgotten_meanwhile_is_looked_up_anew(
    patient: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = version(1)

    def ask() -> Known[StoredVersion] | Unknown:
        return patient.artifacts.of_recipe("team-a", "support", stored.manifest.recipe)

    late = LateAnswer(patient.store, monkeypatch, "list")
    ask()
    await late.is_under_way()
    store_version(patient.store, stored)
    patient.artifacts.forget_recipe("team-a", "support", stored.manifest.recipe)
    assert ask() == BEING_LOOKED_UP
    await late.comes()
    while (known := ask()) == BEING_LOOKED_UP:
        await patient.told()
    assert isinstance(known, Known)
    assert known.value is not None


async def test_a_verdict_that_was_read_before_a_write_does_not_undo_it(
    patient: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (
        VersionVerdict(number=1, manifest_digest=version(1).digest, state=state, time=CREATED)
        for state in ("Refused", "Cleared")
    )
    await patient.artifacts.record_verdict("team-a", "support", first)
    late = LateAnswer(patient.store, monkeypatch, "get")
    patient.artifacts.verdicts("team-a", "support")
    await late.is_under_way()
    await patient.artifacts.record_verdict("team-a", "support", second)
    assert patient.artifacts.verdicts("team-a", "support") == BEING_LOOKED_UP
    await late.comes()
    while (known := patient.artifacts.verdicts("team-a", "support")) == BEING_LOOKED_UP:
        await patient.told()
    assert known == Known({1: second})


async def test_whoever_fails_to_hear_the_news_stops_nobody_else(
    patient: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(kind: str, namespace: str, name: str) -> None:
        if name == "support":
            raise LookupError(name)
        patient.news.put_nowait((namespace, name))

    patient.artifacts.on_news = fail
    for number in range(1, 4):
        patient.artifacts.version("team-a", "support", number)
    patient.artifacts.version("team-a", "sales", 1)
    assert await patient.told() == ("team-a", "sales")
    assert "LookupError" in caplog.text


async def test_writes_that_hang_end_in_time(patient: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft_operator.artifacts.artifacts.DELETE_SECONDS", SOON)
    patient.store.switches.hangs = lambda key: True
    with pytest.raises(RegistryUnavailable, match="has not answered"):
        await patient.artifacts.delete_adapter("team-a", "support")


async def test_a_deletion_whose_caller_is_gone_writes_nothing_more(patient: Watched) -> None:
    for number in range(1, 4):
        store_version(patient.store, version(number))
    begun, go_on = asyncio.Event(), asyncio.get_running_loop()

    def first_deletion(key: str) -> None:
        go_on.call_soon_threadsafe(begun.set)
        patient.store.switches.hangs = lambda key: True
        patient.store._request("DELETE", key)

    patient.store.switches.before_write = first_deletion
    deleting = asyncio.create_task(patient.artifacts.delete_adapter("team-a", "support"))
    await begun.wait()
    deleting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deleting
    patient.store.switches.before_write = lambda key: None
    patient.store.switches.hangs = lambda key: False
    patient.store.release()
    assert len(patient.store.objects) == 3


async def test_nothing_comes_after_the_end(hasty: Watched) -> None:
    before = set(threading.enumerate())
    hasty.store.switches.hangs = lambda key: True
    hasty.artifacts.version("team-a", "support", 1)
    own = set(threading.enumerate()) - before
    hasty.end()
    for thread in own:
        await asyncio.to_thread(thread.join)
    assert hasty.news.empty()


async def test_what_nobody_waits_for_comes_after_all_else() -> None:
    lookups, order, may_end = ThreadedLookups(), list[str](), threading.Event()
    done = asyncio.Event()

    def told(name: str) -> None:
        order.append(name)
        if len(order) == 4:
            done.set()

    for _ in range(AT_ONCE_PER_NAMESPACE):
        lookups.submit("team-a", "recipe", lambda stopped: may_end.wait(), lambda outcome: None)
    for number, operation in enumerate(("progress", "recipe", "audit", "recipe")):
        lookups.submit("team-a", operation, lambda stopped: None, lambda outcome, n=number: told(f"{n}"))  # type: ignore[misc]
    may_end.set()
    async with asyncio.timeout(60):
        await done.wait()
    lookups.close()
    assert sorted(order[:2]) == ["1", "3"]
