"""The floor: what publishing costs on a bare trio socket, without anything that we add to it."""

from __future__ import annotations

from collections import deque
from typing import final

import trio

from trio_bus._redis.resp import Parser, pack


@final
class Floor:
    """Publishes for many tasks over one stream, and takes it that nothing ever fails.

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
        while data := await self._stream.receive_some():
            stored += len(self._parser.feed(data))
            while self._owed and stored >= self._owed[0][0]:
                count, event = self._owed.popleft()
                stored -= count
                event.set()
        raise trio.BrokenResourceError("the server closed the connection")
