"""streaq, as much of it as is measured."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Self

import attrs
import trio

from tests.fake_peers import store


@attrs.frozen
class Task:
    stream: str
    payload: bytes

    def __await__(self) -> Generator[object, None, None]:
        store.publish(self.stream, self.payload)
        return trio.lowlevel.checkpoint().__await__()  # noqa: ASYNC105 - whoever awaits us does


@attrs.frozen
class Registered:
    stream: str

    def enqueue(self, payload: bytes) -> Task:
        return Task(self.stream, payload)


class Worker:
    def __init__(
        self, redis_url: str, *, queue_name: str, concurrency: int, handle_signals: bool
    ) -> None:
        self.stream_key = f"streaq:{queue_name}:queues:"
        self._stream = f"{self.stream_key}normal"
        self._run: Callable[[bytes], Awaitable[None]] | None = None
        self._entered = False

    def task(self, function: Callable[[bytes], Awaitable[None]]) -> Registered:
        self._run = function
        return Registered(self._stream)

    async def enqueue_many(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            await task

    async def __aenter__(self) -> Self:
        assert not self._entered
        self._entered = True
        return self

    async def __aexit__(self, *_: object) -> None:
        await trio.lowlevel.checkpoint()

    async def run_async(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with self:
            task_status.started()
            while True:
                for number, payload in store.read(self._stream, 9):
                    assert self._run is not None
                    await self._run(payload)
                    store.ack(self._stream, number)
                await trio.sleep(0.001)
