"""Its part for Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

import attrs

from tests.fake_peers import store

One = Callable[[bytes], Awaitable[None]]
Many = Callable[[list[bytes]], Awaitable[None]]


class Pipeline(Protocol):
    def xadd(self, name: str, fields: dict[str, bytes]) -> object: ...


@attrs.frozen
class StreamSub:
    stream: str
    group: str = attrs.field(kw_only=True)
    consumer: str = attrs.field(kw_only=True)
    last_id: str = attrs.field(kw_only=True)
    max_records: int = attrs.field(kw_only=True)
    batch: bool = attrs.field(kw_only=True)


class RedisBroker:
    def __init__(self, url: str, *, logger: None) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._subscribed: list[tuple[StreamSub, One | Many]] = []

    async def publish(
        self, message: bytes, *, stream: str, pipeline: Pipeline | None = None
    ) -> None:
        store.publish(stream, message)

    def subscriber(
        self, *, stream: StreamSub, max_workers: int | None
    ) -> Callable[[One | Many], None]:
        def subscribe(handler: One | Many) -> None:
            self._subscribed.append((stream, handler))

        return subscribe

    async def connect(self) -> None:
        await asyncio.sleep(0)

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(_consume(*it)) for it in self._subscribed]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _consume(sub: StreamSub, handler: One | Many) -> None:
    while True:
        found = store.read(sub.stream, sub.max_records)
        if sub.batch and found:
            await cast("Many", handler)([payload for _, payload in found])
        for number, payload in found:
            if not sub.batch:
                await cast("One", handler)(payload)
            store.ack(sub.stream, number)
        await asyncio.sleep(0.001)
