"""Taking over on real servers: what is released, due or abandoned."""

# pyright: reportPrivateUsage=false
# Faults are aimed at connections, which only the inside knows by name.

from __future__ import annotations

import attrs
import pytest
import trio

from tests.redis_world import (
    DEAD_TOPIC,
    GROUP,
    THEM,
    TOPIC,
    US,
    command,
    ids,
    joined,
    publish,
    raw_pending,
    receipts,
    until_blocked,
)
from trio_bus._backend import (
    Ack,
    DeathCause,
    Entry,
    Receipt,
    Release,
    Retry,
    TakeOver,
)
from trio_bus._dead_letter import dead_letter_of
from trio_bus._entry_id import EntryId
from trio_bus._errors import (
    WrongType,
)
from trio_bus._names import own_key
from trio_bus._redis import RedisBackend
from trio_bus._redis.replies import as_list, as_text, read_entries
from trio_bus._settled import Settled

pytestmark = pytest.mark.every_server


async def test_what_is_free_and_due_is_taken_in_that_order(backend: RedisBackend) -> None:
    """Free first, then due, then due without a time; the delayed ones stay."""
    await publish(backend, 5)
    async with backend.join(US) as us, backend.join(THEM) as them:
        free, freed, due, rowless, later = receipts(await us.read(5, 1))
        await us.settle([Retry(due, 0.02), Retry(rowless), Release(later, 60), Release(freed)])
        await us.settle([Release(free)])
        await trio.sleep(0.03)
        await command(backend, "ZREM", own_key(TOPIC, "due", GROUP), str(rowless.id))
        assert (await them.look()).claimable
        taken = await them.take_over(10)
        assert [(it.id, it.attempt) for it in taken.entries] == [
            (free.id, 1),
            (freed.id, 1),
            (due.id, 2),
            (rowless.id, 2),
        ]
        assert not (await them.look()).claimable
        assert await them.take_over(10) == TakeOver()
    assert (await raw_pending(backend))[later.id] == ("~due", 0)


async def test_a_retry_is_not_taken_before_its_time(backend: RedisBackend) -> None:
    """By the clock of the server, and at whatever moment of its milliseconds."""
    await publish(backend, 1)
    async with backend.join(attrs.evolve(US, max_attempt=99)) as us:
        (entry,) = await us.read(1, 1)
        for number in range(30):
            await trio.sleep(0.0003 * (number % 7))
            before = await server_time(backend)
            await us.settle([Retry(entry.receipt, 0.0025)])
            with trio.fail_after(5):
                while not (taken := await us.take_over(1)).entries:
                    pass  # ask again at once
            assert await server_time(backend) - before >= 3000, "rounded up on the wire"
            (entry,) = taken.entries
            assert entry.attempt == number + 2
    assert await command(backend, "EXISTS", own_key(TOPIC, "due", GROUP)) == 0


async def server_time(backend: RedisBackend) -> int:
    """Return microseconds."""
    seconds, microseconds = as_list(await command(backend, "TIME"))
    return int(as_text(seconds)) * 1_000_000 + int(as_text(microseconds))


async def test_only_expired_leases_are_taken(backend: RedisBackend) -> None:
    """Renewal keeps an entry; our own are never taken over by us."""
    await publish(backend, 3)
    short = attrs.evolve(US, lease=1.5)
    async with backend.join(short) as us, backend.join(attrs.evolve(THEM, lease=1.5)) as them:
        kept, *others = receipts(await us.read(3, 1))
        assert not (await them.look()).claimable
        await trio.sleep(1.51)
        assert await us.renew([kept]) == {}
        assert not (await us.look()).claimable
        assert await us.take_over(10) == TakeOver()
        assert (await them.look()).claimable
        taken = await them.take_over(1)
        taken_2 = await them.take_over(10)
        assert receipts([*taken.entries, *taken_2.entries]) == [Receipt(it.id, 2) for it in others]
        assert await us.renew([kept, *others]) == {it.id: Settled.LOST for it in others}
        assert await us.settle([Ack(others[0]), Ack(kept)]) == [Settled.LOST, Settled.DONE]


