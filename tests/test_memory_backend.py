"""The backend in this process: waiting, time, and the operations of the contract."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import attrs
import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from trio_bus._backend import (
    Ack,
    Bury,
    Death,
    DeathCause,
    Entry,
    GroupMember,
    Membership,
    Receipt,
    Record,
    Release,
    Retry,
    Settlement,
    TakeOver,
)
from trio_bus._dead_letter import CONTEXT
from trio_bus._entry_id import EntryId
from trio_bus._errors import GroupMissing, RemoteError, WrongType
from trio_bus._memory import MemoryBackend
from trio_bus._memory.server import Server
from trio_bus._memory.stream_commands import xadd
from trio_bus._names import own_key
from trio_bus._settled import Settled

START = datetime(2024, 5, 1, tzinfo=UTC)
START_MS = 1_714_521_600_000
RECORD: Record = ((b"n", b"1"),)
DEATH = Death(DeathCause.REJECTED, "ValueError", "no good")
US = Membership(topic="t", group="g", consumer="me", lease=10.0, max_attempt=3)
OTHER = attrs.evolve(US, consumer="other")


@pytest.fixture
async def backend() -> MemoryBackend:
    backend = MemoryBackend(wall_start=START)
    await backend.create_group("t", "g", EntryId(0))
    return backend


@pytest.fixture
async def me(backend: MemoryBackend) -> GroupMember:
    return await member(backend, US)


async def member(backend: MemoryBackend, membership: Membership) -> GroupMember:
    """Join for good: leaving does nothing here."""
    async with backend.join(membership) as joined:
        return joined


def server(backend: MemoryBackend) -> Server:
    """Look inside."""
    return backend._server  # pyright: ignore[reportPrivateUsage]  # a test looks inside


async def append(backend: MemoryBackend, count: int = 1, topic: str = "t") -> list[EntryId]:
    added = await backend.append(topic, [((b"n", b"%d" % n),) for n in range(count)])
    return [entry_id for entry_id in added if isinstance(entry_id, EntryId)]


async def deliver(backend: MemoryBackend, member: GroupMember, count: int = 1) -> list[Entry]:
    await append(backend, count)
    entries = await member.read(count, 0)
    assert len(entries) == count
    return entries


async def pending(backend: MemoryBackend) -> tuple[int, int, int, int]:
    """Count what is held, released, delayed and dead in the group."""
    (group,) = (await backend.info("t")).groups
    return group.pending, group.released, group.delayed, group.dead


# Ids and time


async def test_ids_come_from_a_clock_that_follows_trio(
    autojump_clock: MockClock, backend: MemoryBackend
) -> None:
    first, second = await append(backend, 2)
    assert (first, second) == (EntryId(START_MS, 0), EntryId(START_MS, 1))
    await trio.sleep(2.5)
    assert await append(backend) == [EntryId(START_MS + 2500, 0)]


def test_time_goes_on_in_the_next_run_whatever_its_clock_shows() -> None:
    backend = MemoryBackend()

    async def run(seconds: float) -> EntryId:
        await append(backend)  # time begins with the first look at it
        await trio.sleep(seconds)
        (added,) = await append(backend)
        return added

    first = trio.run(run, 3.0, clock=MockClock(autojump_threshold=0))
    second = trio.run(run, 1.0, clock=MockClock(autojump_threshold=0))
    third = trio.run(run, 0.0)
    assert second == EntryId(first.ms + 1000, 0)
    assert third > second


async def test_the_first_time_is_the_time_of_this_machine(autojump_clock: MockClock) -> None:
    (added,) = await append(MemoryBackend())
    assert abs((datetime.now(UTC) - added.time).total_seconds()) < 60


# Appending


async def test_append_answers_in_order_with_an_error_of_its_own_for_each(
    autojump_clock: MockClock,
    backend: MemoryBackend,
) -> None:
    first, refused, second = await backend.append("t", [RECORD, (), RECORD])
    assert isinstance(refused, RemoteError)
    assert refused.code == "ERR"
    assert (first, second) == (EntryId(START_MS, 0), EntryId(START_MS, 1))


async def test_a_key_of_another_type_is_refused(
    autojump_clock: MockClock, backend: MemoryBackend
) -> None:
    key = own_key("t", "due", "g")
    (entry,) = await deliver(backend, member_ := await member(backend, US))
    assert await member_.settle([Retry(entry.receipt, 1.0)]) == [Settled.DONE]
    assert isinstance((await backend.append(key, [RECORD]))[0], WrongType)
    with pytest.raises(WrongType):
        await backend.create_group(key, "g", None)
    with pytest.raises(WrongType):
        await backend.info(key)
    lost = await member(backend, attrs.evolve(US, topic=key))
    for call in (lost.read(1, 0), lost.look(), lost.take_over(1), lost.forget()):
        with pytest.raises(WrongType):
            await call


async def test_a_backend_has_no_url(
    autojump_clock: MockClock,
) -> None:
    assert MemoryBackend().url is None


# Groups


async def test_a_group_is_created_once_and_keeps_its_place(
    autojump_clock: MockClock, backend: MemoryBackend
) -> None:
    await append(backend, 2)
    assert not await backend.create_group("t", "g", None)
    assert await backend.create_group("t", "late", None)
    assert await backend.create_group("t", "middle", EntryId(START_MS, 0))
    infos = (await backend.info("t")).groups
    assert [(info.name, info.lag) for info in infos] == [("g", 2), ("late", 0), ("middle", 1)]


async def test_a_new_group_forgets_what_was_due_in_an_earlier_one(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember
) -> None:
    (entry,) = await deliver(backend, me)
    await me.settle([Retry(entry.receipt, 3600.0)])
    assert backend.destroy_group("t", "g")
    assert not backend.destroy_group("t", "g")
    await backend.create_group("t", "g", EntryId(0))
    assert len(server(backend).store.sorted_set(own_key("t", "due", "g"))) == 0
    assert not (await me.look()).claimable


async def test_info_of_nothing_is_empty(autojump_clock: MockClock, backend: MemoryBackend) -> None:
    info = await backend.info("nothing")
    assert (info.topic, info.length, info.groups) == ("nothing", 0, ())


async def test_info_folds_reserved_consumers_and_shows_the_others(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember
) -> None:
    held, released, delayed, dead = await deliver(backend, me, 4)
    await me.settle([Release(released.receipt), Retry(delayed.receipt, 9.0)])
    await me.settle([Bury(dead.receipt, DEATH)])
    await trio.sleep(1.5)
    (group,) = (await backend.info("t")).groups
    assert (group.pending, group.released, group.delayed, group.dead) == (1, 1, 1, 1)
    assert group.last_delivered == dead.id
    (consumer,) = group.consumers
    assert (consumer.name, consumer.pending, consumer.idle) == ("me", 1, 1.5)
    assert await me.settle([Ack(held.receipt)]) == [Settled.DONE]


# Reading


async def test_read_does_not_wait_for_company_nor_take_more_than_asked(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember
) -> None:
    ids = await append(backend, 5)
    assert [entry.id for entry in await me.read(3, math.inf)] == ids[:3]
    last = await me.read(3, math.inf)
    assert [(entry.id, entry.attempt) for entry in last] == [(ids[3], 1), (ids[4], 1)]
    assert last[0].record == ((b"n", b"3"),)


async def test_read_waits_as_long_as_it_was_told(
    autojump_clock: MockClock, me: GroupMember
) -> None:
    began = trio.current_time()
    assert await me.read(1, 2.5) == []
    assert trio.current_time() - began == 2.5
    assert await me.read(1, 0) == []
    assert trio.current_time() - began == 2.5


async def test_readers_are_served_first_come_first_served(
    autojump_clock: MockClock, backend: MemoryBackend, nursery: trio.Nursery
) -> None:
    got: dict[str, list[EntryId]] = {}

    async def read(name: str, count: int) -> None:
        reader = await member(backend, attrs.evolve(US, consumer=name))
        got[name] = [entry.id for entry in await reader.read(count, math.inf)]

    for name in ("first", "second", "third"):
        nursery.start_soon(read, name, 2)
        await wait_all_tasks_blocked()
    one, two, three = await append(backend, 3)
    await wait_all_tasks_blocked()
    # Each append is a command of its own, so the first reader is not kept for company.
    assert got == {"first": [one, two], "second": [three]}
    (four,) = await append(backend)
    await wait_all_tasks_blocked()
    assert got["third"] == [four]


async def test_a_cancelled_reader_loses_nothing_and_leaves_the_queue(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember
) -> None:
    with trio.move_on_after(1):
        await me.read(1, math.inf)
    (added,) = await append(backend)
    assert await pending(backend) == (0, 0, 0, 0)
    assert [entry.id for entry in await me.read(1, 0)] == [added]


async def test_an_entry_that_arrives_in_the_step_of_the_cancellation_is_returned_or_stays(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember, nursery: trio.Nursery
) -> None:
    """Both orders: served and then cancelled, cancelled and then served."""
    got: list[Entry] = []

    async def disturb(scope: trio.CancelScope, cancel_first: bool) -> None:  # noqa: FBT001
        await wait_all_tasks_blocked()
        # In one step of this task, so that nothing can come between.
        with server(backend).step() as now_ms:
            if cancel_first:
                scope.cancel()
            xadd(server(backend).store, "t", "*", RECORD, now_ms)
        scope.cancel()

    for cancel_first in (False, True):
        with trio.CancelScope() as scope:
            nursery.start_soon(disturb, scope, cancel_first)
            got += await me.read(5, math.inf)
        await wait_all_tasks_blocked()
    assert len(got) == (await pending(backend))[0] == 1
    assert len(await me.read(5, 0)) == 1


async def test_only_one_task_reads(
    autojump_clock: MockClock, me: GroupMember, nursery: trio.Nursery
) -> None:
    nursery.start_soon(me.read, 1, 1.0)
    await wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError):
        await me.read(1, 0)


@pytest.mark.parametrize("remove", ["topic", "group"])
async def test_a_waiting_reader_hears_that_its_group_is_gone(
    autojump_clock: MockClock,
    backend: MemoryBackend,
    me: GroupMember,
    nursery: trio.Nursery,
    remove: str,
) -> None:
    async def read() -> None:
        with pytest.raises(GroupMissing):
            await me.read(1, math.inf)
        done.set()

    done = trio.Event()
    nursery.start_soon(read)
    await wait_all_tasks_blocked()
    assert backend.delete_topic("t") if remove == "topic" else backend.destroy_group("t", "g")
    await done.wait()


async def test_without_the_group_everything_says_so(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember
) -> None:
    (entry,) = await deliver(backend, me)
    assert backend.delete_topic("t")
    assert not backend.delete_topic("t")
    for call in (me.read(1, 0), me.look(), me.take_over(1), me.renew([entry.receipt])):
        with pytest.raises(GroupMissing):
            await call
    assert await me.settle([Ack(entry.receipt)]) == [Settled.LOST]
    assert await me.forget()
    with pytest.raises(RemoteError):
        backend.destroy_group("t", "g")


# Settling


async def test_ack_ends_it(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember
) -> None:
    (entry,) = await deliver(backend, me)
    assert await me.settle([Ack(entry.receipt), Ack(entry.receipt)]) == [
        Settled.DONE,
        Settled.LOST,
    ]
    assert await pending(backend) == (0, 0, 0, 0)


async def test_a_retry_is_taken_when_it_is_due_and_counts(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember
) -> None:
    (entry,) = await deliver(backend, me)
    assert await me.settle([Retry(entry.receipt, 0.0105)]) == [Settled.DONE]
    assert await pending(backend) == (0, 0, 1, 0)
    await trio.sleep(0.0104)
    assert not (await me.look()).claimable  # 10.5 ms are 11 on the wire: never too early
    assert await me.take_over(5) == TakeOver()
    await trio.sleep(0.001)
    assert (await me.look()).claimable
    assert await me.take_over(5) == TakeOver((Entry(entry.id, entry.record, 2),))
    assert await pending(backend) == (1, 0, 0, 0)


async def test_a_release_does_not_count(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember
) -> None:
    now, later = await deliver(backend, me, 2)
    await me.settle([Release(now.receipt), Release(later.receipt, 5.0)])
    assert await me.take_over(5) == TakeOver((now,))
    await trio.sleep(5)
    assert await me.take_over(5) == TakeOver((later,))


@pytest.mark.parametrize("settle", [Retry, Release, Ack])
async def test_what_is_no_longer_ours_does_not_change(
    autojump_clock: MockClock,
    backend: MemoryBackend,
    me: GroupMember,
    settle: Callable[[Receipt], Settlement],
) -> None:
    (entry,) = await deliver(backend, me)
    await me.settle([Retry(entry.receipt)])
    (again,) = (await me.take_over(1)).entries
    other = await member(backend, OTHER)
    assert await me.settle([settle(entry.receipt)]) == [Settled.LOST]  # wrong count
    assert await other.settle([settle(again.receipt)]) == [Settled.LOST]  # wrong owner
    assert await pending(backend) == (1, 0, 0, 0)
    assert await me.settle([Ack(again.receipt)]) == [Settled.DONE]


async def test_settling_a_deleted_entry_ends_the_wait_for_it(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember
) -> None:
    entries = await deliver(backend, me, 4)
    assert backend.delete_entry("t", entries[0].id)
    assert not backend.delete_entry("t", entries[0].id)
    assert backend.trim("t", 0) == 3
    one, two, three, four = (entry.receipt for entry in entries)
    words: list[Settlement] = [Retry(one), Release(two), Bury(three, DEATH), Ack(four)]
    gone = Settled.GONE
    assert await me.settle(words) == [gone, gone, gone, Settled.DONE]
    assert await pending(backend) == (0, 0, 0, 0)


# Dead letters


async def test_what_is_buried_without_a_topic_stays_in_its_group(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember
) -> None:
    (entry,) = await deliver(backend, me)
    assert await me.settle([Bury(entry.receipt, DEATH)]) == [Settled.DONE]
    assert await pending(backend) == (0, 0, 0, 1)
    await trio.sleep(1000)
    assert not (await me.look()).claimable


async def test_what_is_buried_wakes_the_readers_of_the_dead_letter_topic(
    autojump_clock: MockClock, backend: MemoryBackend, nursery: trio.Nursery
) -> None:
    me = await member(backend, attrs.evolve(US, dead_letter_topic="dead"))
    await backend.create_group("dead", "g", None)
    undertaker = await member(backend, attrs.evolve(US, topic="dead"))
    got: list[Entry] = []

    async def read() -> None:
        got.extend(await undertaker.read(1, math.inf))

    nursery.start_soon(read)
    (entry,) = await deliver(backend, me)
    await wait_all_tasks_blocked()
    await me.settle([Bury(entry.receipt, DEATH)])
    await wait_all_tasks_blocked()
    (buried,) = got
    assert buried.record[: len(entry.record)] == entry.record
    context = dict(buried.record[len(entry.record) :])
    assert tuple(context) == CONTEXT
    assert context[b"dead-letter-id"] == str(entry.id).encode()
    assert context[b"dead-letter-last"] == str(buried.id.ms).encode()
    assert await pending(backend) == (0, 0, 0, 0)


async def test_a_record_with_too_many_fields_is_buried_in_its_group(
    autojump_clock: MockClock,
    backend: MemoryBackend,
) -> None:
    me = await member(backend, attrs.evolve(US, dead_letter_topic="dead"))
    await backend.append("t", [((b"f", b""),) * 3501, ((b"f", b""),) * 3500])
    big, largest = await me.read(2, 0)
    settled = await me.settle([Bury(big.receipt, DEATH), Bury(largest.receipt, DEATH)])
    assert settled == [Settled.DONE, Settled.DONE]
    assert await pending(backend) == (0, 0, 0, 1)
    assert (await backend.info("dead")).length == 1


async def test_a_refused_burial_leaves_the_entry_and_its_neighbours_alone(
    autojump_clock: MockClock,
    backend: MemoryBackend,
) -> None:
    broken = own_key("t", "due", "g")  # holds a sorted set
    me = await member(backend, attrs.evolve(US, dead_letter_topic=broken, max_attempt=1))
    one, two = await deliver(backend, me, 2)
    refused, done = await me.settle([Bury(one.receipt, DEATH), Ack(two.receipt)])
    assert isinstance(refused, WrongType)
    assert done is Settled.DONE
    await me.settle([Retry(one.receipt)])
    with pytest.raises(WrongType):  # over the limit, and it cannot be buried
        await me.take_over(1)
    (three,) = await deliver(backend, me)
    await me.settle([Release(three.receipt)])
    assert await me.take_over(5) == TakeOver((three,))  # what can be taken is taken all the same


# Taking over


async def test_an_entry_over_the_limit_is_buried_instead(
    autojump_clock: MockClock, backend: MemoryBackend
) -> None:
    me = await member(backend, attrs.evolve(US, dead_letter_topic="dead"))
    (entry,) = await deliver(backend, me)
    for attempt in (2, 3):
        await me.settle([Retry(entry.receipt)])
        (entry,) = (await me.take_over(1)).entries
        assert entry.attempt == attempt
    await me.settle([Retry(entry.receipt)])
    assert await me.take_over(1) == TakeOver(buried=(Receipt(entry.id, 3),))
    assert (await backend.info("dead")).length == 1
    assert not (await me.look()).claimable


async def test_deleted_entries_are_reported_and_dropped(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember
) -> None:
    free, due, kept = await deliver(backend, me, 3)
    await me.settle([Release(free.receipt), Retry(due.receipt), Release(kept.receipt)])
    backend.delete_entry("t", free.id)
    backend.delete_entry("t", due.id)
    assert await me.take_over(1) == TakeOver((kept,), gone=(free.id,))
    assert await me.take_over(1) == TakeOver(gone=(due.id,))
    assert await pending(backend) == (1, 0, 0, 0)


async def test_only_abandoned_entries_are_taken_from_others_and_never_our_own(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember
) -> None:
    other = await member(backend, OTHER)
    (ours,) = await deliver(backend, me)
    (first,) = await deliver(backend, other)
    await trio.sleep(5)
    (second,) = await deliver(backend, other)
    await trio.sleep(4.999)
    assert not (await me.look()).claimable
    await trio.sleep(0.001)
    assert (await me.look()).claimable
    taken = await me.take_over(9)
    assert taken == TakeOver((Entry(first.id, first.record, 2),))
    assert await other.settle([Ack(first.receipt), Ack(second.receipt)]) == [
        Settled.LOST,
        Settled.DONE,
    ]
    assert await me.settle([Ack(ours.receipt)]) == [Settled.DONE]


async def test_candidates_are_free_then_abandoned_then_due(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember
) -> None:
    abandoned, free, due = await deliver(backend, await member(backend, OTHER), 3)
    other = await member(backend, OTHER)
    await other.settle([Release(free.receipt), Retry(due.receipt)])
    await trio.sleep(10)
    assert (await me.look()).claimable
    order = [(await me.take_over(1)).entries[0].id for _ in range(3)]
    assert order == [free.id, abandoned.id, due.id]
    assert not (await me.look()).claimable


async def test_an_entry_without_a_due_time_is_due(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember
) -> None:
    known, unknown = await deliver(backend, me, 2)
    await me.settle([Retry(known.receipt, 99.0), Retry(unknown.receipt, 99.0)])
    server(backend).store.sorted_set(own_key("t", "due", "g")).remove(str(unknown.id))
    assert (await me.look()).claimable
    assert [entry.id for entry in (await me.take_over(5)).entries] == [unknown.id]


async def test_a_due_time_without_an_entry_is_forgotten(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember
) -> None:
    due = server(backend).store.sorted_set(own_key("t", "due", "g"))
    due.add("1-1", START_MS)
    assert not (await me.look()).claimable
    assert len(due) == 0
    due.add("1-1", START_MS)
    assert await me.take_over(1) == TakeOver()
    assert len(due) == 0


async def test_idle_consumers_without_entries_are_removed(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember
) -> None:
    other, busy = await member(backend, OTHER), attrs.evolve(US, consumer="busy")
    await other.read(1, 0)
    await deliver(backend, await member(backend, busy), 3)
    far = await member(backend, attrs.evolve(US, consumer="far", lease=60.0))
    await trio.sleep(20)
    assert await names(backend, far) == ["busy", "far", "other"]
    await trio.sleep(0.001)
    assert await names(backend, me) == ["busy", "far", "me"]  # "busy" owned something until now
    assert await names(backend, me) == ["far", "me"]


async def names(backend: MemoryBackend, member: GroupMember) -> list[str]:
    await member.look()
    await member.take_over(1)
    (group,) = (await backend.info("t")).groups
    return [consumer.name for consumer in group.consumers]


# Leases and leaving


@pytest.mark.guards("a renewal does not ask who owns it")
async def test_renewing_starts_the_lease_anew_and_names_what_is_lost(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember
) -> None:
    kept, deleted = await deliver(backend, me, 2)
    backend.delete_entry("t", deleted.id)
    other = await member(backend, OTHER)
    await trio.sleep(9)
    over = await me.renew([kept.receipt, deleted.receipt, Receipt(EntryId(7), 1)])
    assert over == {deleted.id: Settled.GONE, EntryId(7): Settled.ABSENT}
    await trio.sleep(9)
    assert not (await other.look()).claimable
    await trio.sleep(1)
    assert (await other.look()).claimable
    (taken,) = (await other.take_over(2)).entries
    assert (taken.id, taken.attempt) == (kept.id, 2)
    assert await me.renew([kept.receipt]) == {kept.id: Settled.LOST}


async def test_a_consumer_is_forgotten_unless_it_owns_entries(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember
) -> None:
    assert await me.forget()
    (entry,) = await deliver(backend, me)
    assert not await me.forget()
    await me.settle([Release(entry.receipt)])
    assert await me.forget()
    assert await pending(backend) == (0, 1, 0, 0)


Call = Callable[[MemoryBackend, GroupMember, Entry], Awaitable[object]]
CALLS: dict[str, Call] = {
    "append": lambda backend, _, __: backend.append("t", [RECORD]),
    "create_group": lambda backend, _, __: backend.create_group("t", "new", None),
    "info": lambda backend, _, __: backend.info("t"),
    "read": lambda _, me, __: me.read(1, math.inf),
    "read nothing": lambda _, me, __: me.read(1, 0),
    "look": lambda _, me, __: me.look(),
    "take_over": lambda _, me, __: me.take_over(1),
    "settle": lambda _, me, entry: me.settle([Ack(entry.receipt)]),
    "settle nothing": lambda _, me, __: me.settle([]),
    "renew": lambda _, me, entry: me.renew([entry.receipt]),
    "forget": lambda _, me, __: me.forget(),
}


@pytest.mark.parametrize("name", CALLS)
async def test_every_call_is_a_checkpoint_and_cancelled_did_not_happen(
    autojump_clock: MockClock, backend: MemoryBackend, me: GroupMember, name: str
) -> None:
    (entry,) = await deliver(backend, me)
    await append(backend)
    before = await backend.info("t")
    with trio.CancelScope() as scope:
        scope.cancel()
        await CALLS[name](backend, me, entry)
    assert scope.cancelled_caught
    assert await backend.info("t") == before
    with assert_checkpoints():
        await CALLS[name](backend, me, entry)
