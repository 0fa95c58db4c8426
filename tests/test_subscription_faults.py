"""Subscriptions on real servers whose connections break, and which are killed or frozen."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator

import attrs
import pytest
import trio

from tests.harness import PATIENCE, Recorder, config, numbered, open_world, publish, until
from tests.restartable import Restartable, running
from tests.servers import command
from trio_bus import (
    Bus,
    BusOptions,
    ConnectionLost,
    Delivery,
    Message,
    OutcomeUnknown,
    Scope,
    SubscriptionError,
    open_bus,
    open_subscription,
)


@pytest.fixture
def server(server_kind: str) -> Iterator[Restartable]:
    """Give a server that may be harmed."""
    with running(server_kind) as server:
        yield server


@attrs.define
class Counting:
    """A handler that takes a moment, and counts."""

    seen: Counter[bytes] = attrs.field(factory=Counter[bytes])

    async def __call__(self, delivery: Delivery) -> None:
        """Count when done."""
        await trio.sleep(0.002)
        self.seen[delivery.message.payload] += 1


async def test_a_subscription_outlives_its_connections(server_url: str) -> None:
    """CLIENT KILL again and again, under load: all is handled, few of them twice."""
    counting, published = Counting(), 400
    short = attrs.evolve(config(), claim_idle_timeout=2.0)
    async with (
        open_world(server_url) as world,
        open_subscription(world.bus(), short, counting) as subscription,
        open_bus(server_url) as other,
    ):
        for _ in range(8):
            await publish(other, published // 8)
            command(server_url, "CLIENT KILL TYPE normal SKIPME yes")
            await trio.sleep(0.05)
            with trio.fail_after(20):
                while not await connected(other):
                    await trio.sleep(0.01)
        # Batches count from 0 again: eight publishes of the same fifty payloads.
        await until(lambda: sum(counting.seen.values()) >= published, patience=60)
        await until(lambda: subscription.statistics().in_flight == 0, patience=60)
        with trio.fail_after(60):
            while (group := await world.group()).pending or group.released or group.lag:
                await trio.sleep(0.05)
    assert set(counting.seen) == set(numbered(published // 8))
    assert min(counting.seen.values()) >= 8
    assert sum(counting.seen.values()) <= published + 8 * 16, "at most what was in flight, twice"
    assert {Scope.READ, Scope.CONNECT} & {event.scope for event in world.recorder.errors}


async def connected(bus: Bus) -> bool:
    """Tell whether this bus has a connection again."""
    try:
        await bus.info("orders")
    except ConnectionLost:
        return False
    return True


async def test_a_subscription_outlives_a_restart_of_the_server(server: Restartable) -> None:
    """Entries in hand, delayed and undelivered: the append-only file has them all."""
    counting = Counting()

    async def handler(delivery: Delivery) -> None:
        if delivery.message.payload == b"7" and delivery.state.attempt == 1:
            raise OSError("once, so that one entry is delayed")
        await trio.sleep(0.05)
        await counting(delivery)

    short = attrs.evolve(config(), claim_idle_timeout=5.0, max_in_flight=10)
    async with (
        open_world(server.url) as world,
        open_subscription(world.bus(), short, handler) as subscription,
    ):
        await publish(world.bus(), 100)
        await until(lambda: len(counting.seen) >= 10)
        server.kill()
        await trio.sleep(0.3)
        server.start()
        await until(lambda: len(counting.seen) == 100, patience=60)
        await until(lambda: subscription.statistics().in_flight == 0, patience=60)
        group = await world.group()
        assert (group.pending, group.released, group.delayed) == (0, 0, 0)
    assert set(counting.seen) == set(numbered(100))
    assert sum(counting.seen.values()) <= 100 + 10


async def test_a_server_that_dies_before_the_last_acks_holds_up_nobody(
    server: Restartable,
) -> None:
    """Leaving ends in its time and says what was not confirmed; that is handled again."""
    ending, counting, started = trio.Event(), Counting(), list[Delivery]()

    async def handler(delivery: Delivery) -> None:
        started.append(delivery)
        await ending.wait()

    hasty = attrs.evolve(config(), shutdown_timeout=0.5, claim_idle_timeout=3.0)
    options = BusOptions(observer=Recorder(), connect_timeout=PATIENCE, command_timeout=2.0)
    async with open_bus(server.url, options) as bus:
        with pytest.raises(SubscriptionError) as caught, trio.fail_after(PATIENCE):
            async with open_subscription(bus, hasty, handler):
                await publish(bus, 5)
                await until(lambda: len(started) == 5)  # one that has not is handed back
                server.kill()
                ending.set()
        assert len(caught.value.exceptions) == 5
        server.start()
        async with open_bus(server.url) as other, open_subscription(other, hasty, counting):
            await until(lambda: len(counting.seen) == 5, PATIENCE)
    assert counting.seen == Counter(numbered(5))


async def test_a_publish_whose_answer_is_lost_says_so(server: Restartable) -> None:
    """The server is frozen, so nobody knows; thawed, it executes what it was sent."""
    options = BusOptions(command_timeout=2.0)
    async with open_bus(server.url, options) as bus:
        await bus.publish(Message("orders", b"first"))
        server.send(signal.SIGSTOP)
        with pytest.raises(OutcomeUnknown):
            await bus.publish(Message("orders", b"second"))
        server.send(signal.SIGCONT)
        with trio.fail_after(20):
            while not await connected(bus):
                await trio.sleep(0.01)
        assert (await bus.info("orders")).length in {1, 2}
