"""Waiting for disks, cancelled at each checkpoint, and cut at each byte of each reply."""

# pyright: reportPrivateUsage=false
# What a connection owes is told by no public call.

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress

import pytest

from tests.cutting import Cut, sweep
from tests.harness import Recorder
from tests.redis_world import command
from tests.restartable import Restartable, running
from tests.servers import command as inline
from trio_bus import (
    Bus,
    BusOptions,
    Confirmation,
    ConnectionLost,
    EntryId,
    Guarantee,
    Message,
    NotPersisted,
    PublishOptions,
    RedisBackend,
    open_bus,
)
from trio_bus.testing import Act, open_fault_proxy

PERSISTED = PublishOptions(confirmation=Confirmation.PERSISTED)
ONCE = PublishOptions(confirmation=Confirmation.PERSISTED, guarantee=Guarantee.EXACTLY_ONCE)


@pytest.fixture
def durable() -> Generator[Restartable]:
    """Give a server with an append-only file."""
    with running("valkey-9.1") as server:
        yield server


def options(publish_timeout: float) -> BusOptions:
    """Return settings for these tests."""
    return BusOptions(
        observer=Recorder(),
        command_timeout=5.0,
        connect_timeout=5.0,
        publish_timeout=publish_timeout,
    )


def redis(bus: Bus) -> RedisBackend:
    """Return what the bus is on."""
    assert isinstance(bus.backend, RedisBackend)
    return bus.backend


async def test_cancelled_at_any_checkpoint(durable: Restartable) -> None:
    """It happened, or it did not; the lane goes on, and owes nothing."""
    numbers = iter(range(10_000))
    async with open_bus(durable.url, options(20.0)) as bus:
        backend = redis(bus)
        await command(backend, "CONFIG", "SET", "appendfsync", "always")
        await bus.publish(Message("warm"), PERSISTED)

        async def once(cut: Cut) -> None:
            number = next(numbers)
            topic, message = f"t{number}", Message(f"t{number}", idempotency_key="a")
            returned = await cut(lambda: bus.publish(message, ONCE))
            length = (await bus.info(topic)).length
            assert length == 1 if returned else length <= (0 if cut.early else 1)
            first = await bus.publish(message, ONCE)
            assert await bus.publish(message, ONCE) == first
            assert (await bus.info(topic)).length == 1
            (lane,) = backend._lanes.values()
            assert not lane._waiting
            assert lane._pipeline is not None
            assert lane._pipeline._credit.held == (0, 0)

        assert await sweep(once) > 8


@pytest.mark.parametrize("act", [Act.CUT, Act.RESET], ids=["cut", "reset"])
@pytest.mark.parametrize(
    ("name", "skip", "last"),
    [("WAITAOF", 0, 12), ("EVAL", 0, 24), ("WAITAOF", 1, 12)],
    ids=["probe", "append", "wait"],
)
async def test_cut_at_any_byte(
    durable: Restartable, name: str, skip: int, last: int, act: Act
) -> None:
    """With a key it is stored once and on disk; without, its error knows what is known."""
    async with open_fault_proxy(durable.url) as proxy, open_bus(durable.url) as direct:
        backend = redis(direct)
        await command(backend, "CONFIG", "SET", "appendfsync", "always")
        async with open_bus(proxy.url, options(20.0)) as bus:
            for after in range(last):
                fault = proxy.in_reply(name, act, skip=skip, after=after)
                first = await bus.publish(Message("t", idempotency_key=f"{after}"), ONCE)
                await fault.wait_happened()
                assert await direct.publish(Message("t", idempotency_key=f"{after}")) == first
            assert (await direct.info("t")).length == last
        async with open_bus(proxy.url, options(0.0)) as bus:
            for after in range(last):
                command_name = "XADD" if name == "EVAL" else name
                fault = proxy.in_reply(command_name, act, skip=skip, after=after)
                before = (await direct.info("u")).length
                stored: EntryId | None = None
                with suppress(ConnectionLost):
                    try:
                        stored = await bus.publish(Message("u"), PERSISTED)
                    except NotPersisted as error:
                        stored = error.entry_id
                length = (await direct.info("u")).length
                assert before <= length <= before + 1
                if stored is not None:
                    rows = await command(backend, "XRANGE", "u", str(stored), str(stored))
                    assert isinstance(rows, list)
                    assert len(rows) == 1
                await fault.wait_happened()


async def test_a_primary_that_is_demoted(durable: Restartable) -> None:
    """Its connection is given up, and the next attempt meets whoever is the primary then."""
    with running("valkey-9.1") as promoted:
        async with (
            open_fault_proxy(durable.url) as proxy,
            open_bus(proxy.url, options(20.0)) as bus,
        ):
            await bus.publish(Message("t"), PERSISTED)
            assert inline(durable.url, "REPLICAOF 127.0.0.1 1") == "+OK"
            proxy.target = promoted.url
            entry_id = await bus.publish(Message("t"), PERSISTED)
        async with open_bus(promoted.url) as there:
            rows = await command(redis(there), "XRANGE", "t", "-", "+")
            assert isinstance(rows, list)
            assert len(rows) == 1
            assert entry_id.ms > 0
