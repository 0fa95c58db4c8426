"""Suspects, as backends keep them: set apart, booked, taken, released as what they were."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from tests.harness import open_world
from tests.ledger import Spot, buried_in, ledger_of
from tests.redis_world import command
from trio_bus import EntryId, MemoryBackend, RedisBackend
from trio_bus._names import DUE, FREE, SUSPECT
from trio_bus._suspects import suspicious_from
from trio_bus.abc import (
    Ack,
    Entry,
    GroupMember,
    Membership,
    Receipt,
    Record,
    Release,
    Retry,
    Settled,
    StreamBackend,
    TakeOver,
)

TOPIC, GROUP, DEAD_TOPIC = "{orders}", "billing", "{orders}.dead"
RECORD: Record = ((b"n", b"1"),)
US = Membership(
    topic=TOPIC, group=GROUP, consumer="us", lease=60.0, max_attempt=4, dead_letter_topic=DEAD_TOPIC
)
THEM = attrs.evolve(US, consumer="them")
BRIEF = attrs.evolve(US, consumer="brief", lease=0.02)
"""Takes over at once, and waits for no booking."""


@pytest.fixture
async def backend(backend_url: str) -> AsyncIterator[StreamBackend]:
    """Give each backend, with our group on an empty topic."""
    async with open_world(backend_url) as world:
        await world.backend.create_group(TOPIC, GROUP, EntryId(0))
        yield world.backend


async def lost(backend: StreamBackend, count: int, starts: int) -> list[EntryId]:
    """Append entries that lose their owner so often; the last one has just died."""
    await backend.append(TOPIC, [RECORD] * count)
    async with join(backend, "ghost-1") as ghost:
        entries = await ghost.read(count, 1.0)
    for number in range(2, starts + 1):
        async with join(backend, f"ghost-{number}", lease=0.02) as ghost:
            entries = await taken(ghost, count)
    assert len(entries) == count
    assert {entry.attempt for entry in entries} == {starts}
    return [entry.id for entry in entries]


@asynccontextmanager
async def join(
    backend: StreamBackend, consumer: str, lease: float = 60.0
) -> AsyncGenerator[GroupMember, None]:
    """Be another consumer."""
    async with backend.join(attrs.evolve(US, consumer=consumer, lease=lease)) as member:
        yield member


async def taken(member: GroupMember, count: int) -> list[Entry]:
    """Take over until so many have come."""
    entries: list[Entry] = []
    with trio.fail_after(10):
        while len(entries) < count:
            await member.look()
            entries += (await member.take_over(count)).entries
            await trio.sleep(0.005)
    return entries


async def found(member: GroupMember, *, book: bool = False) -> TakeOver:
    """Take over until that brings anything."""
    with trio.fail_after(10):
        await member.look()
        while (result := await member.take_over(10, book=book)) == TakeOver():
            await trio.sleep(0.005)
            await member.look()
    return result


async def suspect(backend: StreamBackend, count: int = 1) -> list[EntryId]:
    """Set entries apart that were started twice; nobody has booked one."""
    ids = await lost(backend, count, 2)
    async with backend.join(BRIEF) as brief:
        parted: list[Receipt] = []
        with trio.fail_after(10):
            while len(parted) < count:
                await brief.look()
                parted += (await brief.take_over(10)).suspects
                await trio.sleep(0.005)
    assert sorted(parted, key=lambda it: it.id) == [Receipt(key, 2) for key in ids]
    return ids


async def spots(backend: StreamBackend) -> list[Spot]:
    """Return where each entry is, in their order."""
    return list((await ledger_of(backend, TOPIC, GROUP)).values())


@pytest.mark.parametrize(("max_attempt", "counts"), [(1, 1), (2, 1), (3, 2), (4, 2), (100, 2)])
def test_there_is_a_start_alone_before_the_last(max_attempt: int, counts: int) -> None:
    """Two starts beside others, or as many as leave one for a start alone."""
    assert suspicious_from(max_attempt) == counts


async def test_what_lost_its_owner_once_is_no_suspect(backend: StreamBackend) -> None:
    """A machine that dies takes many with it: they start together."""
    ids = await lost(backend, 3, 1)
    async with backend.join(BRIEF) as brief:
        result = await found(brief, book=True)
    assert [(it.id, it.attempt, it.suspect) for it in result.entries] == [
        (key, 2, False) for key in ids
    ]
    assert result.booked is None


async def test_a_suspect_is_set_apart_and_not_counted(backend: StreamBackend) -> None:
    """It has no owner then; the one that is booked is the oldest."""
    one, two = await lost(backend, 2, 2)
    async with backend.join(BRIEF) as brief:
        result = await found(brief, book=True)
        assert result == TakeOver(suspects=(Receipt(one, 2), Receipt(two, 2)), booked=one)
        assert await spots(backend) == [Spot(SUSPECT, 2)] * 2
        (group,) = (await backend.info(TOPIC)).groups
        assert (group.pending, group.suspects) == (0, 2)
        (entry,) = (await brief.take_booked(one)).entries
    assert entry == Entry(one, RECORD, 3, suspect=True)
    assert await spots(backend) == [Spot("brief", 3), Spot(SUSPECT, 2)]


async def test_with_one_retry_one_lost_owner_is_enough(backend: StreamBackend) -> None:
    """There is no other start left."""
    (key,) = await lost(backend, 1, 1)
    async with backend.join(attrs.evolve(BRIEF, max_attempt=2)) as brief:
        assert (await found(brief)).suspects == (Receipt(key, 1),)


async def test_without_retries_nobody_is_a_suspect(backend: StreamBackend) -> None:
    """What lost its owner is over the limit."""
    (key,) = await lost(backend, 1, 1)
    async with backend.join(attrs.evolve(BRIEF, max_attempt=1)) as brief:
        assert (await found(brief, book=True)) == TakeOver(buried=(Receipt(key, 1),))


@pytest.mark.parametrize("settle", [Retry, Release], ids=["retried", "released"])
async def test_what_was_handed_back_is_no_suspect(
    backend: StreamBackend, settle: type[Retry | Release]
) -> None:
    """However often it was started: its owner lived to say so."""
    (key,) = await lost(backend, 1, 1)
    async with join(backend, "alive", lease=0.02) as alive:
        (entry,) = await taken(alive, 1)
        await alive.settle([Retry(entry.receipt)])
        (entry,) = await taken(alive, 1)
        assert entry.attempt == 3
        assert await alive.settle([settle(entry.receipt)]) == [Settled.DONE]
    async with backend.join(BRIEF) as brief:
        (entry,) = (await found(brief, book=True)).entries
    assert (entry.id, entry.suspect) == (key, False)


async def test_a_suspect_that_is_released_is_one_as_before(backend: StreamBackend) -> None:
    """As if it had not been delivered, and anybody may book it at once."""
    (key,) = await suspect(backend)
    async with backend.join(US) as us, backend.join(THEM) as them:
        assert (await us.take_over(1, book=True)).booked == key
        (entry,) = (await us.take_booked(key)).entries
        assert await us.settle([Release(entry.receipt)]) == [Settled.DONE]
        assert await spots(backend) == [Spot(SUSPECT, 2)]
        assert (await them.look()).claimable
        assert (await them.take_over(1, book=True)).booked == key
        (again,) = (await them.take_booked(key)).entries
    assert again == entry


async def test_a_suspect_that_is_put_off_is_one_when_its_time_has_come(
    backend: StreamBackend,
) -> None:
    """It counts as not delivered, now or later."""
    (key,) = await suspect(backend)
    async with backend.join(US) as us:
        (entry,) = (await us.take_booked(key)).entries
        assert await us.settle([Release(entry.receipt, 0.001)]) == [Settled.DONE]
        assert await spots(backend) == [Spot(DUE, 2)]
        assert await found(us, book=True) == TakeOver(suspects=(Receipt(key, 2),), booked=key)
        assert (await us.look()).due_in is None, "it waits for no time any more"
        assert (await us.take_booked(key)).entries == (entry,)


async def test_a_suspect_whose_handler_failed_is_none_any_more(backend: StreamBackend) -> None:
    """It has not killed its process."""
    (key,) = await suspect(backend)
    async with backend.join(US) as us:
        (entry,) = (await us.take_booked(key)).entries
        assert await us.settle([Retry(entry.receipt, 0.001)]) == [Settled.DONE]
        assert await spots(backend) == [Spot(DUE, 3)]
        assert (await found(us, book=True)).entries == (again(entry),)


def again(entry: Entry) -> Entry:
    """Return what an entry is that is taken beside others after it was a suspect."""
    return Entry(entry.id, entry.record, entry.attempt + 1)


async def test_what_is_booked_is_left_alone_for_a_lease(backend: StreamBackend) -> None:
    """Others book others, and see nothing to do when there is none."""
    one, two = await suspect(backend, 2)
    async with backend.join(US) as us, backend.join(THEM) as them:
        assert (await us.look()).claimable
        assert await us.take_over(1) == TakeOver(), "not asked to"
        assert (await us.take_over(1, book=True)).booked == one
        assert (await them.take_over(1, book=True)).booked == two
        assert not (await them.look()).claimable
        assert await them.take_over(1, book=True) == TakeOver()
        async with backend.join(BRIEF) as brief:
            assert (await found(brief, book=True)).booked == one, "its lease is over for this one"


async def test_a_booking_that_is_kept_begins_anew(backend: StreamBackend) -> None:
    """For another lease from now."""
    (key,) = await suspect(backend)
    async with backend.join(US) as us, backend.join(THEM) as them:
        assert await us.keep_booking(key)
        assert await them.take_over(1, book=True) == TakeOver()
        await us.take_booked(key)
        assert not await them.keep_booking(key)
    assert await spots(backend) == [Spot("us", 3)]


async def test_a_booking_that_is_given_up_is_free_at_once(backend: StreamBackend) -> None:
    """And the others are woken."""
    (key,) = await suspect(backend)
    async with backend.join(US) as us, backend.join(THEM) as them:
        assert (await us.take_over(1, book=True)).booked == key
        with trio.move_on_after(0.2):  # what was handed back before may still wake us
            while True:
                await them.woken()
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(them.woken)
                await us.give_up_booking(key)
        assert (await them.take_over(1, book=True)).booked == key
        await them.take_booked(key)
        await us.give_up_booking(key)
    assert await spots(backend) == [Spot("them", 3)], "what is no suspect any more is not touched"


async def test_only_one_gets_it_whoever_has_booked_it(backend: StreamBackend) -> None:
    """A booking is a hint; taking is what counts."""
    (key,) = await suspect(backend)
    async with backend.join(US) as us, backend.join(THEM) as them:
        results = [await us.take_booked(key), await them.take_booked(key)]
    assert [len(result.entries) for result in results] == [1, 0]
    assert results[1] == TakeOver()


async def test_a_suspect_that_is_over_the_limit_is_buried(backend: StreamBackend) -> None:
    """Whoever takes it may have a lower limit than who set it apart."""
    (key,) = await suspect(backend)
    async with backend.join(attrs.evolve(US, max_attempt=2)) as us:
        assert await us.take_booked(key) == TakeOver(buried=(Receipt(key, 2),))
    assert await buried_in(backend, DEAD_TOPIC) == [key]


async def test_a_suspect_that_was_deleted_is_told(backend: StreamBackend) -> None:
    """When it is booked, and when it is taken."""
    one, two, three = await suspect(backend, 3)
    async with backend.join(US) as us:
        assert (await us.take_over(1, book=True)).booked == one
        await delete(backend, one, two)
        assert await us.keep_booking(one), "it is told by who takes it"
        assert await us.take_over(1, book=True) == TakeOver(gone=(two,), booked=three)
        assert await us.take_booked(one) == TakeOver(gone=(one,))
        assert not await us.keep_booking(one)
    async with backend.join(BRIEF) as brief:
        lone = await lost(backend, 1, 2)
        await trio.sleep(2 * BRIEF.lease)
        await brief.look()  # it is abandoned now
        await delete(backend, *lone)
        assert (await found(brief)).gone == tuple(lone), "also when it would have been set apart"


async def test_a_suspect_that_is_acked_is_done(backend: StreamBackend) -> None:
    """It was an innocent."""
    (key,) = await suspect(backend)
    async with backend.join(US) as us:
        (entry,) = (await us.take_booked(key)).entries
        assert await us.renew([entry.receipt]) == {}
        assert await us.settle([Ack(entry.receipt)]) == [Settled.DONE]
        assert not (await us.look()).claimable
        assert await us.take_booked(key) == TakeOver()


async def test_what_is_free_is_not_mixed_with_suspects(backend: StreamBackend) -> None:
    """A released entry is taken beside others while a suspect waits."""
    await suspect(backend)
    await backend.append(TOPIC, [RECORD])
    async with backend.join(US) as us:
        (entry,) = await us.read(1, 1.0)
        await us.settle([Release(entry.receipt)])
        assert (await spots(backend))[1] == Spot(FREE, 0)
        result = await us.take_over(5, book=True)
        assert [it.suspect for it in result.entries] == [False]
        assert result.booked is not None


async def delete(backend: StreamBackend, *ids: EntryId) -> None:
    """Delete entries, as an operator may."""
    for key in ids:
        if isinstance(backend, MemoryBackend):
            backend.delete_entry(TOPIC, key)
        else:
            assert isinstance(backend, RedisBackend)
            await command(backend, "XDEL", TOPIC, str(key))
