"""Publishing on a bare trio socket, for many tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import final

import trio

from trio_bus._one_error import one_error
from trio_bus._redis.address import Address
from trio_bus._redis.connecting import connect
from trio_bus._redis.resp import Parser, pack

PATIENCE = 10.0


@final
class Publisher:
    """Publishes over one stream, and takes it that nothing ever fails.

    A payload is the only field of its entry, and what the server answers is not looked at.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._parser = Parser()
        self._outbox: list[bytes] = []
        self._filled = trio.Event()
        self._owed: deque[tuple[int, trio.Event]] = deque()

    async def publish(self, topic: str, payload: bytes, count: int) -> None:
        """Append *count* entries in one step, and wait until the last of them is stored."""
        stored = trio.Event()
        self._owed.append((count, stored))
        self._outbox += [pack(("XADD", topic, "*", "data", payload)) for _ in range(count)]
        self._filled.set()
        await stored.wait()

    async def write(self) -> None:
        """Write what is queued, until cancelled."""
        while True:
            await self._filled.wait()
            self._filled = trio.Event()
            data = b"".join(self._outbox)
            self._outbox.clear()
            await self._stream.send_all(data)

    async def read(self) -> None:
        """Wake who waits for what was stored, until cancelled or the connection ends."""
        stored = 0
        while data := await self._stream.receive_some(65536):
            stored += len(self._parser.feed(data))
            while self._owed and stored >= self._owed[0][0]:
                count, event = self._owed.popleft()
                stored -= count
                event.set()
        raise trio.BrokenResourceError("the server closed the connection")


@asynccontextmanager
async def publishing(url: str) -> AsyncGenerator[Publisher]:
    """Publish inside the block, on a connection of its own."""
    session = await connect(Address.parse(url), PATIENCE)
    publisher = Publisher(session.wire.stream)
    async with session.wire.stream:
        with one_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(publisher.write)
                nursery.start_soon(publisher.read)
                yield publisher
                nursery.cancel_scope.cancel("it is measured")
