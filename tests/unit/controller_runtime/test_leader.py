import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.unit.controller_runtime.lease import TIMING, Link, MemoryLease, elector, held_by_one, now

from graft_operator.controller_runtime.leader import LeadershipLost
from graft_operator.controller_runtime.lease import LeaseTiming, LeaseUnreachable


async def test_the_first_candidate_gets_a_new_lease_at_once() -> None:
    lease = MemoryLease()
    await elector(lease, "one").acquire()
    assert (lease.stored().holder, lease.stored().transitions) == ("one", 0)
    assert now() < 1


async def test_a_standby_takes_over_only_a_whole_lease_duration_after_the_last_renewal() -> None:
    lease = MemoryLease()
    leader = await held_by_one(lease)
    holding = asyncio.create_task(leader.hold())
    standby = asyncio.create_task(elector(lease, "two", skew=timedelta(days=1)).acquire())
    await asyncio.sleep(100)
    assert not standby.done(), "a clock that is a day ahead must not end another's lease"
    holding.cancel()
    died = now()
    await standby
    assert 15 - TIMING.retry_period <= now() - died <= 15 + 2 * TIMING.retry_period
    assert (lease.stored().holder, lease.stored().transitions) == ("two", 1)


async def test_a_released_lease_is_taken_at_the_next_retry() -> None:
    lease = MemoryLease()
    leader = await held_by_one(lease)
    standby = asyncio.create_task(elector(lease, "two").acquire())
    await asyncio.sleep(5)
    await leader.release()
    released = now()
    await standby
    assert now() - released <= TIMING.retry_period + 0.1


async def test_of_two_candidates_for_a_free_lease_one_wins() -> None:
    lease = MemoryLease()
    racing = [asyncio.create_task(elector(lease, name).acquire()) for name in ("one", "two")]
    await asyncio.sleep(5)
    assert [task.done() for task in racing].count(True) == 1
    for task in racing:
        task.cancel()


