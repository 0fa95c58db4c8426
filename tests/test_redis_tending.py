"""Tending on real servers: many entries, a full server, keys of ours that got lost."""

from __future__ import annotations

import attrs
import pytest
import trio

from tests.redis_world import GROUP, THEM, TOPIC, US, command, ids, publish, receipts
from tests.servers import command as inline
from trio_bus._backend import Entry, GroupMember, Receipt, Retry, TakeOver
from trio_bus._entry_id import EntryId
from trio_bus._look import Look
from trio_bus._names import own_key
from trio_bus._redis import RedisBackend

pytestmark = pytest.mark.every_server

LEASE = 1000.0
LATE = attrs.evolve(US, consumer="late", lease=LEASE)
US_PATIENT = attrs.evolve(US, lease=LEASE)
DUE, TENDING = own_key(TOPIC, "due", GROUP), own_key(TOPIC, "tending", GROUP)
MANY = 1300
"""Entries that no single look can look at."""


async def hold(backend: RedisBackend, count: int) -> list[Entry]:
    """Let a consumer hold so many, which it has just got."""
    await publish(backend, count)
    async with backend.join(LATE) as late:
        entries = await late.read(count, 5)
        assert len(entries) == count
        return entries


async def age(backend: RedisBackend, entries: list[Entry], seconds: float) -> None:
    """Let the server think that they were delivered so long ago."""
    names = [str(entry.id) for entry in entries]
    how = ("IDLE", round(seconds * 1000), "JUSTID")
    await command(backend, "XCLAIM", TOPIC, GROUP, "late", 0, *names, *how)


async def look_on(member: GroupMember) -> Look:
    """Look as long as we are told to do so at once."""
    for _ in range(40):
        look = await member.look()
        if look.due_in != 0:
            return look
    pytest.fail("it leads on for ever")


async def test_many_leases_are_looked_at_in_parts(backend: RedisBackend) -> None:
    """The one that ran out is found among those that did not."""
    entries = await hold(backend, MANY)
    await age(backend, [entries[900]], LEASE + 1)
    async with backend.join(US_PATIENT) as us:
        assert (await us.look()).due_in == 0
        assert (await look_on(us)).claimable
        assert receipts((await us.take_over(9)).entries) == [Receipt(entries[900].id, 2)]


async def test_no_lease_is_looked_at_before_it_can_have_run_out(backend: RedisBackend) -> None:
    """And then it is, also when another consumer holds longer leases."""
    entries = await hold(backend, MANY)
    await age(backend, entries[600:], LEASE - 0.3)
    async with backend.join(US_PATIENT) as us:
        await look_on(us)
        found: list[EntryId] = []
        with trio.fail_after(10):
            while len(found) < MANY - 600:
                await look_on(us)
                found += ids((await us.take_over(MANY)).entries)
        assert found == ids(entries[600:])
        await look_on(us)  # also at what is ours now: whoever looks next is told when that ends
        await command(backend, "CONFIG", "RESETSTAT")
        for _ in range(10):
            assert (await us.look()).due_in is None
        stats = str(await command(backend, "INFO", "commandstats"))
        per_look = int(stats.partition("cmdstat_xpending:calls=")[2].partition(",")[0]) / 10
        assert per_look == 4, "the group; what is free, abandoned, or a suspect; no consumer"


async def test_what_is_known_of_leases_may_get_lost(backend: RedisBackend) -> None:
    """By an eviction, or a clock that goes back: everything is looked at anew."""
    entries = await hold(backend, 2)
    async with backend.join(US_PATIENT) as us:
        assert not (await us.look()).claimable
        await age(backend, entries[:1], LEASE + 1)
        await command(backend, "DEL", TENDING)
        assert (await us.look()).claimable
        assert ids((await us.take_over(5)).entries) == ids(entries[:1])
    async with backend.join(attrs.evolve(US, lease=LEASE / 1000)) as them:  # as if it had
        await age(backend, entries[1:], 10)
        assert (await them.look()).claimable


async def test_a_new_group_knows_nothing_of_an_earlier_one(backend: RedisBackend) -> None:
    """Its consumers may have the same names, and its entries the same ids."""
    await hold(backend, 1)
    async with backend.join(attrs.evolve(US_PATIENT, tend_every=LEASE)) as us:
        await us.look()
        assert await command(backend, "EXISTS", TENDING) == 1
        await command(backend, "DEL", TOPIC)
        assert await backend.create_group(TOPIC, GROUP, EntryId(0))
        assert await command(backend, "EXISTS", TENDING) == 0


async def test_nothing_is_left_of_a_group_that_nobody_tends(backend: RedisBackend) -> None:
    """What we remember goes by itself."""
    async with backend.join(attrs.evolve(US, lease=0.01)) as us:
        await us.look()
        with trio.fail_after(5):
            while await command(backend, "EXISTS", TENDING):
                await trio.sleep(0.005)


async def test_entries_without_a_row_are_found_in_parts(backend: RedisBackend) -> None:
    """Their due times were lost: they are due, and what still has a row waits."""
    await publish(backend, MANY)
    async with backend.join(US) as us, backend.join(THEM) as them:
        entries = receipts(await us.read(MANY, 5))
        await us.settle([Retry(it, 60.0) for it in entries])
        lost = [*entries[::400], entries[-1]]
        await command(backend, "ZREM", DUE, *(str(it.id) for it in lost))
        assert (await look_on(them)).claimable
        assert sorted(ids((await them.take_over(MANY)).entries)) == [it.id for it in lost]
        assert not (await look_on(them)).claimable


async def test_rows_that_speak_of_nothing_hide_nothing(backend: RedisBackend) -> None:
    """However many there are before the one that is due."""
    await publish(backend, 1)
    async with backend.join(US) as us:
        (entry,) = await us.read(1, 5)
        await us.settle([Retry(entry.receipt)])
        rows = [word for number in range(350) for word in (1, f"5-{number + 1}")]
        await command(backend, "ZADD", DUE, *rows)
        assert (await us.look()).due_in == 0
        assert (await look_on(us)).claimable
        assert ids((await us.take_over(1)).entries) == [entry.id]


async def test_a_full_server_is_tended_too(backend: RedisBackend, server_url: str) -> None:
    """What is abandoned is found; what is scheduled is still refused."""
    entries = await hold(backend, MANY)
    await age(backend, entries, LEASE + 1)
    await backend.schedule(TOPIC, ((b"n", b"1"),), "x", 0.0)
    assert inline(server_url, "CONFIG SET maxmemory 1") == "+OK"
    try:
        async with backend.join(US_PATIENT) as us:
            found: list[EntryId] = []
            for _ in range(MANY // 100 + 2):
                look = await us.look()
                assert look.refusal is not None
                assert look.refusal.code == "OOM"
                found += ids((await us.take_over(MANY)).entries)
            assert found == ids(entries)
            assert await us.take_over(1) == TakeOver()
    finally:
        assert inline(server_url, "CONFIG SET maxmemory 0") == "+OK"
