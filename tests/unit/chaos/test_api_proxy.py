"""The proxy in front of the API server does what it is told to, and nothing else."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from tests.chaos.api_proxy import ApiProxy
from tests.chaos.faults import Fault
from tests.unit.chaos.conftest import Behind, Chosen
from yarl import URL

Server = tuple[Behind, str]


async def test_without_a_fault_request_and_answer_are_what_they_were(
    behind: Server, session: aiohttp.ClientSession
) -> None:
    server, url = behind
    async with (
        ApiProxy.before(url, Chosen()) as (proxy, own),
        session.put(URL(f"{own}/api/v1/x%2Fy?a=b%20c", encoded=True), data=b"body") as response,
    ):
        assert (response.status, await response.text()) == (200, "a whole answer")
        assert response.headers["ETag"] == '"1"'
    assert server.asked == [("PUT", "/api/v1/x%2Fy?a=b%20c", b"body")]
    assert proxy.requests == {"PUT": 1}


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        (Fault.CONFLICT, 409, "Conflict"),
        (Fault.GONE, 410, "Expired"),
        (Fault.TOO_MANY, 429, "TooManyRequests"),
        (Fault.ERROR, 500, "InternalError"),
    ],
)
async def test_a_refusal_is_a_status_object_and_nothing_is_done(
    behind: Server, session: aiohttp.ClientSession, fault: Fault, status: int, reason: str
) -> None:
    server, url = behind
    async with ApiProxy.before(url, Chosen(fault)) as (_, own), session.put(f"{own}/a") as response:
        body = await response.json()
        assert (response.status, body["kind"], body["code"], body["reason"]) == (status, "Status", status, reason)
    assert server.asked == []


async def test_a_lost_answer_is_an_error_for_what_was_done(behind: Server, session: aiohttp.ClientSession) -> None:
    server, url = behind
    async with ApiProxy.before(url, Chosen(Fault.LOST)) as (_, own), session.post(f"{own}/a") as response:
        assert response.status == 500
    assert [method for method, *_ in server.asked] == ["POST"]


@pytest.mark.parametrize(("fault", "asked"), [(Fault.RESET, 0), (Fault.CUT, 1)])
async def test_a_connection_breaks_before_or_after_the_deed(
    behind: Server, session: aiohttp.ClientSession, fault: Fault, asked: int
) -> None:
    server, url = behind
    async with ApiProxy.before(url, Chosen(fault)) as (_, own):
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.post(f"{own}/a")
    assert len(server.asked) == asked


async def test_a_half_open_connection_says_nothing_until_the_faults_are_over(
    behind: Server, session: aiohttp.ClientSession
) -> None:
    server, url = behind
    faults = Chosen(Fault.HALF_OPEN)
    async with ApiProxy.before(url, faults) as (_, own):
        asking = asyncio.create_task(session.post(f"{own}/a").__aenter__())
        await faults.befell.wait()
        done, _ = await asyncio.wait([asking], timeout=0.1)
        assert not done
        faults.end()
        with pytest.raises(aiohttp.ClientConnectionError):
            await asking
    assert server.asked == []


async def watched(server: Server, session: aiohttp.ClientSession, *faults: Fault | None) -> list[Any]:
    """Watch four events through the faults, of which the first befalls the request, and return what comes."""
    behind, url = server
    for number in (1, 2, 3, 4, None):
        behind.events.put_nowait(number)
    async with (
        ApiProxy.before(url, Chosen(None, *faults)) as (_, own),
        session.get(f"{own}/api?watch=1") as response,
    ):
        events = [json.loads(line) async for line in response.content]
    return [event["object"] if event["type"] == "ADDED" else event["object"]["code"] for event in events]


@pytest.mark.parametrize(
    ("faults", "seen"),
    [
        ((), [1, 2, 3, 4]),
        ((None, Fault.DROP), [1, 3, 4]),
        ((None, Fault.REPEAT), [1, 2, 2, 3, 4]),
        ((None, Fault.REORDER), [1, 3, 2, 4]),
        ((Fault.REORDER, Fault.REORDER), [3, 1, 2, 4]),
        ((None, None, None, Fault.REORDER), [1, 2, 3, 4]),
        ((None, Fault.DELAY), [1, 2, 3, 4]),
        ((None, Fault.GONE), [1, 410]),
    ],
    ids=str,
)
async def test_events_of_a_watch(
    behind: Server, session: aiohttp.ClientSession, faults: tuple[Fault | None, ...], seen: list[int]
) -> None:
    assert await watched(behind, session, *faults) == seen


async def test_a_watch_breaks_in_its_middle(behind: Server, session: aiohttp.ClientSession) -> None:
    with pytest.raises(aiohttp.ClientError):
        await watched(behind, session, None, Fault.RESET)


async def test_a_client_that_leaves_ends_its_watch(behind: Server, session: aiohttp.ClientSession) -> None:
    server, url = behind
    async with ApiProxy.before(url, Chosen()) as (_, own):
        server.events.put_nowait(1)
        async with session.get(f"{own}/api?watch=1") as response:
            await response.content.readline()
            assert server.watchers == 1
            response.close()
        async with asyncio.timeout(60):
            while server.watchers:
                # The server only notices when it writes.
                server.events.put_nowait(2)
                await asyncio.sleep(0.01)
