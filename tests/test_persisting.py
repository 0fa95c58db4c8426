"""Publishing that waits for disks: a server with an append-only file, and servers that cannot."""

# pyright: reportPrivateUsage=false
# Faults are aimed at connections, which only the inside knows by name.

from __future__ import annotations

import re
import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from tests.harness import Recorder, until
from tests.node import free_port
from tests.redis_world import command
from tests.restartable import Restartable, running
from trio_bus import (
    Bus,
    BusClosed,
    BusOptions,
    Confirmation,
    ConnectionLost,
    EntryId,
    Guarantee,
    Message,
    NotPersisted,
    OutcomeUnknown,
    PublishOptions,
    RedisBackend,
    RemoteError,
    Unsupported,
    ValidationError,
    WrongType,
    open_bus,
)
from trio_bus._redis.once import mark_of
from trio_bus._redis.replies import as_text
from trio_bus.abc import Append, Once

pytestmark = pytest.mark.every_server

PERSISTED = PublishOptions(confirmation=Confirmation.PERSISTED)
ONCE = PublishOptions(confirmation=Confirmation.PERSISTED, guarantee=Guarantee.EXACTLY_ONCE)


@pytest.fixture
def durable() -> Generator[Restartable]:
    """Give a server with an append-only file that is synced with each write."""
    with running("valkey-9.1") as server:
        yield server


@attrs.define
class Desk:
    """A bus on a server, and a look behind it."""

    bus: Bus
    backend: RedisBackend
    recorder: Recorder

    async def do(self, *words: str | int) -> str:
        """Do what an operator would do; numbers and texts alike as text."""
        reply = await command(self.backend, *words)
        return str(reply) if isinstance(reply, int) else as_text(reply)

    async def fsync(self, policy: str) -> None:
        """Say when the server syncs its file."""
        await self.do("CONFIG", "SET", "appendfsync", policy)

    async def length(self, topic: str = "t") -> int:
        """Count the entries."""
        return (await self.bus.info(topic)).length

    async def waits(self) -> int:
        """Count the WAITAOF commands that the server has finished."""
        found = re.search(r"cmdstat_waitaof:calls=(\d+)", await self.do("INFO", "commandstats"))
        return int(found[1]) if found else 0

    async def until_waiting(self, count: int = 1) -> None:
        """Wait until that many clients are blocked."""
        with trio.fail_after(10):
            while f"blocked_clients:{count}\r" not in await self.do("INFO", "clients"):
                await trio.sleep(0.005)


@asynccontextmanager
async def desk(
    url: str, *, command_timeout: float = 5.0, publish_timeout: float = 0.0
) -> AsyncGenerator[Desk]:
    """Open a bus; single attempts unless a test says otherwise."""
    recorder = Recorder()
    options = BusOptions(
        observer=recorder, command_timeout=command_timeout, publish_timeout=publish_timeout
    )
    async with open_bus(url, options) as bus:
        assert isinstance(bus.backend, RedisBackend)
        yield Desk(bus, bus.backend, recorder)


def plain(payload: bytes = b"", topic: str = "t") -> Message:
    """Make a message without an idempotency key."""
    return Message(topic, payload)


def keyed(key: str = "a", topic: str = "t") -> Message:
    """Make a message with one."""
    return Message(topic, idempotency_key=key)


async def test_a_persisted_message_outlives_the_server(durable: Restartable) -> None:
    """It is on disk when the publish returns; once, whoever publishes it again."""
    async with desk(durable.url) as here:
        first = await here.bus.publish(keyed(), ONCE)
        second = await here.bus.publish(plain(), PERSISTED)
        durable.kill()
        durable.start()
    async with desk(durable.url) as here:
        assert await here.bus.publish(keyed(), ONCE) == first
        assert second > first
        assert await here.length() == 2
        assert here.recorder.errors == []


