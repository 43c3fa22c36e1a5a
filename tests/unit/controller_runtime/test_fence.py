"""Nothing is written while somebody else may lead."""

import asyncio
import threading
from dataclasses import replace

import pytest
from tests.unit.controller_runtime.lease import TIMING, Link, MemoryLease, elector, held_by_one, now

from graft_operator.controller_runtime.leader import LeaderElector, NotLeader
from graft_operator.controller_runtime.lease import LeaseRecord


def assert_closed(leader: LeaderElector) -> None:
    with pytest.raises(NotLeader), leader.writing():
        pytest.fail("it writes")


async def test_nothing_is_written_before_the_lease_is_acquired() -> None:
    candidate = elector(MemoryLease(), "one")
    assert not candidate.is_leader()
    assert_closed(candidate)


async def test_the_fence_is_open_until_the_renewal_is_due_and_closed_before_anyone_can_take_over() -> None:
    lease = MemoryLease()
    leader = await held_by_one(lease)
    acquired = now()
    assert leader.deadline() == pytest.approx(acquired + TIMING.renew_deadline, abs=0.1)
    standby = asyncio.create_task(elector(lease, "two").acquire())
    await asyncio.sleep(TIMING.renew_deadline - 1)
    assert leader.is_leader()
    await asyncio.sleep(1.1)
    assert not leader.is_leader()
    assert not standby.done()
    assert_closed(leader)
    await standby


async def test_renewals_keep_the_fence_open() -> None:
    leader = await held_by_one(MemoryLease())
    holding = asyncio.create_task(leader.hold())
    for _ in range(100):
        await asyncio.sleep(1)
        assert leader.deadline() - now() > TIMING.renew_deadline - TIMING.retry_period - 1
    holding.cancel()


@pytest.mark.parametrize("theirs", ["two", "one"])
async def test_the_fence_closes_as_soon_as_somebody_else_has_written_the_lease(theirs: str) -> None:
    lease = MemoryLease()
    link = Link(lease)
    leader = await held_by_one(link)
    holding = asyncio.create_task(leader.hold())
    read = link.read

    async def read_before_it_is_written() -> LeaseRecord | None:
        record = await read()
        lease.edit(replace(lease.stored(), holder=theirs))
        return record

    link.read = read_before_it_is_written  # type: ignore[method-assign]
    await asyncio.sleep(TIMING.retry_period + 0.5)
    assert not leader.is_leader(), "our renewal was refused"
    link.read = read  # type: ignore[method-assign]
    await asyncio.sleep(TIMING.retry_period)
    assert leader.is_leader() == (theirs == "one"), "an edit of another field is survived"
    assert holding.done() == (theirs == "two")
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)


async def test_a_request_that_hangs_is_cut_off_before_somebody_else_leads() -> None:
    lease = MemoryLease()
    link = Link(lease)
    leader = await held_by_one(link)
    holding = asyncio.create_task(leader.hold())
    standby = asyncio.create_task(elector(lease, "two").acquire())
    link.away = True
    await asyncio.sleep(TIMING.renew_deadline - 1)
    with pytest.raises(NotLeader, match="cut off"):
        async with leader.requesting():
            await asyncio.sleep(30)
    assert not standby.done()
    await standby
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)


async def test_a_request_may_take_as_long_as_the_lease_is_renewed() -> None:
    leader = await held_by_one(MemoryLease())
    holding = asyncio.create_task(leader.hold())
    async with leader.requesting():
        await asyncio.sleep(60)
    with pytest.raises(TimeoutError):  # its own
        async with leader.requesting(), asyncio.timeout(1):
            await asyncio.sleep(60)
    holding.cancel()


@pytest.mark.looptime(False)
async def test_the_lease_is_given_back_only_after_the_last_write_even_of_a_thread_whose_task_is_gone() -> None:
    lease = MemoryLease()
    leader = await held_by_one(lease)
    begun, may_end = threading.Event(), threading.Event()

    def deletes() -> None:
        with leader.writing():
            begun.set()
            may_end.wait(60)
            assert lease.stored().holder == "one", "it was given back while we write"

    task = asyncio.create_task(asyncio.to_thread(deletes))
    await asyncio.get_running_loop().run_in_executor(None, begun.wait, 60)
    task.cancel()
    releasing = asyncio.create_task(leader.release())
    await asyncio.sleep(0.05)
    assert not releasing.done()
    assert_closed(leader)
    may_end.set()
    await releasing
    assert lease.stored().holder == ""


async def test_at_the_end_writes_under_way_are_waited_for_and_no_other_begins(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lease = MemoryLease()
    leader = await held_by_one(lease)
    holding = asyncio.create_task(leader.hold())
    written: list[float] = []

    async def write() -> None:
        async with leader.requesting():
            await asyncio.sleep(3)
            written.append(now())

    writing = asyncio.create_task(write())
    await asyncio.sleep(1)
    ending = asyncio.create_task(leader.end_writing())
    await asyncio.sleep(1)
    assert not ending.done()
    assert_closed(leader)
    await ending
    await writing
    holding.cancel()
    await leader.release()
    assert lease.stored().holder == ""
    assert "not surely ours" not in caplog.text


async def test_a_lease_whose_writes_do_not_end_in_time_is_not_given_back(caplog: pytest.LogCaptureFixture) -> None:
    lease = MemoryLease()
    leader = await held_by_one(lease)
    with leader.writing():
        await leader.release()
    assert lease.stored().holder == "one"
    assert "still being written" in caplog.text


async def test_after_a_request_that_was_cut_off_the_lease_is_not_given_back_at_once() -> None:
    lease = MemoryLease()
    leader = await held_by_one(lease)

    async def write() -> None:
        async with leader.requesting():
            await asyncio.sleep(60)

    writing = asyncio.create_task(write())
    await asyncio.sleep(1)
    writing.cancel()
    await asyncio.sleep(0.1)
    await leader.release()
    assert lease.stored().holder == "one", "the server may carry it out after its client has gone"


async def test_nor_is_it_after_one_that_was_cut_off_because_the_lease_was_not_renewed() -> None:
    lease = MemoryLease()
    link = Link(lease)
    leader = await held_by_one(link)
    holding = asyncio.create_task(leader.hold())
    link.away = True
    await asyncio.sleep(TIMING.renew_deadline - 1)
    with pytest.raises(NotLeader, match="cut off"):
        async with leader.requesting():
            await asyncio.sleep(30)
    link.away = False
    await asyncio.sleep(TIMING.retry_period + 0.1)
    assert leader.is_leader()
    await leader.release()
    assert lease.stored().holder == "one"
    holding.cancel()
