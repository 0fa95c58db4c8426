"""The floor on trio: the same as the bare one, for many tasks. Nothing is ready to fail.

Publishing tasks share one connection: what they queue is written together. A handler is a task of
its own, started once per entry in a nursery, under a semaphore; its permit is taken before an entry
is read. Acks are sent in batches on a connection of their own: what came meanwhile is the next.
"""

from __future__ import annotations

from functools import partial

import trio

from .meter import Meter, Tally, now, quantiles
from .order import Figures, Order, number_of
from .pacing import at_rate
from .program import serve
from .trio_floor_consuming import consuming
from .trio_floor_publishing import Publisher, publishing
from .works import Kind

_PORTION = 1000


def measure(order: Order) -> Figures:
    """Do what is asked, on new connections."""
    doings = {Kind.PUBLISH: _publish, Kind.CONSUME: _consume, Kind.LATENCY: _latency}
    return trio.run(doings[order.work.kind], order)


async def _publish(order: Order) -> Figures:
    work = order.work
    meter = Meter()
    async with publishing(order.url) as publisher:

        async def repeat() -> None:
            payload = order.payload()
            for _ in range(work.turns):
                await publisher.publish(order.topic, payload, work.batch)

        meter.start()
        async with trio.open_nursery() as nursery:
            for _ in range(work.width):
                nursery.start_soon(repeat)
        meter.stop()
    return meter.figures(work.published)


async def _consume(order: Order) -> Figures:
    work = order.work
    done = trio.Event()
    tally = Tally(work.count, done.set)

    async def handle(_: bytes) -> None:
        tally.count()

    async with publishing(order.url) as publisher:
        for first in range(0, work.count, _PORTION):
            count = min(_PORTION, work.count - first)
            await publisher.publish(order.topic, order.payload(), count)
    tally.begin()
    async with consuming(order, handle) as consumer:
        await done.wait()
        await consumer.settled()
        tally.meter.stop()
    return tally.figures()


async def _latency(order: Order) -> Figures:
    work = order.work
    sent = [0.0] * work.count
    took: list[float] = []
    done = trio.Event()

    async def handle(payload: bytes) -> None:
        took.append(now() - sent[number_of(payload)])
        if len(took) == work.count:
            done.set()

    async def send(publisher: Publisher, number: int) -> None:
        payload = order.payload(number)
        sent[number] = now()
        await publisher.publish(order.topic, payload, 1)

    async with publishing(order.url) as publisher, consuming(order, handle):
        await at_rate(work.rate, work.count, partial(send, publisher))
        await done.wait()
    return quantiles(took)


if __name__ == "__main__":
    serve(measure)