async def test_who_publishes_meanwhile_shares_the_wait(durable: Restartable) -> None:
    """One batch is under way; all the others are the next one. A disk is synced once a second."""
    async with desk(durable.url) as here:
        ids: list[EntryId] = []

        async def publish(number: int) -> None:
            ids.append(await here.bus.publish(keyed(str(number)), PERSISTED))

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(publish, number)
        assert len(set(ids)) == 50
        waits = await here.waits()
        assert 2 <= waits <= 6, "each batch asks whether it may wait, and waits"
        messages = [plain(b"%d" % n, topic=f"t{n % 2}") for n in range(2500)]
        outcome = await here.bus.publish_batch(messages, PERSISTED)
        outcome.raise_errors()
        assert await here.waits() == waits + 2
        for start in 0, 1:
            found = [it for it in outcome.results[start::2] if isinstance(it, EntryId)]
            assert found == sorted(set(found))
            assert len(found) == 1250


async def test_a_disk_that_is_not_synced_in_time(durable: Restartable) -> None:
    """The message is stored, its error has the id, and it is not added again."""
    async with desk(durable.url, command_timeout=1.0, publish_timeout=30.0) as here:
        await here.fsync("no")
        with pytest.raises(NotPersisted, match="0 of 1 servers and 0 of 0 replicas") as caught:
            await here.bus.publish(plain(), PERSISTED)
        assert await here.do("XLEN", "t") == "1"
        error = caught.value
        assert (error.local, error.replicas, error.wanted) == (0, 0, 0)
        assert error.__cause__ is None
        found = await command(here.backend, "XRANGE", "t", str(error.entry_id), "+")
        assert isinstance(found, list)
        assert len(found) == 1
        assert [event.error for event in here.recorder.errors] == [error]
        outcome = await here.bus.publish_batch([plain(), plain()], PERSISTED)
        assert [type(result) for result in outcome.results] == [NotPersisted] * 2
        assert await here.length() == 3


async def test_a_duplicate_waits_as_well(durable: Restartable) -> None:
    """Nothing is stored for it, so that the wait would end at once; its mark stays as it was."""
    async with desk(durable.url, command_timeout=1.0) as here:
        await here.fsync("no")
        first = await here.bus.publish(keyed())
        before = int(await here.do("PTTL", mark_of("t", "a")))
        with pytest.raises(NotPersisted) as caught:
            await here.bus.publish(keyed(), PERSISTED)
        assert caught.value.entry_id == first
        after = int(await here.do("PTTL", mark_of("t", "a")))
        assert 0 < after <= before
        await here.fsync("always")
        assert await here.bus.publish(keyed(), ONCE) == first
        assert await here.length() == 1


async def test_a_message_with_a_key_is_waited_for_again(durable: Restartable) -> None:
    """Until the time is up, or the disk has it."""
    async with desk(durable.url, command_timeout=1.5, publish_timeout=20.0) as here:
        await here.fsync("no")

        async def heal() -> None:
            await until(lambda: len(here.recorder.errors) >= 2)
            await here.fsync("always")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(heal)
            await here.bus.publish(keyed(), ONCE)
        assert await here.length() == 1
        assert {type(event.error) for event in here.recorder.errors} == {NotPersisted}


async def test_replicas_that_nobody_has_hold_up_only_those_who_want_them(
    durable: Restartable,
) -> None:
    """The error has the numbers."""
    async with desk(durable.url, command_timeout=2.0) as here:
        await here.fsync("always")
        await here.bus.publish(plain(), PERSISTED)
        caught: list[NotPersisted] = []

        async def want_replicas() -> None:
            try:
                await here.bus.publish(plain(), attrs.evolve(PERSISTED, replicas=3))
            except NotPersisted as error:
                caught.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(want_replicas)
            await here.until_waiting()
            for _ in range(20):
                await here.bus.publish(plain(), PERSISTED)
            assert not caught
        (error,) = caught
        assert (error.local, error.replicas, error.wanted) == (1, 0, 3)
        assert await here.length() == 22


