import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from graft_operator.controller_runtime.controller import TransientError
from graft_operator.controller_runtime.leader import (
    LeaderElector,
    LeadershipLost,
    LeaseRecord,
    LeaseTaken,
    LeaseTiming,
    NotLeader,
)

TIMING = LeaseTiming(duration=15, renew_deadline=10, retry_period=2)


class MemoryLease:
    """A Lease with optimistic locking. `away` makes every request fail, `hang` makes it wait for ever."""

    def __init__(self) -> None:
        self.record: LeaseRecord | None = None
        self.away = False
        self.hang = False
        self._version = 0

    async def read(self) -> LeaseRecord | None:
        await self._network()
        return self.record

    async def write(self, record: LeaseRecord) -> LeaseRecord:
        await self._network()
        if record.version != (self.record.version if self.record else ""):
            raise LeaseTaken("not at this version")
        self._version += 1
        self.record = replace(record, version=str(self._version))
        return self.record

    async def _network(self) -> None:
        await asyncio.sleep(0.01)
        if self.hang:
            await asyncio.Event().wait()
        if self.away:
            raise TransientError("no answer")


def elector(lease: MemoryLease, identity: str, *, skew: timedelta = timedelta()) -> LeaderElector:
    return LeaderElector(lease, identity=identity, now=lambda: datetime(2030, 1, 1, tzinfo=UTC) + skew, timing=TIMING)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_the_first_candidate_gets_a_new_lease_at_once() -> None:
    lease = MemoryLease()
    await elector(lease, "one").acquire()
    assert lease.record is not None
    assert (lease.record.holder, lease.record.transitions) == ("one", 0)
    assert now() < 1


async def test_a_standby_takes_over_only_a_whole_lease_duration_after_the_last_renewal() -> None:
    lease = MemoryLease()
    leader = elector(lease, "one")
    await leader.acquire()
    holding = asyncio.create_task(leader.hold())
    standby = asyncio.create_task(elector(lease, "two", skew=timedelta(days=1)).acquire())
    await asyncio.sleep(100)
    assert not standby.done(), "a clock that is a day ahead must not end another's lease"
    holding.cancel()
    died = now()
    await standby
    assert 15 - TIMING.retry_period <= now() - died <= 15 + 2 * TIMING.retry_period
    assert lease.record is not None
    assert (lease.record.holder, lease.record.transitions) == ("two", 1)


async def test_a_released_lease_is_taken_at_the_next_retry() -> None:
    lease = MemoryLease()
    leader = elector(lease, "one")
    await leader.acquire()
    standby = asyncio.create_task(elector(lease, "two").acquire())
    await asyncio.sleep(5)
    await leader.release()
    released = now()
    await standby
    assert now() - released <= TIMING.retry_period + 0.1


