"""taskiq: a task that does nothing, sent over Redis Streams and run by one receiver."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import Protocol, cast, final

import attrs

from trio_bus._cli.bench.order import Order

from .driver import main
from .library import GROUP, Handle
from .on_asyncio import LOOP, beside


class _Task(Protocol):
    def kiq(self, text: str) -> Awaitable[object]: ...


class _Broker(Protocol):
    def register_task(
        self, function: Callable[[str], Awaitable[None]], task_name: str
    ) -> _Task: ...
    async def startup(self) -> None: ...
    async def shutdown(self) -> None: ...


class _MakeBroker(Protocol):
    def __call__(
        self,
        url: str,
        *,
        queue_name: str,
        consumer_group_name: str,
        consumer_id: str,
        xread_count: int,
    ) -> _Broker: ...


class _Redis(Protocol):
    RedisStreamBroker: _MakeBroker


class _Api(Protocol):
    async def run_receiver_task(self, broker: _Broker, *, max_async_tasks: int) -> None: ...


@final
@attrs.define
class _Library:
    broker: _Broker
    stream: str
    group: str = GROUP
    _handle: Handle | None = None
    _task: _Task = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        async def run(text: str) -> None:
            assert self._handle is not None
            await self._handle([text.encode()])

        self._task = self.broker.register_task(run, "bench")

    async def publish(self, payload: bytes) -> None:
        await self._task.kiq(payload.decode())

    async def publish_many(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            await self.publish(payload)

    @asynccontextmanager
    async def consuming(self, width: int, _batch: int, handle: Handle) -> AsyncGenerator[None]:
        self._handle = handle
        api = cast("_Api", import_module("taskiq.api"))
        async with beside(partial(api.run_receiver_task, self.broker, max_async_tasks=width)):
            yield


@asynccontextmanager
async def open_library(order: Order) -> AsyncGenerator[_Library]:
    """Open it for one topic."""
    logging.disable(logging.WARNING)  # it says that it was cancelled, which is how it ends
    redis = cast("_Redis", import_module("taskiq_redis"))
    broker = redis.RedisStreamBroker(
        order.url,
        queue_name=order.topic,
        consumer_group_name=GROUP,
        consumer_id="0",
        xread_count=order.work.width,
    )
    await broker.startup()
    try:
        yield _Library(broker, order.topic)
    finally:
        await broker.shutdown()


if __name__ == "__main__":
    main(open_library, LOOP)
