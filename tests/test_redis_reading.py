"""Reading on real servers: a read may be cancelled or lost, an entry may not."""

# pyright: reportPrivateUsage=false
# Faults are aimed at connections, which only the inside knows by name.

from __future__ import annotations

import random

import pytest
import trio

from tests.redis_world import (
    GROUP,
    OLDEST,
    TOPIC,
    US,
    command,
    ids,
    joined,
    options,
    publish,
    raw_pending,
    receipts,
    until_blocked,
)
from trio_bus._backend import (
    Ack,
    Entry,
    TakeOver,
)
from trio_bus._errors import (
    ConnectionLost,
)
from trio_bus._redis import RedisBackend, open_redis
from trio_bus._redis.reader import Identity

pytestmark = pytest.mark.every_server


async def test_a_read_waits_for_entries_and_for_its_time(backend: RedisBackend) -> None:
    """It returns when something comes, or empty when its time is over."""
    async with backend.join(US) as us, trio.open_nursery() as nursery:
        started = trio.current_time()
        assert await us.read(1, 0.05) == []
        assert trio.current_time() - started >= 0.05
        nursery.start_soon(publish, backend, 3)
        with trio.fail_after(5):
            entries = await us.read(2, float("inf"))
        assert 1 <= len(entries) <= 2
        left = 3 - len(entries)
        while left:
            left -= len(await us.read(10, 5))


async def test_a_second_reader_is_refused(backend: RedisBackend) -> None:
    """One member reads in one task; two would take each other's replies for their own."""
    async with backend.join(US) as us, trio.open_nursery() as nursery:
        nursery.start_soon(us.read, 1, 10)
        await until_blocked(backend)
        with pytest.raises(trio.BusyResourceError):
            await us.read(1, 1)
        nursery.cancel_scope.cancel()


async def test_a_cancelled_read_ends_at_once(backend: RedisBackend) -> None:
    """It is ended on the server, not abandoned; the next one works."""
    async with joined(backend, US) as us:
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(us.read, 1, 60)
                await until_blocked(backend)
                started = trio.current_time()
                nursery.cancel_scope.cancel()
            assert trio.current_time() - started < 4, "not with the command timeout"
        (entry_id,) = await publish(backend, 1)
        assert ids(await us.read(1, 1)) == [entry_id]
        assert not us._holdings.is_suspected


async def test_a_read_that_was_not_sent_did_not_happen(backend: RedisBackend) -> None:
    """In a scope that is cancelled already, nothing is delivered."""
    await publish(backend, 1)
    async with backend.join(US) as us:
        await us.read(1, 1)
        await publish(backend, 1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await us.read(1, 1)
        assert scope.cancelled_caught
        assert len(await raw_pending(backend)) == 1
        assert len(await us.read(1, 1)) == 1


@pytest.mark.bulk
@pytest.mark.guards("a read is dropped by a select")
async def test_cancelling_at_random_strands_nothing(backend: RedisBackend) -> None:
    """While another task publishes at full speed, every entry is returned or released."""
    choose = random.Random(7)  # noqa: S311 - protects nothing
    returned = 0
    async with joined(backend, US) as us, trio.open_nursery() as nursery:

        async def publish_on() -> None:
            while True:
                await publish(backend, choose.choice([1, 3]))
                if choose.random() < 0.5:
                    await trio.sleep(choose.random() * 0.002)

        nursery.start_soon(publish_on)
        for _ in range(300):
            entries: list[Entry] = []
            with trio.move_on_after(choose.random() * 0.003):
                entries = await us.read(choose.choice([1, 10]), 5)
            returned += len(entries)
            await us.settle([Ack(it) for it in receipts(entries)])
            assert us._holdings.known == {}
            pending = (await raw_pending(backend)).values()
            assert set(pending) <= {("~free", 0)}
        nursery.cancel_scope.cancel()
    assert returned
    assert (await backend.info(TOPIC)).groups[0].released


async def test_a_lost_reader_is_replaced_and_its_strays_come_back(backend: RedisBackend) -> None:
    """What the server had delivered to a dead connection is released by the next read."""
    async with joined(backend, US) as us:
        await publish(backend, 1)
        (held,) = await us.read(1, 1)
        connection = us._reader._connection
        assert connection is not None
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                with pytest.raises(ConnectionLost):
                    await us.read(1, 10)

            nursery.start_soon(read)
            await until_blocked(backend)
            await command(backend, "CLIENT", "KILL", "ID", connection.identity.client_id)
            # Delivered under our name, and never seen by us: as if its reply had been cut off.
            (stray,) = await publish(backend, 1)
            await command(
                backend, "XREADGROUP", "GROUP", GROUP, "us", "COUNT", 1, "STREAMS", TOPIC, ">"
            )
        assert await raw_pending(backend) == {held.id: ("us", 1), stray: ("us", 1)}
        assert await us.read(1, 0.01) == []
        assert await raw_pending(backend) == {held.id: ("us", 1), stray: ("~free", 0)}
        assert ids((await us.take_over(1)).entries) == [stray]


async def test_strays_are_looked_for_once_more_when_the_lost_read_is_over(
    backend: RedisBackend,
) -> None:
    """A server that has not noticed the loss may go on delivering for that long."""
    async with joined(backend, US) as us:
        identity = Identity(0, "another life", None)
        us._holdings.suspect_reader(identity, still=1.5)
        assert await us.take_over(1) == TakeOver()
        assert not us._holdings.is_suspected
        (late,) = await publish(backend, 1)
        await command(backend, "XREADGROUP", "GROUP", GROUP, "us", "STREAMS", TOPIC, ">")
        assert await us.take_over(1) == TakeOver()
        await trio.sleep(1.51)
        assert ids((await us.take_over(1)).entries) == [late]
        await trio.sleep(0.11)
        assert await raw_pending(backend) == {late: ("us", 1)}
        assert await us.take_over(1) == TakeOver()
        assert await raw_pending(backend) == {late: ("us", 1)}


async def test_readers_that_are_lost_again_and_again_are_not_all_remembered(
    backend: RedisBackend,
) -> None:
    """One that the server killed, or has not, is done with; of others the newest are kept."""
    async with joined(backend, US) as us:
        control = backend._link.current
        assert control is not None
        for number in range(100):
            gone = Identity(1_000_000 + number, control.session.server.run_id, control)
            us._holdings.suspect_reader(gone, still=60)
            assert await us.take_over(1) == TakeOver()
        assert not us._holdings._lost
        for number in range(100):
            us._holdings.suspect_reader(Identity(number, "another life", None), still=60)
            assert await us.take_over(1) == TakeOver()
        assert 1 < len(us._holdings._lost) < 50


async def test_a_server_that_does_not_end_a_read_loses_the_connection(server_url: str) -> None:
    """The bound of a cancelled read is the command timeout, not the time of the read."""
    async with open_redis(server_url, options(timeout=2.0)) as backend:
        await backend.create_group(TOPIC, GROUP, OLDEST)
        async with joined(backend, US) as us, trio.open_nursery() as nursery:
            nursery.start_soon(us.read, 1, 60)
            await until_blocked(backend)
            connection = us._reader._connection
            assert connection is not None
            # As after a restart of the server: its number says nothing to the new one.
            connection.identity = Identity(connection.identity.client_id, None, None)
            started = trio.current_time()
            nursery.cancel_scope.cancel()
        assert 2 <= trio.current_time() - started < 20
        assert us._holdings.is_suspected
        assert not connection.pipeline.is_open
