"""What trio_bus costs when there is much to do, when there is nothing, and at both ends."""

from __future__ import annotations

from contextlib import AsyncExitStack
from statistics import median

import trio
import trio.lowlevel

from trio_bus._bus import Bus
from trio_bus._connect import open_bus
from trio_bus._delivery import Delivery
from trio_bus._redis.address import Address
from trio_bus._redis.connecting import connect
from trio_bus._subscription import open_subscription

from .meter import Meter, Tally, now
from .order import Figures, Order
from .ours_consuming import GROUP, config
from .ours_publishing import fill

_SETTLED_IN = 1.0
_PATIENCE = 60.0
_PORTION = 10_000


async def backlog(order: Order) -> Figures:
    """Handle the first messages of many, and leave the others."""
    work = order.work
    done = trio.Event()
    tally = Tally(work.count, done.set)

    async def handle(_: Delivery) -> None:
        if tally.seen < work.count:
            tally.count()

    async with open_bus(order.url) as bus:
        if work.pending:
            await _held_elsewhere(bus, order)
        await fill(bus, [order.topic], work.backlog, work.size)
        tally.begin()
        async with open_subscription(bus, config(order.topic, work.width), handle):
            await done.wait()
    return tally.figures()


async def _held_elsewhere(bus: Bus, order: Order) -> None:
    """Let another consumer of the group have read messages that it never finishes."""
    work = order.work
    async with open_subscription(bus, config(order.topic, 1), _nothing):
        await trio.lowlevel.checkpoint()  # it makes the group as we do it
    await fill(bus, [order.topic], work.pending, 0)
    wire = (await connect(Address.parse(order.url), _PATIENCE)).wire
    command = ("XREADGROUP", "GROUP", GROUP, "elsewhere", "COUNT", _PORTION, "STREAMS")
    async with wire.stream:
        for _ in range(0, work.pending, _PORTION):
            await wire.exchange([(*command, order.topic, ">")])


async def _nothing(_: Delivery) -> None:
    """Nobody publishes anything."""


async def idle(order: Order) -> Figures:
    """Have many subscriptions, and nothing to do."""
    work = order.work
    meter = Meter()
    async with open_bus(order.url) as bus, AsyncExitStack() as stack:
        for number in range(work.width):
            chosen = config(f"{order.topic}-{number}", 16)
            await stack.enter_async_context(open_subscription(bus, chosen, _nothing))
        await trio.sleep(_SETTLED_IN)
        meter.start()
        await trio.sleep(work.seconds)
        meter.stop()
    figures = meter.figures(work.width)
    return {"cpu_s_per_min": 60 * meter.cpu / meter.seconds, "peak_mib": figures["peak_mib"]}


async def life(order: Order) -> Figures:
    """Open and leave a bus with a subscription, again and again."""
    started: list[float] = []
    ended: list[float] = []
    chosen = config(order.topic, order.work.width)
    for _ in range(order.work.count):
        began = now()
        async with open_bus(order.url) as bus:
            async with open_subscription(bus, chosen, _nothing):
                started.append(now() - began)
                await trio.sleep(0.01)
                began = now()
            ended.append(now() - began)
    return {"start_ms": 1e3 * median(started), "shutdown_ms": 1e3 * median(ended)}
