"""Consuming with trio_bus."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

import trio

from trio_bus._batch import Batch
from trio_bus._bus import Bus
from trio_bus._config import SubscriptionConfig
from trio_bus._connect import open_bus
from trio_bus._delivery import Delivery
from trio_bus._message import Message
from trio_bus._subscription import open_subscription

from .meter import Tally, now, quantiles
from .order import Figures, Order, number_of
from .ours_publishing import fill
from .pacing import at_rate
from .program import Wrong

GROUP = "bench"


async def consume(order: Order) -> Figures:
    """Call a handler with each of many messages that are there."""
    return await _consume(order, [order.topic], order.work.width)


async def subscriptions(order: Order) -> Figures:
    """Do the same with many subscriptions, each of a topic of its own."""
    topics = [f"{order.topic}-{number}" for number in range(order.work.width)]
    return await _consume(order, topics, 16)


async def _consume(order: Order, topics: Sequence[str], in_flight: int) -> Figures:
    done = trio.Event()
    tally = Tally(order.work.count, done.set)

    async def handle(_: Delivery) -> None:
        tally.count()

    async with open_bus(order.url) as bus:
        await fill(bus, topics, order.work.count, order.work.size)
        tally.begin()
        async with AsyncExitStack() as stack:
            opened = [
                await stack.enter_async_context(
                    open_subscription(bus, config(topic, in_flight), handle)
                )
                for topic in topics
            ]
            await done.wait()
            for subscription in opened:
                await subscription.wait_idle()
            tally.meter.stop()
        await check_finished(bus, topics)
    return tally.figures()


def config(topic: str, in_flight: int) -> SubscriptionConfig:
    """Say how it is subscribed: all else as it is by itself."""
    return SubscriptionConfig(topic, GROUP, max_in_flight=in_flight)


async def consume_batches(order: Order) -> Figures:
    """Call a handler with many messages at a time."""
    work = order.work
    done = trio.Event()
    tally = Tally(work.count, done.set)

    async def handle(batch: Batch) -> None:
        tally.count(len(batch))

    async with open_bus(order.url) as bus:
        await fill(bus, [order.topic], work.count, work.size)
        chosen = config(order.topic, work.batch)
        tally.begin()
        async with open_subscription(bus, chosen, batch_handler=handle) as subscription:
            await done.wait()
            await subscription.wait_idle()
            tally.meter.stop()
        await check_finished(bus, [order.topic])
    return tally.figures()


async def latency(order: Order) -> Figures:
    """Publish at a rate, and see how long each message is on its way to the handler."""
    work = order.work
    sent = [0.0] * work.count
    took: list[float] = []
    done = trio.Event()

    async def handle(delivery: Delivery) -> None:
        took.append(now() - sent[number_of(delivery.message.payload)])
        if len(took) == work.count:
            done.set()

    async with open_bus(order.url) as bus:

        async def send(number: int) -> None:
            payload = order.payload(number)
            sent[number] = now()
            await bus.publish(Message(order.topic, payload))

        async with open_subscription(bus, config(order.topic, work.width), handle):
            await at_rate(work.rate, work.count, send)
            await done.wait()
        await check_finished(bus, [order.topic])
    return quantiles(took)


async def check_finished(bus: Bus, topics: Sequence[str]) -> None:
    """See that nothing is left.

    Raises:
      Wrong: something was not delivered, or not settled.
    """
    for topic in topics:
        (group,) = (await bus.info(topic)).groups
        if group.lag or group.pending:
            raise Wrong(f"{group.lag} messages undelivered, {group.pending} not settled")