async def test_a_replica_that_has_it_on_disk() -> None:
    """One server of its own, one replica, both with an append-only file."""
    with running("valkey-9.1") as primary, running("valkey-9.1") as replica:
        async with desk(primary.url, command_timeout=10.0) as here, desk(replica.url) as there:
            port = free_port()
            await here.do("CONFIG", "SET", "repl-diskless-sync-delay", 0)
            await here.do("CONFIG", "SET", "port", port)
            await there.do("REPLICAOF", "127.0.0.1", port)
            with trio.fail_after(20):
                while "master_link_status:up" not in await there.do("INFO", "replication"):
                    await trio.sleep(0.02)
            first = await here.bus.publish(plain(), attrs.evolve(PERSISTED, replicas=1))
            assert await there.length() == 1
            async with desk(primary.url, command_timeout=1.0) as hurried:
                with pytest.raises(NotPersisted, match="of 2 replicas"):
                    await hurried.bus.publish(plain(), attrs.evolve(PERSISTED, replicas=2))
            (refused,) = await there.backend.append_persisted([Append("t", ((b"n", b""),))], 0)
            assert type(refused) is ConnectionLost, "a replica is no place to store anything"
            assert await here.length() == 2
            assert [event.error for event in here.recorder.errors] == []
            assert isinstance(first, EntryId)


async def test_a_server_that_cannot_persist_stores_nothing(server_url: str) -> None:
    """It is too old, or its file is off; with a batch too, and each time."""
    async with desk(server_url) as here:
        server = here.backend._link.connected().session.server
        version = ".".join(map(str, server.version))
        for _ in range(2):
            with pytest.raises(Unsupported, match=re.escape(version)) as caught:
                await here.bus.publish(keyed(), PERSISTED)
            assert "PERSISTED needs" in str(caught.value)
        outcome = await here.bus.publish_batch([plain(), keyed()], PERSISTED)
        assert [type(result) for result in outcome.results] == [Unsupported] * 2
        assert outcome.results[0] is not outcome.results[1]
        assert await here.length() == 0


async def test_switching_the_file_on_and_off(durable: Restartable) -> None:
    """It is noticed each time, before anything is stored."""
    async with desk(durable.url) as here:
        await here.do("CONFIG", "SET", "appendonly", "no")
        with pytest.raises(Unsupported, match="`appendonly yes`"):
            await here.bus.publish(plain(), PERSISTED)
        await here.do("CONFIG", "SET", "appendonly", "yes")
        await here.bus.publish(plain(), PERSISTED)
        await here.do("CONFIG", "SET", "appendonly", "no")
        with pytest.raises(Unsupported, match="`appendonly yes`"):
            await here.bus.publish(plain(), PERSISTED)
        assert await here.length() == 1


async def test_switching_the_file_off_during_the_wait(durable: Restartable) -> None:
    """The message is stored by then: its error has the id, and the refusal as its cause."""
    async with desk(durable.url) as here:
        await here.fsync("no")

        async def switch_off() -> None:
            await here.until_waiting()
            await here.do("CONFIG", "SET", "appendonly", "no")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(switch_off)
            with pytest.raises(NotPersisted) as caught:
                await here.bus.publish(plain(), PERSISTED)
        assert isinstance(caught.value.__cause__, RemoteError)
        assert await here.length() == 1


async def test_the_connection_is_lost_during_the_wait(durable: Restartable) -> None:
    """The id was known: without a key that is an error with it, with one it is waited for again."""
    async with desk(durable.url, publish_timeout=20.0) as here:
        await here.fsync("no")

        async def cut() -> None:
            await here.until_waiting()
            await here.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

        async def cut_and_heal() -> None:
            await cut()
            await until(lambda: len(here.recorder.errors) == 2)
            await here.fsync("always")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cut)
            with pytest.raises(NotPersisted) as caught:
                await here.bus.publish(plain(), PERSISTED)
        assert isinstance(caught.value.__cause__, OutcomeUnknown)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cut_and_heal)
            second = await here.bus.publish(keyed(), PERSISTED)
        found = await command(here.backend, "XRANGE", "t", "-", "+")
        assert isinstance(found, list)
        ids = [as_text(row[0]) for row in found if isinstance(row, list)]
        assert ids == [str(caught.value.entry_id), str(second)]
        assert [type(event.error) for event in here.recorder.errors] == [NotPersisted] * 2


