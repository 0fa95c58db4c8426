"""Publishing with trio_bus."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from trio_bus._bus import Bus
from trio_bus._connect import open_bus
from trio_bus._message import Message

from .meter import Meter
from .order import Figures, Order

_PORTION = 1000


async def publish(order: Order) -> Figures:
    """Publish with some tasks; each message is made where it is needed."""
    work = order.work
    meter = Meter()
    payload = order.payload()
    async with open_bus(order.url) as bus:

        async def one_by_one() -> None:
            for _ in range(work.turns):
                await bus.publish(Message(order.topic, payload))

        async def in_batches() -> None:
            for _ in range(work.turns):
                messages = [Message(order.topic, payload) for _ in range(work.batch)]
                (await bus.publish_batch(messages)).raise_errors()

        meter.start()
        async with trio.open_nursery() as nursery:
            for _ in range(work.width):
                nursery.start_soon(one_by_one if work.batch == 1 else in_batches)
        meter.stop()
    return meter.figures(work.published)


async def fill(bus: Bus, topics: Sequence[str], count: int, size: int) -> None:
    """Publish *count* messages, in turns to each of the topics."""
    payload = bytes(size)
    portion = max(1, min(_PORTION, 4 * 1024 * 1024 // max(1, size)))
    for first in range(0, count, portion):
        numbers = range(first, min(count, first + portion))
        messages = [Message(topics[number % len(topics)], payload) for number in numbers]
        (await bus.publish_batch(messages)).raise_errors()