async def test_entries_over_the_limit_are_buried_on_the_way(backend: RedisBackend) -> None:
    """Whoever crashed too many consumers is not handed to another one."""
    await publish(backend, 2)
    limited = attrs.evolve(US, max_attempt=1, lease=0.1)
    async with backend.join(limited) as us, backend.join(attrs.evolve(limited, consumer="x")) as x:
        one, two = receipts(await us.read(2, 1))
        await us.settle([Release(two)])
        await trio.sleep(0.11)
        assert (await x.look()).claimable
        taken = await x.take_over(1)
        assert ids(taken.entries) == [two.id]
        assert (await x.take_over(1)).buried == (one,)
    rows = await command(backend, "XRANGE", DEAD_TOPIC, "-", "+")
    (entry,) = read_entries([[b"", rows]])
    buried = entry.record
    context = dead_letter_of(buried)
    assert context is not None
    assert context.cause is DeathCause.EXHAUSTED
    assert context.attempts == 1
    assert context.error_text == "delivered 1 times without being settled"
    assert await raw_pending(backend) == {two.id: ("x", 1)}


async def test_deleted_entries_are_reported_once(backend: RedisBackend) -> None:
    """Wherever they wait: due, free, or with a dead consumer."""
    await publish(backend, 4)
    short = attrs.evolve(US, lease=0.1)
    async with backend.join(short) as us, backend.join(attrs.evolve(short, consumer="x")) as x:
        due, free, held, alive = receipts(await us.read(4, 1))
        await us.settle([Retry(due), Release(free)])
        await command(backend, "XDEL", TOPIC, *(str(it.id) for it in (due, free, held)))
        await trio.sleep(0.11)
        assert (await x.look()).gone == (held.id,)
        taken = await x.take_over(10)
        assert taken.gone == (free.id, due.id)
        assert ids(taken.entries) == [alive.id]
        assert await x.take_over(10) == TakeOver()
    assert await raw_pending(backend) == {alive.id: ("x", 2)}
    assert await command(backend, "EXISTS", own_key(TOPIC, "due", GROUP)) == 0


async def test_rows_that_speak_of_nothing_are_forgotten(backend: RedisBackend) -> None:
    """A due time whose entry is not waiting (any more) does not stay for ever."""
    due = own_key(TOPIC, "due", GROUP)
    await command(backend, "ZADD", due, 1, "5-1", 2, "6-1")
    async with backend.join(US) as us:
        assert not (await us.look()).claimable
        assert await command(backend, "EXISTS", due) == 0
        await command(backend, "ZADD", due, 1, "5-1", 2, "6-1")
        assert await us.take_over(1) == TakeOver()
    assert await command(backend, "EXISTS", due) == 0


async def test_a_poisoned_head_does_not_hide_what_is_behind_it(backend: RedisBackend) -> None:
    """Entries that cannot be buried are passed over; with nothing else, the refusal is told."""
    await publish(backend, 4)
    broken = attrs.evolve(US, max_attempt=1, dead_letter_topic="{orders}text")
    await command(backend, "SET", "{orders}text", "x")
    async with backend.join(broken) as us:
        one, two, three, four = receipts(await us.read(4, 1))
        await us.settle([Retry(one), Retry(two), Release(three), Release(four)])
        await trio.sleep(0.002)
        taken = await us.take_over(10)
        assert ids(taken.entries) == [three.id, four.id]
        with pytest.raises(WrongType):
            await us.take_over(10)
    assert (await raw_pending(backend))[one.id] == ("~due", 1)


@pytest.mark.guards("more is claimed than can start")
async def test_take_over_stops_at_its_count(backend: RedisBackend) -> None:
    """Nobody is handed more than there are permits for; many calls bring all, once."""
    added = await publish(backend, 250)
    async with backend.join(US) as us:
        entries = await us.read(250, 1)
        await us.settle([Retry(it) for it in receipts(entries[:100])])
        await us.settle([Release(it) for it in receipts(entries[100:])])
        await command(backend, "DEL", own_key(TOPIC, "due", GROUP))
        assert (await us.look()).claimable
        seen: list[EntryId] = []
        for _ in range(36):
            taken = await us.take_over(7)
            assert len(taken.entries) <= 7
            seen += ids(taken.entries)
        assert sorted(seen) == added


