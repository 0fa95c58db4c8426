"""Batches that are not complete: what is in them has not started."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import attrs
import trio
from trio.testing import MockClock

from tests.harness import World, config, lose_twice, publish, until
from trio_bus import (
    Message,
    PullSubscription,
    SubscriptionConfig,
    Transition,
    open_subscription,
)

WAIT = 10.0
"""Seconds after the first of a batch of four."""

Batches = list[tuple[float, list[bytes]]]
"""When they were complete, and what was in them."""


@asynccontextmanager
async def gathering(
    world: World, settings: SubscriptionConfig
) -> AsyncGenerator[tuple[PullSubscription, Batches]]:
    """Receive batches in the background, and note them."""
    batches: Batches = []

    async def receive(deliveries: PullSubscription) -> None:
        async for batch in deliveries.batches(4, WAIT):
            async with batch:
                batches.append((trio.current_time(), [it.message.payload for it in batch]))

    async with (
        open_subscription(world.bus(), settings) as deliveries,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(receive, deliveries)
        yield deliveries, batches
        nursery.cancel_scope.cancel()


async def test_a_pause_gives_back_what_was_gathered(
    autojump_clock: MockClock, memory: World
) -> None:
    """No batch comes while it lasts, and the time of the next one begins with its own first."""
    async with gathering(memory, config()) as (deliveries, batches):
        await publish(memory.bus(), 3)
        await trio.sleep(1)
        assert memory.recorder.ids(Transition.STARTED) == []
        deliveries.pause()
        await deliveries.wait_idle()
        await trio.sleep(2 * WAIT)
        assert (batches, deliveries.statistics().released) == ([], 3)
        resumed = trio.current_time()
        deliveries.resume()
        await until(lambda: deliveries.statistics().handled == 3)
    assert [len(batch) for _, batch in batches] == [3]
    assert batches[0][0] >= resumed + WAIT


async def test_a_pause_does_not_shorten_the_wait(autojump_clock: MockClock, memory: World) -> None:
    """Where it is over before the batch would have been complete."""
    async with gathering(memory, config()) as (deliveries, batches):
        await publish(memory.bus(), 1)
        await trio.sleep(WAIT / 2)
        deliveries.pause()
        deliveries.resume()
        resumed = trio.current_time()
        await until(lambda: deliveries.statistics().handled == 1)
    assert batches[0][0] >= resumed + WAIT


async def test_an_outage_gives_back_what_was_gathered(
    autojump_clock: MockClock, memory: World
) -> None:
    """What was received alone has failed, and the rest is tried one by one."""
    settings = attrs.evolve(config(), failure_threshold=2)
    async with open_subscription(memory.bus(), settings) as deliveries:
        await publish(memory.bus(), 4)
        alone = [await deliveries.receive() for _ in range(2)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(anext, deliveries.batches(4, WAIT))
            await trio.sleep(1)
            for delivery in alone:
                async with delivery:
                    raise OSError("the database is down")
            assert deliveries.statistics().outage
            await until(lambda: deliveries.statistics().released == 3)
            nursery.cancel_scope.cancel()


async def test_what_expires_in_a_batch_is_not_handled(
    autojump_clock: MockClock, memory: World
) -> None:
    """As it would not be alone; of a batch that expires as a whole there is none."""
    bus = memory.bus()
    soon = bus.clock.now() + timedelta(seconds=WAIT / 2)
    async with gathering(memory, config()) as (deliveries, batches):
        await bus.publish(Message("orders", b"late", expires_at=soon))
        await publish(bus, 1)
        await until(lambda: deliveries.statistics().handled == 1)
        soon = bus.clock.now() + timedelta(seconds=WAIT / 2)
        await bus.publish(Message("orders", b"late", expires_at=soon))
        await until(lambda: deliveries.statistics().rejected == 2)
    assert [batch for _, batch in batches] == [[b"0"]]
    assert len(memory.recorder.ids(Transition.EXPIRED)) == 2


async def test_a_suspect_does_not_wait_for_a_batch(
    autojump_clock: MockClock, memory: World
) -> None:
    """It is a batch of its own, and what was gathered comes again after it."""
    settings = attrs.evolve(config(), claim_idle_timeout=1.0)
    await lose_twice(memory)
    await publish(memory.bus(), 1)
    async with gathering(memory, settings) as (deliveries, batches):
        await until(lambda: deliveries.statistics().handled == 2, 60)
    assert [batch for _, batch in batches] == [[b"suspect"], [b"0"]]
