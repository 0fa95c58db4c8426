"""FastStream: a broker on Redis Streams, and a subscriber of one stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Protocol, cast, final

import attrs
from redis.asyncio import Redis

from trio_bus._cli.bench.order import Order

from .driver import main
from .library import GROUP, Handle
from .on_asyncio import LOOP

_One = Callable[[bytes], Awaitable[None]]
_Many = Callable[[list[bytes]], Awaitable[None]]
_Subscribe = Callable[[_One | _Many], object]


class _Pipeline(Protocol):
    async def execute(self) -> list[object]: ...


class _Client(Protocol):
    def pipeline(self, *, transaction: bool) -> _Pipeline: ...
    async def aclose(self) -> None: ...


class _Broker(Protocol):
    def publish(
        self, message: bytes, *, stream: str, pipeline: _Pipeline | None = None
    ) -> Awaitable[object]: ...
    def subscriber(self, *, stream: object, max_workers: int | None) -> _Subscribe: ...
    async def connect(self) -> object: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class _MakeBroker(Protocol):
    def __call__(self, url: str, *, logger: None) -> _Broker: ...


class _MakeSub(Protocol):
    def __call__(
        self,
        stream: str,
        *,
        group: str,
        consumer: str,
        last_id: str,
        max_records: int,
        batch: bool,
    ) -> object: ...


class _Module(Protocol):
    RedisBroker: _MakeBroker
    StreamSub: _MakeSub


_from_url = cast("Callable[[str], _Client]", getattr(Redis, "from_url"))  # noqa: B009 - its type is partly unknown


@final
@attrs.frozen
class _Library:
    module: _Module
    broker: _Broker
    client: _Client
    stream: str
    group: str = GROUP

    async def publish(self, payload: bytes) -> None:
        await self.broker.publish(payload, stream=self.stream)

    async def publish_many(self, payloads: Sequence[bytes]) -> None:
        pipeline = self.client.pipeline(transaction=False)
        for payload in payloads:
            await self.broker.publish(payload, stream=self.stream, pipeline=pipeline)
        await pipeline.execute()

    @asynccontextmanager
    async def consuming(self, width: int, batch: int, handle: Handle) -> AsyncGenerator[None]:
        async def one(payload: bytes) -> None:
            await handle([payload])

        async def many(payloads: list[bytes]) -> None:
            await handle(payloads)

        stream = self.module.StreamSub(
            self.stream,
            group=self.group,
            consumer="c",
            last_id="0",
            max_records=max(width, batch),
            batch=batch > 1,
        )
        subscribe = self.broker.subscriber(stream=stream, max_workers=width if width > 1 else None)
        subscribe(many if batch > 1 else one)
        await self.broker.start()
        yield


@asynccontextmanager
async def open_library(order: Order) -> AsyncGenerator[_Library]:
    """Open it for one topic."""
    module = cast("_Module", import_module("faststream.redis"))
    broker = module.RedisBroker(order.url, logger=None)
    client = _from_url(order.url)
    await broker.connect()
    try:
        yield _Library(module, broker, client, order.topic)
    finally:
        await broker.stop()
        await client.aclose()


if __name__ == "__main__":
    main(open_library, LOOP)
