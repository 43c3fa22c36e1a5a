"""Documents that are made for all who ask at the same time, and not more often than their cost allows."""

import asyncio
from types import SimpleNamespace

import pytest

from graft_serving.telemetry import pacing
from graft_serving.telemetry.pacing import CachedDocument


class Slow:
    """Makes a document whenever it is let."""

    def __init__(self) -> None:
        self.made = 0
        self.go_on = asyncio.Event()

    async def __call__(self) -> bytes:
        await self.go_on.wait()
        self.made += 1
        return str(self.made).encode()


async def test_all_who_ask_at_the_same_time_get_one_document() -> None:
    slow = Slow()
    document = CachedDocument(slow)
    asking = [asyncio.create_task(document.get()) for _ in range(5)]
    await asyncio.sleep(0)
    slow.go_on.set()
    assert await asyncio.gather(*asking) == [b"1"] * 5


async def test_one_who_goes_away_takes_it_from_nobody() -> None:
    slow = Slow()
    document = CachedDocument(slow)
    gone, staying = asyncio.create_task(document.get()), asyncio.create_task(document.get())
    await asyncio.sleep(0)
    gone.cancel()
    slow.go_on.set()
    assert await staying == b"1"


async def test_a_document_of_before_the_news_is_not_given_out_after_them() -> None:
    slow = Slow()
    document = CachedDocument(slow)
    before = asyncio.create_task(document.get("before"))
    await asyncio.sleep(0)
    after = asyncio.create_task(document.get("after"))
    await asyncio.sleep(0)
    slow.go_on.set()
    assert [await before, await after] == [b"1", b"2"]


async def test_one_that_took_long_is_given_out_again_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    made, now = 0, 1000.0
    monkeypatch.setattr(pacing, "time", SimpleNamespace(monotonic=lambda: now))

    async def take_long() -> bytes:
        nonlocal made, now
        made, now = made + 1, now + 0.2
        return b""

    document = CachedDocument(take_long)
    await document.get()
    now += 1.9
    await document.get()
    assert made == 1
    await document.get("news")
    assert made == 2
    now += 2.1
    await document.get("news")
    assert made == 3


async def test_one_that_can_not_be_made_is_tried_again() -> None:
    tries = 0

    async def fail_once() -> bytes:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError
        return b"made"

    document = CachedDocument(fail_once)
    [failed] = await asyncio.gather(document.get(), return_exceptions=True)
    assert isinstance(failed, OSError)
    assert await document.get() == b"made"
