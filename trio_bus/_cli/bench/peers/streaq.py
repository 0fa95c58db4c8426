"""streaq on trio: a task that does nothing, enqueued and run by one worker."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib import import_module
from typing import Protocol, cast, final

import attrs
import trio

from trio_bus._cli.bench.order import Order

from .driver import main
from .library import Handle
from .on_trio import LOOP

_Task = Callable[[bytes], Awaitable[None]]


class _Registered(Protocol):
    def enqueue(self, payload: bytes) -> Awaitable[object]: ...


class _Worker(AbstractAsyncContextManager["_Worker"], Protocol):
    stream_key: str

    def task(self, function: _Task) -> _Registered: ...
    def enqueue_many(self, tasks: Sequence[Awaitable[object]]) -> Awaitable[None]: ...
    async def run_async(self, *, task_status: trio.TaskStatus[None]) -> None: ...


class _MakeWorker(Protocol):
    def __call__(
        self, redis_url: str, *, queue_name: str, concurrency: int, handle_signals: bool
    ) -> _Worker: ...


class _Module(Protocol):
    Worker: _MakeWorker


@final
@attrs.frozen
class _Library:
    make: Callable[[], _Worker]
    worker: _Worker
    task: _Registered
    stream: str
    group: str = "workers"

    async def publish(self, payload: bytes) -> None:
        await self.task.enqueue(payload)

    async def publish_many(self, payloads: Sequence[bytes]) -> None:
        await self.worker.enqueue_many([self.task.enqueue(payload) for payload in payloads])

    @asynccontextmanager
    async def consuming(self, _width: int, _batch: int, handle: Handle) -> AsyncGenerator[None]:
        worker = self.make()  # what enqueues and what runs cannot be one
        _register(worker, handle)
        async with trio.open_nursery() as nursery:
            await nursery.start(worker.run_async)
            yield
            nursery.cancel_scope.cancel("it is measured")


def _register(worker: _Worker, handle: Handle) -> _Registered:
    async def run(payload: bytes) -> None:
        await handle([payload])

    return worker.task(run)


async def _nothing(_: Sequence[bytes]) -> None:
    """Never called: what enqueues runs nothing."""


@asynccontextmanager
async def open_library(order: Order) -> AsyncGenerator[_Library]:
    """Open it for one topic."""
    streaq = cast("_Module", import_module("streaq"))
    make = partial(
        streaq.Worker,
        order.url,
        queue_name=order.topic,
        concurrency=order.work.width,
        handle_signals=False,
    )
    worker = make()
    task = _register(worker, _nothing)
    async with worker:
        yield _Library(make, worker, task, f"{worker.stream_key}normal")


if __name__ == "__main__":
    main(open_library, LOOP)
