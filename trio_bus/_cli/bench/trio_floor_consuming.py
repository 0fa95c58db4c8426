"""Consuming on bare trio sockets: a task per entry, acks in batches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import final

import trio

from trio_bus._one_error import one_error
from trio_bus._redis.address import Address
from trio_bus._redis.connecting import connect
from trio_bus._redis.resp import Reply
from trio_bus._redis.wire import Wire

from .floor import GROUP
from .order import Order
from .replies import entries
from .trio_floor_publishing import PATIENCE
from .works import READ

Handle = Callable[[bytes], Awaitable[None]]


@final
class Consumer:
    """Reads on one wire and acks on another; nothing ever fails."""

    def __init__(self, order: Order, handle: Handle, wires: tuple[Wire, Wire]) -> None:
        self._topic = order.topic
        self._handle = handle
        self._reading, self._acking = wires
        self._permits = trio.Semaphore(order.work.width)
        self._acks: list[bytes] = []
        self._filled = trio.Event()
        self._unsettled = 0
        self._idle = trio.Event()

    async def read(self, nursery: trio.Nursery) -> None:
        """Read as many entries as there are free permits, and start a task for each."""
        while True:
            count = await self._take()
            found = entries(await self._read(count))
            self._unsettled += len(found)
            for _ in range(count - len(found)):
                self._permits.release()
            for entry, fields in found:
                nursery.start_soon(self._run, entry, fields[1])

    async def _take(self) -> int:
        await self._permits.acquire()
        count = 1 + min(self._permits.value, READ - 1)
        for _ in range(count - 1):
            self._permits.acquire_nowait()
        return count

    async def _read(self, count: int) -> Reply:
        group = ("XREADGROUP", "GROUP", GROUP, "c", "COUNT", count, "BLOCK", 0)
        (reply,) = await self._reading.exchange([(*group, "STREAMS", self._topic, ">")])
        return reply

    async def _run(self, entry: bytes, payload: bytes) -> None:
        await self._handle(payload)
        self._permits.release()
        self._acks.append(entry)
        self._filled.set()

    async def ack(self) -> None:
        """Ack what was handled: one batch is under way, what comes meanwhile is the next."""
        while True:
            await self._filled.wait()
            self._filled = trio.Event()
            acks, self._acks = self._acks, []
            await self._acking.exchange([("XACK", self._topic, GROUP, *acks)])
            self._unsettled -= len(acks)
            if not self._unsettled:
                self._idle.set()
                self._idle = trio.Event()

    async def settled(self) -> None:
        """Wait until everything that was read is acked."""
        while self._unsettled:
            await self._idle.wait()


@asynccontextmanager
async def consuming(order: Order, handle: Handle) -> AsyncGenerator[Consumer]:
    """Consume all of a topic inside the block."""
    address = Address.parse(order.url)
    reading = (await connect(address, PATIENCE)).wire
    acking = (await connect(address, PATIENCE)).wire
    await acking.exchange([("XGROUP", "CREATE", order.topic, GROUP, "0", "MKSTREAM")])
    consumer = Consumer(order, handle, (reading, acking))
    async with reading.stream, acking.stream:
        with one_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(consumer.read, nursery)
                nursery.start_soon(consumer.ack)
                yield consumer
                nursery.cancel_scope.cancel("it is measured")