@pytest.mark.parametrize("trouble", [{"away": True}, {"hang": True}, {"refusal": LeaseUnreachable("forbidden (403)")}])
async def test_an_outage_is_waited_for_and_all_goes_on_if_nobody_has_taken_over(
    trouble: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    link = Link(MemoryLease())
    leader = await held_by_one(link)
    holding = asyncio.create_task(leader.hold())
    well = {name: getattr(link, name) for name in trouble}
    vars(link).update(trouble)
    await asyncio.sleep(TIMING.renew_deadline + 0.1)
    assert not leader.is_leader()
    await asyncio.sleep(600)
    vars(link).update(well)
    await asyncio.sleep(TIMING.renew_deadline)
    assert leader.is_leader()
    assert not holding.done()
    told = [record.message for record in caplog.records if "ours" in record.message]
    assert [message[:24] for message in told] == ["the lease is not surely ", "the lease is ours again"]
    holding.cancel()


async def test_a_leader_that_hears_of_no_renewal_lets_others_lead() -> None:
    lease = MemoryLease()
    link = Link(lease)
    holding = asyncio.create_task((await held_by_one(link)).hold())
    standby = asyncio.create_task(elector(lease, "two").acquire())
    await asyncio.sleep(5)
    link.there, link.back = 0.1, TIMING.renew_deadline  # each renewal arrives, and no answer comes in time
    await asyncio.sleep(2 * TIMING.duration + TIMING.renew_deadline)
    assert standby.done()
    link.back = 0.1
    with pytest.raises(LeadershipLost, match="held by two"):
        await holding


async def test_a_leader_alone_that_hears_of_no_renewal_leads_again_once_it_does() -> None:
    link = Link(MemoryLease())
    leader = await held_by_one(link)
    holding = asyncio.create_task(leader.hold())
    link.there, link.back = 0.1, TIMING.renew_deadline
    await asyncio.sleep(60)
    assert not leader.is_leader()
    link.back = 0.1
    await asyncio.sleep(TIMING.duration + 4 * TIMING.retry_period)
    assert leader.is_leader()
    holding.cancel()


async def test_a_slow_way_to_the_server_is_no_reason_to_stop() -> None:
    link = Link(MemoryLease())
    leader = await held_by_one(link)
    holding = asyncio.create_task(leader.hold())
    link.there = link.back = 1.3
    for _ in range(100):
        await asyncio.sleep(1)
        assert leader.is_leader()
    holding.cancel()


async def test_a_renewal_that_gets_no_answer_leaves_time_for_another_one() -> None:
    link = Link(MemoryLease())
    holding = asyncio.create_task((await held_by_one(link)).hold())
    link.hang = True
    await asyncio.sleep(3)  # the renewal is under way
    link.hang = False
    await asyncio.sleep(60)
    assert not holding.done()
    holding.cancel()


async def test_short_outages_are_survived() -> None:
    link = Link(MemoryLease())
    leader = await held_by_one(link)
    holding = asyncio.create_task(leader.hold())
    for _ in range(5):
        link.away = True
        await asyncio.sleep(5)
        assert leader.is_leader()
        link.away = False
        await asyncio.sleep(5)
    assert not holding.done()
    holding.cancel()


async def test_leadership_is_lost_as_soon_as_another_holds_the_lease() -> None:
    lease = MemoryLease()
    leader = await held_by_one(lease)
    lease.edit(replace(lease.stored(), holder="two"))
    with pytest.raises(LeadershipLost, match="held by two"):
        await leader.hold()
    assert now() < TIMING.retry_period + 1


@pytest.mark.parametrize("transitions", [0, 1])
async def test_leadership_is_lost_if_another_has_held_the_lease_meanwhile_though_it_is_free_again(
    transitions: int,
) -> None:
    lease = MemoryLease()
    link = Link(lease)
    leader = await held_by_one(link)
    holding = asyncio.create_task(leader.hold())
    link.away = True
    await asyncio.sleep(60)
    lease.edit(replace(lease.stored(), holder="", transitions=transitions))
    link.away = False
    with pytest.raises(LeadershipLost, match="held by nobody"):
        await holding
    assert not leader.is_leader(), "what was decided before the other's term may not be written after it"


async def test_of_a_lease_that_is_deleted_nobody_makes_two() -> None:
    lease = MemoryLease()
    leader, other = await held_by_one(lease), elector(lease, "two")
    holding, standby = asyncio.create_task(leader.hold()), asyncio.create_task(other.acquire())
    await asyncio.sleep(6.5)
    lease.record = None
    deleted = now()
    while not standby.done():
        await asyncio.sleep(0.05)
        assert not (leader.is_leader() and other.is_leader())
    assert now() - deleted <= TIMING.duration + TIMING.retry_period
    with pytest.raises(LeadershipLost):
        await holding


async def test_of_a_lease_that_is_deleted_while_its_holder_is_cut_off_nobody_makes_two() -> None:
    lease = MemoryLease()
    link = Link(lease)
    leader, other = await held_by_one(link), elector(lease, "two")
    holding, standby = asyncio.create_task(leader.hold()), asyncio.create_task(other.acquire())
    await asyncio.sleep(6.5)
    link.away, lease.record = True, None
    while not standby.done():
        await asyncio.sleep(0.05)
        assert not (leader.is_leader() and other.is_leader())
    holding.cancel()


async def test_release_never_touches_the_lease_of_another() -> None:
    lease = MemoryLease()
    leader = await held_by_one(lease)
    theirs = lease.edit(replace(lease.stored(), holder="two"))
    await leader.release()
    assert lease.record == theirs


def test_a_deadline_beyond_the_lease_is_refused() -> None:
    with pytest.raises(ValueError, match="renew_deadline < duration"):
        LeaseTiming(duration=10, renew_deadline=10)