@pytest.mark.parametrize("trouble", ["away", "hang"])
async def test_nothing_is_written_before_anyone_can_take_over_and_all_goes_on_if_nobody_has(
    trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    lease = MemoryLease()
    leader = await held_by(lease)
    holding = asyncio.create_task(leader.hold())
    setattr(lease, trouble, True)
    await asyncio.sleep(TIMING.renew_deadline + 0.1)
    assert not leader.is_leader()
    with pytest.raises(NotLeader), leader.writing():
        pass
    await asyncio.sleep(600)
    setattr(lease, trouble, False)
    await asyncio.sleep(TIMING.renew_deadline)
    assert leader.is_leader()
    assert not holding.done()
    told = [record.message for record in caplog.records if "ours" in record.message]
    assert [message[:24] for message in told] == ["the lease is not surely ", "the lease is ours again"]
    holding.cancel()


async def test_leadership_is_lost_if_another_has_held_the_lease_meanwhile_though_it_is_free_again() -> None:
    lease = MemoryLease()
    leader = await held_by(lease)
    holding = asyncio.create_task(leader.hold())
    lease.away = True
    await asyncio.sleep(60)
    assert lease.record is not None
    theirs = lease.record.transitions + 1
    lease.record = replace(lease.record, holder="", transitions=theirs, version="999")
    lease.away = False
    with pytest.raises(LeadershipLost, match="somebody else has held the lease meanwhile"):
        await holding


async def test_a_renewal_that_gets_no_answer_leaves_time_for_another_one() -> None:
    lease = MemoryLease()
    leader = elector(lease, "one")
    await leader.acquire()
    holding = asyncio.create_task(leader.hold())
    lease.hang = True
    await asyncio.sleep(3)  # the renewal is under way
    lease.hang = False
    await asyncio.sleep(60)
    assert not holding.done()
    holding.cancel()


async def test_a_short_outage_is_survived() -> None:
    lease = MemoryLease()
    leader = elector(lease, "one")
    await leader.acquire()
    holding = asyncio.create_task(leader.hold())
    for _ in range(5):
        lease.away = True
        await asyncio.sleep(5)
        lease.away = False
        await asyncio.sleep(5)
    assert not holding.done()
    holding.cancel()


async def test_leadership_is_lost_at_once_when_another_holds_the_lease() -> None:
    lease = MemoryLease()
    leader = elector(lease, "one")
    await leader.acquire()
    assert lease.record is not None
    lease.record = replace(lease.record, holder="two", version="999")
    with pytest.raises(LeadershipLost, match="held by two"):
        await leader.hold()
    assert now() < TIMING.retry_period + 1


async def test_release_never_touches_the_lease_of_another() -> None:
    lease = MemoryLease()
    leader = elector(lease, "one")
    await leader.acquire()
    assert lease.record is not None
    theirs = replace(lease.record, holder="two", version="999")
    lease.record = theirs
    await leader.release()
    assert lease.record == theirs


async def test_of_two_candidates_for_a_free_lease_one_wins() -> None:
    lease = MemoryLease()
    racing = [asyncio.create_task(elector(lease, name).acquire()) for name in ("one", "two")]
    await asyncio.sleep(5)
    assert [task.done() for task in racing].count(True) == 1
    for task in racing:
        task.cancel()


def test_a_deadline_beyond_the_lease_is_refused() -> None:
    with pytest.raises(ValueError, match="renew_deadline < duration"):
        LeaseTiming(duration=10, renew_deadline=10)


async def held_by(lease: MemoryLease) -> LeaderElector:
    leader = elector(lease, "one")
    await leader.acquire()
    return leader


async def test_nobody_is_leader_before_the_lease_is_acquired() -> None:
    candidate = elector(MemoryLease(), "one")
    assert not candidate.is_leader()
    with pytest.raises(NotLeader), candidate.writing():
        pytest.fail("it writes")


async def test_the_fence_is_open_until_the_renewal_is_due_and_closed_before_anyone_can_take_over() -> None:
    lease = MemoryLease()
    leader = await held_by(lease)
    acquired = now()
    assert leader.deadline() == pytest.approx(acquired + TIMING.renew_deadline, abs=0.1)
    standby = asyncio.create_task(elector(lease, "two").acquire())
    await asyncio.sleep(TIMING.renew_deadline - 1)
    assert leader.is_leader()
    assert leader.is_leader(within=0.5)
    assert not leader.is_leader(within=2)
    await asyncio.sleep(1.1)
    assert not leader.is_leader()
    assert not standby.done()
    with pytest.raises(NotLeader), leader.writing():
        pytest.fail("a process that was frozen writes as a former leader")
    await standby


async def test_renewals_keep_the_fence_open() -> None:
    leader = await held_by(MemoryLease())
    holding = asyncio.create_task(leader.hold())
    for _ in range(100):
        await asyncio.sleep(1)
        assert leader.is_leader(within=TIMING.renew_deadline - TIMING.retry_period - 1)
    holding.cancel()


@pytest.mark.parametrize("theirs", ["two", "one"])
async def test_the_fence_closes_as_soon_as_somebody_else_has_written_the_lease(theirs: str) -> None:
    lease = MemoryLease()
    leader = await held_by(lease)
    holding = asyncio.create_task(leader.hold())
    assert lease.record is not None
    read = lease.read

    async def read_before_it_is_written() -> LeaseRecord | None:
        record = await read()
        assert lease.record is not None
        lease.record = replace(lease.record, holder=theirs, version=f"{theirs}-999")
        return record

    lease.read = read_before_it_is_written  # type: ignore[method-assign]
    await asyncio.sleep(TIMING.retry_period + 0.5)
    assert not leader.is_leader(), "our renewal was refused"
    lease.read = read  # type: ignore[method-assign]
    await asyncio.sleep(TIMING.retry_period)
    assert leader.is_leader() == (theirs == "one"), "an edit of another field is survived"
    assert holding.done() == (theirs == "two")
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)


@pytest.mark.looptime(False)
async def test_the_lease_is_given_back_only_after_the_last_write_even_of_a_thread_whose_task_is_gone() -> None:
    lease = MemoryLease()
    leader = await held_by(lease)
    begun, may_end = threading.Event(), threading.Event()

    def deletes() -> None:
        with leader.writing():
            begun.set()
            may_end.wait(60)
            assert lease.record is not None
            assert lease.record.holder == "one", "it was given back while we write"

    task = asyncio.create_task(asyncio.to_thread(deletes))
    thread_ends = asyncio.get_running_loop().run_in_executor(None, begun.wait, 60)
    await thread_ends
    task.cancel()
    releasing = asyncio.create_task(leader.release())
    await asyncio.sleep(0.05)
    assert not releasing.done()
    with pytest.raises(NotLeader), leader.writing():
        pytest.fail("a new write begins")
    may_end.set()
    await releasing
    assert lease.record is not None
    assert lease.record.holder == ""


async def test_a_lease_whose_writes_do_not_end_in_time_is_not_given_back(caplog: pytest.LogCaptureFixture) -> None:
    lease = MemoryLease()
    leader = await held_by(lease)
    with leader.writing():
        await leader.release()
    assert lease.record is not None
    assert lease.record.holder == "one"
    assert "still being written" in caplog.text