async def test_an_idle_connection_that_went_away(durable: Restartable) -> None:
    """Nobody was using it: nobody hears of it."""
    async with desk(durable.url) as here:
        await here.bus.publish(plain(), PERSISTED)
        await here.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await here.bus.publish(plain(), PERSISTED)
        assert here.recorder.errors == []
        assert await here.length() == 2


async def test_a_server_that_is_gone(durable: Restartable) -> None:
    """Nothing was sent; it is tried again for as long as was said."""
    async with desk(durable.url, publish_timeout=20.0) as here:
        await here.bus.publish(plain(), PERSISTED)
        durable.kill()
        (refused,) = await here.backend.append_persisted([Append("t", ((b"n", b""),))], 0)
        assert type(refused) is ConnectionLost
        async with trio.open_nursery() as nursery:

            async def come_back() -> None:
                await trio.sleep(0.3)
                durable.start()

            nursery.start_soon(come_back)
            await here.bus.publish(plain(), PERSISTED)
        assert await here.length() == 2


async def test_each_record_has_its_own_result(durable: Restartable) -> None:
    """Refusals stand where they belong, and disturb nobody."""
    async with desk(durable.url) as here:
        await here.do("SET", "text", "x")
        record = ((b"n", b"1"),)
        results = await here.backend.append_persisted(
            [
                Append("t", record),
                Append("text", record),
                Append("t", ((b"f", b""),) * 3501, Once("a", 60.0)),
                Append("t", record, Once("b", 60.0)),
                Append("t", record, Once("b", 60.0)),
            ],
            0,
        )
        kinds = [EntryId, WrongType, ValidationError, EntryId, EntryId]
        assert [type(result) for result in results] == kinds
        assert results[3] == results[4]
        assert await here.backend.append_persisted([], 0) == []
        assert await here.length() == 2


async def test_cancelled_it_leaves_a_lane_that_works(durable: Restartable) -> None:
    """Not sent means not stored; what was sent is stored, and its answer is nobody else's."""
    async with desk(durable.url) as here:
        await here.fsync("no")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.bus.publish, plain(b"sent"), PERSISTED)
            await here.until_waiting()
            nursery.start_soon(here.bus.publish, plain(b"queued"), PERSISTED)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await here.fsync("always")
        entry_id = await here.bus.publish(plain(b"next"), PERSISTED)
        found = await command(here.backend, "XRANGE", "t", "-", "+")
        assert isinstance(found, list)
        assert len(found) == 2
        assert as_text(found[1][0] if isinstance(found[1], list) else None) == str(entry_id)


async def test_leaving_the_bus_while_somebody_waits(durable: Restartable) -> None:
    """Leaving does not wait for the disk; who waited is told what is known."""
    caught: list[BaseException] = []

    async def publish(bus: Bus, payload: bytes) -> None:
        try:
            await bus.publish(plain(payload), PERSISTED)
        except (NotPersisted, BusClosed) as error:
            caught.append(error)

    async with trio.open_nursery() as nursery, desk(durable.url, command_timeout=60.0) as here:
        await here.fsync("no")
        nursery.start_soon(publish, here.bus, b"waits")
        await here.until_waiting()
        nursery.start_soon(publish, here.bus, b"queued")
        await trio.testing.wait_all_tasks_blocked()
        left = trio.current_time()
    assert trio.current_time() - left < 5
    assert sorted(type(error).__name__ for error in caught) == ["BusClosed", "NotPersisted"]


async def test_leaving_the_bus_while_the_server_is_frozen(durable: Restartable) -> None:
    """A connection that is being opened is given up."""
    caught: list[BaseException] = []

    async def publish(bus: Bus) -> None:
        try:
            await bus.publish(plain(), PERSISTED)
        except BusClosed as error:
            caught.append(error)

    async with trio.open_nursery() as nursery, desk(durable.url, command_timeout=60.0) as here:
        durable.send(signal.SIGSTOP)
        nursery.start_soon(publish, here.bus)
        await trio.testing.wait_all_tasks_blocked()
        left = trio.current_time()
    assert trio.current_time() - left < 5
    assert len(caught) == 1