async def test_idle_empty_consumers_are_removed_and_owners_never(backend: RedisBackend) -> None:
    """A consumer that is gone leaves nothing but what it holds."""
    await publish(backend, 1)
    short = attrs.evolve(US, lease=1.0)
    for name in ("holder", "empty"):
        async with backend.join(attrs.evolve(short, consumer=name)) as member:
            await member.read(1, 0.01)
    await command(backend, "XGROUP", "CREATECONSUMER", TOPIC, GROUP, "old")
    async with backend.join(attrs.evolve(short, lease=60)) as patient:
        await trio.sleep(2.01)
        await patient.look()
        assert {"holder", "old", "us"} <= await consumers(backend)
    async with backend.join(attrs.evolve(short, consumer="x")) as x:
        await x.look()
        assert await consumers(backend) == {"holder", "us", "x"}, "it held something"
        assert len((await x.take_over(1)).entries) == 1
        await x.look()
        assert await consumers(backend) == {"us", "x"}, "it looked a moment ago"


async def consumers(backend: RedisBackend) -> set[str]:
    """Return the names of those who are no reserved ones."""
    (group,) = (await backend.info(TOPIC)).groups
    return {it.name for it in group.consumers}


async def test_a_consumer_that_was_removed_while_it_reads_is_served(backend: RedisBackend) -> None:
    """A short lease and a long read: the server makes the consumer anew with its next entry."""
    async with backend.join(US) as us, trio.open_nursery() as nursery:
        entries: list[Entry] = []

        async def read() -> None:
            entries.extend(await us.read(1, 10))

        nursery.start_soon(read)
        await until_blocked(backend)
        await command(backend, "XGROUP", "DELCONSUMER", TOPIC, GROUP, "us")
        (entry_id,) = await publish(backend, 1)
    assert ids(entries) == [entry_id]
    assert await raw_pending(backend) == {entry_id: ("us", 1)}


async def test_forget_never_destroys_entries(backend: RedisBackend) -> None:
    """A consumer that owns something stays; one that is gone already is forgotten."""
    await publish(backend, 1)
    async with backend.join(US) as us:
        (entry,) = await us.read(1, 1)
        assert not await us.forget()
        await us.settle([Ack(entry.receipt)])
        assert await us.forget()
        assert await us.forget()
    assert (await backend.info(TOPIC)).groups[0].consumers == ()


@pytest.mark.guards("a read is dropped by a select")
async def test_a_cancelled_take_over_gives_back_what_it_took(backend: RedisBackend) -> None:
    """Its answer is awaited, and released uncounted."""
    (entry_id,) = await publish(backend, 1)
    async with joined(backend, US) as us:
        await us.settle([Release(it) for it in receipts(await us.read(1, 1))])
        with trio.CancelScope() as scope:
            scope.cancel()
            await us.take_over(1)
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(us.take_over, 1)
            await trio.lowlevel.checkpoint()  # the command is on its way
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert await raw_pending(backend) == {entry_id: ("~free", 0)}
        assert us._holdings.known == {}


async def test_an_entry_that_comes_back_is_known_whoever_hears_of_it_first(
    backend: RedisBackend,
) -> None:
    """Its release, a renewal and the next take-over are answered together, to three tasks."""
    async with joined(backend, US) as us:
        for _ in range(40):
            await publish(backend, 1)
            (entry,) = await us.read(1, 1)
            taken: list[TakeOver] = []

            async def take(found: list[TakeOver]) -> None:
                found.append(await us.take_over(1))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(us.settle, [Release(entry.receipt)])
                await trio.lowlevel.checkpoint()
                nursery.start_soon(us.renew, [entry.receipt])
                nursery.start_soon(take, taken)
            for again in taken[0].entries or (await us.take_over(1)).entries:
                assert again.id in us._holdings.known
                assert await us.settle([Ack(again.receipt)]) == [Settled.DONE]
            assert not us._holdings.known
